"""The code of a cell or task of a user's own, as a hash: what a run was trained with, and whether it is still that.

For memexp's own classes its version says so.
"""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from memexp.errors import ConfigError

OWN = "memexp"
INSTALLED = {"site-packages", "dist-packages", Path(sysconfig.get_path("stdlib")).name}
ALL = "*"


def code_of(kind: type) -> str | None:
    """Return the name of a user's class with a hash of its source, and of all of the user's that this uses.

    Base classes, functions, constants and other modules of the user's count; comments outside of these, and what was
    installed with pip, do not.

    Args:
        kind: the class.

    Returns:
        For example ``LeakySRN 0c2f61d0a54b3e9d``; None for a class of memexp.

    Raises:
        ConfigError: its source cannot be read.
    """
    package = kind.__module__.partition(".")[0]
    if package == OWN:
        return None
    used: dict[tuple[str, str], str] = {}
    pending = [(kind.__module__, kind.__qualname__.partition(".")[0])]
    while pending:
        module, name = pending.pop()
        if (module, name) in used or not _is_users(module, package):
            continue
        statements = _statements(module)
        if name == ALL or name not in statements:  # all of a module, or what came with ``from ... import *``
            used[module, name] = ""
            pending += [(module, other) for other in statements if name == ALL or other.endswith(ALL)]
            continue
        texts = []
        for statement, text in statements[name]:
            imported = list(_imported(statement, name, module))
            pending += imported or [(module, n.id) for n in ast.walk(statement) if isinstance(n, ast.Name)]
            texts += [] if imported else [text]
        used[module, name] = "\n".join(texts)
    whole = "\n".join(f"{module} {name}\n{used[module, name]}" for module, name in sorted(used) if used[module, name])
    if not whole:
        raise ConfigError(f"the source of {kind.__module__}.{kind.__qualname__} is not there; put it into a .py file")
    return f"{kind.__qualname__} {hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _is_users(module: str, package: str) -> bool:
    """Say whether a module is of the class's own package, or of no package that was installed."""
    found = sys.modules.get(module)
    first = module.partition(".")[0]
    if not isinstance(found, ModuleType) or first == OWN or first in sys.builtin_module_names:
        return False
    return first == package or not INSTALLED & set(Path(getattr(found, "__file__", None) or "/site-packages/").parts)


@cache
def _statements(module: str) -> dict[str, list[tuple[ast.stmt, str]]]:
    """Read a module's source: name -> the top-level statements that bind it, each with its text.

    Raises:
        ConfigError: it has no source that can be read.
    """
    path = getattr(sys.modules[module], "__file__", None)
    try:
        if path is None:
            raise OSError(0, "it is in no file")
        source = importlib.util.decode_source(Path(path).read_bytes())  # with \n at line ends, whatever the file has
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the source of {module} cannot be read ({error}); put the class into a .py file") from error
    lines = source.splitlines()
    found: dict[str, list[tuple[ast.stmt, str]]] = {}
    for statement in tree.body:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        text = "\n".join(line.rstrip() for line in lines[first - 1 : statement.end_lineno])
        for name in dict.fromkeys(_bound(statement)):
            found.setdefault(name, []).append((statement, text))
    return found


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds; of ``from m import *`` it is ``m.*``."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield f"{statement.module or ''}.{ALL}" if alias.name == ALL else alias.asname or alias.name
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.stmt) and node is not statement:  # in an if or try
                yield from _bound(node)


def _imported(statement: ast.stmt, name: str, module: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of what an import binds to a name; nothing if the statement is no import."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if name == (alias.asname or alias.name.partition(".")[0]):
                yield alias.name, ALL
    elif isinstance(statement, ast.ImportFrom):
        package = sys.modules[module].__package__ or ""
        source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            if name in (alias.asname, alias.name) or (alias.name == ALL and name.endswith(ALL)):
                inner = f"{source}.{alias.name}"
                yield (inner, ALL) if inner in sys.modules else (source, alias.name)
