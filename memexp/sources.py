"""The code of a cell or task of a user's own, as a hash: what a run was trained with, and whether it is still that.

For memexp's own classes its version says so.
"""

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from memexp.errors import ConfigError

OWN = "memexp"
INSTALLED = {"site-packages", "dist-packages", Path(sysconfig.get_path("stdlib")).name}
ALL = "*"


def code_of(kind: type, target: str = "") -> str | None:
    """Return the name of a user's class with a hash of its code, and of all of the user's that this uses.

    Base classes, functions, constants and other modules of the user's count; comments and docstrings, the names of
    modules, and what was installed with pip, do not.

    Args:
        kind: the class.
        target: where it is found, ``module.name``; the name may stand for a class that is made by a function.

    Returns:
        For example ``LeakySRN 0c2f61d0a54b3e9d``; None for a class of memexp.

    Raises:
        ConfigError: its source cannot be read.
    """
    package = kind.__module__.partition(".")[0]
    if package == OWN:
        return None
    used: dict[tuple[str, str], str] = {}
    found_in, _, name = target.replace(":", ".").rpartition(".")
    pending = [(kind.__module__, kind.__qualname__.partition(".")[0]), (found_in, name)]
    while pending:
        module, name = pending.pop()
        if (module, name) in used or not _is_users(module, package):
            continue
        statements = _statements(module)
        if name == ALL or name not in statements:  # all of a module, or what came with ``from ... import *``
            used[module, name] = ""
            pending += [(module, other) for other in statements if name == ALL or other.endswith(ALL)]
            continue
        code = ""
        for statement in statements[name]:
            for node in ast.walk(statement):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    pending += _imported(node, name if node is statement else None, module)
                elif isinstance(node, ast.Name):
                    pending.append((module, node.id))
            code += "" if isinstance(statement, ast.Import | ast.ImportFrom) else _as_text(statement)
        used[module, name] = f"{name} {code}" if code else ""
    whole = "\n".join(sorted(filter(None, used.values())))
    if not whole:
        raise ConfigError(f"the source of {kind.__module__}.{kind.__qualname__} is not there; put it into a .py file")
    return f"{kind.__qualname__} {hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def _as_text(node: Any) -> str:
    """Write code so that what is the same is the same text, whatever its layout, comments and version of Python."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != "ctx"]
        return f"{type(node).__name__}({','.join(f'{name}={_as_text(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(_as_text(item) for item in node if not _is_docstring(item))}]"
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_users(module: str, package: str) -> bool:
    """Say whether a module is of the class's own package, or of no package that was installed."""
    file, first = _file(module), module.partition(".")[0]
    if file is None or first == OWN:
        return False
    return first == package or not INSTALLED & set(file.parts)


def _file(module: str) -> Path | None:
    """Return a module's source file, also of one that is not imported yet, as within a function."""
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


@cache
def _statements(module: str) -> dict[str, list[ast.stmt]]:
    """Read a module's source: name -> the top-level statements that bind or change it.

    Raises:
        ConfigError: it has no source that can be read.
    """
    try:
        tree = ast.parse((_file(module) or Path(module)).read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"the source of {module} cannot be read ({error}); put the class into a .py file") from error
    found: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in dict.fromkeys(_bound(statement)):
            found.setdefault(name, []).append(statement)
    return found


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement binds or may change; of ``from m import *`` it is ``m.*``."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Import):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield f"{statement.module or ''}.{ALL}" if alias.name == ALL else alias.asname or alias.name
    elif isinstance(statement, ast.Expr):  # a call, as CONFIG.update(...)
        yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
    else:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                while not isinstance(node, ast.Name):  # CONFIG["leak"] = ... and Own.step = ... change CONFIG and Own
                    if not isinstance(node, ast.Attribute | ast.Subscript):
                        break
                    node = node.value
                else:
                    yield node.id
            elif isinstance(node, ast.stmt) and node is not statement:  # in an if or try
                yield from _bound(node)


def _imported(statement: ast.Import | ast.ImportFrom, name: str | None, module: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of what an import binds to a name; None for all that it binds."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if name in (None, alias.asname or alias.name.partition(".")[0]):
                yield alias.name, ALL
    else:
        spec = importlib.util.find_spec(module)
        package = (spec.parent if spec is not None else None) or ""
        source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            if name in (None, alias.asname, alias.name) or (alias.name == ALL and str(name).endswith(ALL)):
                inner = f"{source}.{alias.name}"
                yield (inner, ALL) if _file(inner) else (source, alias.name)
