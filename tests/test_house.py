"""How the modules of memexp depend on each other: no circles, and nothing imports from a layer above its own."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: From the top down. A name stands for a module of memexp or for a package with all that is in it; the longest that
#: fits counts. A module may import from its own layer and from those below.
LAYERS = (
    ("hydra_plugins", "__main__", "app"),  # __main__: of memexp and of each of its packages
    (
        *("face", "evaluate", "export", "sweeps", "status", "report", "generate", "migrate", "verify", "compare"),
        *("same", "doctor", "guess", "published"),
    ),
    ("bench", "explorer", "gates", "analysis", "memory"),
    ("weights.outside",),
    ("choosing", "evaluation", "inputs", "jobs", "sheets", "trained"),
    ("experiment",),
    ("tracking",),
    ("grids", "options", "settings"),
    ("arguments",),
    ("explain",),
    ("compiled",),
    ("weights",),
    ("contract", "registered", "training"),
    ("config",),
    ("models",),
    ("tasks",),
    ("figures",),
    ("results",),
    ("fields",),
    ("fonts",),
    ("files", "progress", "sources", "canvas", "workers"),
    ("errors", "words"),
    ("escaping", "arithmetic"),
    ("memexp", "ending", "processes"),  # the version, and where conf/ is; how a command ends, from its first moment
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for folder in ("memexp", "hydra_plugins") for path in ROOT.glob(f"{folder}/**/*.py")}


def layer(module: str) -> int:
    """Return the number of a module's layer, from 0 at the top."""
    package, _, inner = module.partition(".")
    parts = inner.split(".") if package == "memexp" and inner else [package]
    if parts[-1] == "__main__":
        parts = ["__main__"]
    for length in range(len(parts), 0, -1):
        for number, names in enumerate(LAYERS):
            if ".".join(parts[:length]) in names:
                return number
    raise AssertionError(f"{module} has no layer: give it one in the table above")


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def imports(source: str, within_functions: bool) -> Iterator[tuple[int, str]]:
    """Return line and name of every module of ours that a source imports, but for types alone."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not within_functions:
            continue
        nodes += node.orelse if isinstance(node, ast.If) and is_for_types_only(node) else ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]  # a module, or something of one
            found = [name if name in MODULES else str(node.module) for name in names]
        else:
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from ((node.lineno, name) for name in dict.fromkeys(found) if name in MODULES)


def test_this_test_sees_imports_wherever_they_are():
    source = """
import memexp
import numpy, memexp.files
from typing import TYPE_CHECKING
from memexp import progress, CONF_DIR
from memexp.errors import ConfigError, MemexpError
if TYPE_CHECKING:
    from memexp.results import tables
else:
    from memexp.results import study
class A:
    import memexp.config
    def late(self):
        if self:
            from memexp.results.record import History
"""
    at_once = [(2, "memexp"), (3, "memexp.files"), (5, "memexp"), (5, "memexp.progress"), (6, "memexp.errors")]
    at_once += [(10, "memexp.results.study"), (12, "memexp.config")]
    assert sorted(imports(source, within_functions=False)) == at_once
    assert sorted(imports(source, within_functions=True)) == [*at_once, (15, "memexp.results.record")]
    assert layer("memexp.gates.__main__") < layer("memexp.gates.units") < layer("memexp.tasks.text.corpus")
    assert layer("hydra_plugins.memexp_slurm") < layer("memexp.sweeps") < layer("memexp")


def test_no_circle_of_modules_that_import_each_other():
    graph = {name: {found for _, found in imports(path.read_text(), False)} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 100
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]))


def test_nothing_imports_from_a_layer_above_its_own():
    """Within functions neither: an import that is late to be quick is not there to hide a circle."""
    upwards = [
        f"{path.relative_to(ROOT)}, line {line}: {name} is below {found}"
        for name, path in MODULES.items()
        for line, found in imports(path.read_text(), within_functions=True)
        if layer(found) < layer(name)
    ]
    assert not upwards, "\n".join(upwards)


def test_no_test_imports_another():
    """What they share is in helpers.py and conftest.py."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.rpartition(".")[2].startswith("test_")], path
