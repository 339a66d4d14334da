"""memexp: how long can a recurrent network remember?

From Python or a notebook: `run`, `sweep`, `results`, `draw`, `load`, and the `TrainedRun` that a run is when it is
done. What is here is loaded when it is first used, so that ``import memexp`` takes no time.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from memexp import ending

if TYPE_CHECKING:
    from memexp.errors import ConfigError, DataError, MemexpError, RecordError
    from memexp.face import draw, load, results, run, sweep
    from memexp.trained import TrainedRun

__all__ = [
    "ConfigError",
    "DataError",
    "MemexpError",
    "RecordError",
    "TrainedRun",
    "draw",
    "load",
    "results",
    "run",
    "sweep",
]

ending.begin()

__version__ = "0.3.0"

_PACKAGE = Path(__file__).resolve().parent

#: Where the YAML files are: inside the package when it was installed as a wheel, beside it in a checkout.
CONF_DIR = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "trained" if name == "TrainedRun" else "errors" if name.endswith("Error") else "face"
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which ``results`` is the function: Python would put the package of that name in its place."""

    @property
    def results(self) -> Any:
        return __getattr__("results")

    @results.setter
    def results(self, package: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
