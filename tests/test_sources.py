"""What counts as the code of a user's class: a change there is another run, a change beside it is not."""

import importlib
import sys
from pathlib import Path

import pytest

from memexp import sources
from memexp.errors import ConfigError
from memexp.models import LSTM

FILES = {
    "owncells.py": """
import math
import ownconstants
from memexp.models import Cell
from ownhelpers import mix as mixture
from ownstars import *

try:
    import nothing_of_that_name
    GAIN = 1
except ImportError:
    GAIN = 2

UNUSED = 3


def gain():
    return GAIN  # used by the class


class Base(Cell):
    title = "base"


SETTINGS = {"leak": 0.5}
SETTINGS["leak"] = 0.6
SETTINGS.update(gain=3)


class Own(Base):
    'A class.'

    def step(self, x, state):
        from ownlate import LATE  # a note

        SETTINGS, LATE
        return mixture(gain() * x, starred(state)), ownconstants.DEEP, math.pi, UNKNOWN


class Other(Cell):
    title = "other"


def make(leak):
    class Made(Cell):
        own = leak

    return Made


Made = make(0.1)
Own.gain = 7
""",
    "ownhelpers.py": "LEAK = 0.9\nALONE = 7\n\n\ndef mix(a, b):\n    return LEAK * a + (1 - LEAK) * b\n",
    "ownlate.py": "LATE = 1\n",
    "ownconstants.py": "DEEP = 5\n",
    "ownstars.py": "def starred(state):\n    return state\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules of a user's own, from which they are imported."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def code(name: str = "Own") -> str | None:
    """The code of a class as a new process would see it."""
    for file in FILES:
        sys.modules.pop(file.removesuffix(".py"), None)
    importlib.invalidate_caches()
    sources._statements.cache_clear()
    return sources.code_of(getattr(importlib.import_module("owncells"), name), f"owncells.{name}")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("owncells.py", "gain() * x", "gain() + x", True),
        ("owncells.py", '"base"', '"BASE"', True),  # of the class it inherits from
        ("owncells.py", "return GAIN", "return -GAIN", True),  # of a function that it calls
        ("owncells.py", "GAIN = 2", "GAIN = 4", True),  # of a constant that this one uses
        ("ownhelpers.py", "0.9", "0.8", True),  # in another module, under another name here
        ("ownconstants.py", "5", "6", True),  # all of a module that is used by its name
        ("ownstars.py", "return state", "return [state]", True),
        ("ownlate.py", "1", "2", True),  # imported in a method
        ("owncells.py", '"leak": 0.5', '"leak": 0.4', True),
        ("owncells.py", '["leak"] = 0.6', '["leak"] = 0.4', True),  # changed after it was bound
        ("owncells.py", "gain=3", "gain=4", True),
        ("owncells.py", "Own.gain = 7", "Own.gain = 8", True),
        ("owncells.py", "# a note", "# another\f\x1c\u2028", False),
        ("owncells.py", "'A class.'", "'The class.'", False),
        ("owncells.py", "gain() * x", "(gain()  *  x)", False),
        ("owncells.py", "UNUSED = 3", "UNUSED = 4", False),
        ("owncells.py", '"other"', '"another"', False),
        ("ownhelpers.py", "ALONE = 7", "ALONE = 8", False),
    ],
)
def test_what_a_class_uses_is_its_code_and_nothing_else(folder: Path, file: str, old: str, new: str, counts: bool):
    before = code()
    assert before is not None
    assert before.startswith("Own ")
    assert code() == before
    change(folder / file, old, new)
    assert (code() != before) is counts


def test_a_class_that_a_function_makes_is_what_it_was_made_with(folder: Path):
    before = code("Made")
    change(folder / "owncells.py", "make(0.1)", "make(0.9)")
    assert code("Made") != before


def test_a_module_may_have_another_name(folder: Path):
    before = code()
    (folder / "ownelsewhere.py").write_bytes((folder / "owncells.py").read_bytes())
    importlib.invalidate_caches()
    moved = importlib.import_module("ownelsewhere")
    assert sources.code_of(moved.Own, "ownelsewhere.Own") == before
    sys.modules.pop("ownelsewhere")


def test_line_ends_and_comments_outside_of_the_class_do_not_count(folder: Path):
    before = code()
    path = folder / "owncells.py"
    path.write_bytes(b"# of mine\r\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert code() == before


def test_two_classes_are_not_the_same_code(folder: Path):
    assert code("Own").partition(" ")[2] != code("Other").partition(" ")[2]


def test_of_memexps_own_classes_the_version_says_it():
    assert sources.code_of(LSTM) is None


def test_a_class_without_a_source_is_refused():
    made = type("Made", (), {"__module__": "builtins"})
    with pytest.raises(ConfigError, match="source of builtins.Made is not there; put it into a .py file"):
        sources.code_of(made)
