"""A command that is forked does what one that is started does; else tests that use it would show nothing."""

import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere"),
]

OWN = """
import os, sys, warnings
import mine
print(sys.argv[1:], os.getcwd(), mine.NAME, os.environ.get("OF_THE_TEST"), sys.stdin.read() == "", sys.stdout.isatty())
if "warn" in sys.argv:
    warnings.warn("careful")
{"exit": sys.exit, "text": lambda: sys.exit("said"), "number": lambda: sys.exit(7)}.get(sys.argv[-1], dict)()
{"error": lambda: 1 / 0}.get(sys.argv[-1], dict)()
"""


def started(module: str, *arguments: str, folder: Path, warned: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONWARNINGS": warned}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("arguments", [["a b"], ["exit"], ["text"], ["number"], ["error"], ["warn"]])
@pytest.mark.parametrize("warned", ["error", "default"])
def test_arguments_folder_output_and_code_are_those_of_a_process_of_its_own(
    arguments: list[str], warned: str, tmp_path: Path
):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "mine.py").write_text(f"NAME = {str(tmp_path)!r}")
    one = forked.run("own", *arguments, folder=tmp_path, warned=warned)
    other = started("own", *arguments, folder=tmp_path, warned=warned)
    assert (one.args, one.returncode, one.stdout) == (other.args, other.returncode, other.stdout)
    assert one.stderr.splitlines()[-2:] == other.stderr.splitlines()[-2:]


def test_a_run_leaves_the_same_files_and_says_the_same(tmp_path: Path):
    folders = (tmp_path / "forked", tmp_path / "started")
    done = []
    for folder, run in zip(folders, (forked.run, started), strict=True):
        folder.mkdir()
        done.append(run("memexp", "length=4", "model=srn", "epochs=1", "seeds=2", folder=folder, warned="error"))
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 2
    first = [one.stdout.splitlines()[0] for one in done]
    assert first[0] == first[1]
    runs = [next(folder.glob("outputs/book/*/")) for folder in folders]
    assert runs[0].name == runs[1].name
    left = [sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) for folder in folders]
    assert left[0] == left[1]
    for name in ("history.csv", "config.json"):
        assert (runs[0] / name).read_bytes() == (runs[1] / name).read_bytes()


def test_no_command_sees_what_another_has_done(tmp_path: Path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"NAME = {name!r}")
        (tmp_path / name / "own.py").write_text(OWN)
        assert f" {name} None " in forked.run("own", folder=tmp_path / name).stdout


@pytest.mark.parametrize("drawn", [True, False])
def test_figures_that_are_not_looked_at_are_made_and_empty(drawn: bool, tmp_path: Path):
    sizes = ("length=4", "model=srn", "model.hidden_size=4", "epochs=1", "seeds=2")
    assert forked.run("memexp", *sizes, folder=tmp_path).returncode == 0
    assert forked.run("memexp.analysis", folder=tmp_path, drawn=drawn).returncode == 0
    written = [*tmp_path.glob("images/book/*.png"), *tmp_path.glob("images/book/*.pdf")]
    assert len(written) > 2
    assert [path.stat().st_size > 0 for path in written] == [drawn] * len(written)


def test_what_libraries_set_as_they_are_loaded_makes_no_other_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own.py").write_text("import os; print(os.getppid())")
    monkeypatch.setenv("OF_A_LIBRARY", "set when it was loaded")
    forked.note_environment()  # as before the next test
    assert forked.run("own", folder=tmp_path).stdout != f"{os.getpid()}\n"


def test_another_environment_is_that_of_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own.py").write_text("import os; print(os.environ['OF_THE_TEST'], os.getppid())")
    monkeypatch.setenv("OF_THE_TEST", "here")
    assert forked.run("own", folder=tmp_path).stdout == f"here {os.getpid()}\n"
