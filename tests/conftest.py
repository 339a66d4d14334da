"""Fixtures that several tests use; see `helpers` for the rest."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import forked
import pytest
import torch
from helpers import Command, CommandLine

from memexp import fonts, words
from memexp.errors import ConfigError
from memexp.results import record
from memexp.training import machine

machine.prepare()

pytest_plugins = ["faults.tally"]  # the option that writes the table of the fault tests


#: The files that take longest go first, so that no core waits for one of them at the end; the others follow as found.
LONGEST = (
    *("test_notebooks.py", "test_slurm_real.py", "test_run.py", "explorer/test_page.py", "gates/test_command.py"),
    *("test_fonts.py", "analysis/test_command.py", "test_report.py", "test_same.py", "test_experiment.py"),
    *("bench/test_command.py", "test_status.py", "test_own_code.py", "training/test_runner.py"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    forked.note_environment()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next(
            (k for k, name in enumerate(LONGEST) if item.path.as_posix().endswith(f"tests/{name}")), len(LONGEST)
        )

    items.sort(key=place)


@pytest.fixture(autouse=True)
def own_modules_are_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget what a test imported from its own folder: the next test's module of that name is another one."""
    known, folder = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - known:
        module = sys.modules[name]
        path = getattr(module, "__path__", ())  # of a module that stands for another, anything
        places = [getattr(module, "__file__", None), *(path if isinstance(path, Iterable) else ())]
        if any(isinstance(place, str) and os.path.abspath(place).startswith(folder) for place in places):
            del sys.modules[name]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20)


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let figures and tables be in Chinese; a text that the catalogue lacks fails.

    Where no font has the characters the test is skipped, but where MEMEXP_REQUIRE_FONT=1 is set: there it fails.
    """

    def fail(text: str) -> str:
        pytest.fail(f"no entry in the catalogue: {text!r}")

    monkeypatch.setattr(words, "without_entry", fail)
    try:
        fonts.family_for("zh")
    except ConfigError as error:
        if os.environ.get("MEMEXP_REQUIRE_FONT") == "1":
            raise
        pytest.skip(str(error))
    with fonts.speaking("zh"):
        yield


@pytest.fixture
def spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Copy a folder with one run, to be spoilt, into the test's own, which becomes the current; return the run's."""

    def copy(folder: Path) -> Path:
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        monkeypatch.chdir(tmp_path)
        (summary,) = Path("outputs").glob(f"*/*/{record.SUMMARY}")
        return summary.parent

    return copy


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command, given as its main, in this process; return what it prints, or its complaint."""

    def run(main: Callable[[], None], *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["memexp", *arguments])
        try:
            main()
        except SystemExit as stop:
            return str(stop.code)  # a text is printed on stderr, and the exit code is 1
        return capsys.readouterr().out

    return run


@pytest.fixture
def memexp(tmp_path: Path) -> CommandLine:
    """Run ``python -m memexp ARGUMENTS`` in the test's own folder."""
    return partial(forked.run, "memexp", folder=tmp_path, warned="default")
