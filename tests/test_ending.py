"""Ctrl-C is one line and exit code 130 in every command from its first moment, and workers end with their parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memexp import ending

CHECKOUT = Path(__file__).resolve().parent.parent
COMMANDS = ("memexp", *(f"memexp.{name}" for name in
            ("analysis", "bench", "explorer", "gates", "generate", "migrate", "report")))  # fmt: skip


def start(code: str | list[str], folder: Path, **environment: str) -> "subprocess.Popen[str]":
    """Start Python on some code, or with arguments, able to hear Ctrl-C, and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, *(["-c", code] if isinstance(code, str) else code)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    return process


def interrupted(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Press Ctrl-C; return the exit code and what was said of it."""
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=20)[1]
    return process.returncode, errors


@pytest.mark.parametrize("command", [*COMMANDS, "the script"])
def test_ctrl_c_while_a_command_is_imported_is_one_line(command: str, tmp_path: Path):
    """Each imports omegaconf before it can begin; here that takes a minute, and what it raises is lost."""
    (tmp_path / "omegaconf.py").write_text(
        "import time\ntry:\n    print(flush=True)\n    time.sleep(60)\nexcept BaseException:\n    raise ImportError\n"
    )
    script = "import sys; sys.argv[0] = '/usr/bin/memexp'; from memexp.__main__ import main"
    path = f"{tmp_path}{os.pathsep}{CHECKOUT}"
    process = start(script if command == "the script" else ["-m", command], tmp_path, PYTHONPATH=path)
    assert interrupted(process) == (130, "memexp: interrupted\n")


def test_who_imports_memexp_keeps_their_own_ctrl_c(tmp_path: Path):
    code = "import signal, memexp; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler; print()"
    process = start(code, tmp_path)
    process.communicate()
    assert process.returncode == 0


def test_a_command_in_the_background_is_deaf_to_ctrl_c_as_the_shell_wants_it(tmp_path: Path):
    code = "import os, signal; signal.signal(2, signal.SIG_IGN); from memexp import ending\n"
    code += "with ending.at_once(), ending.in_one_line(''): os.kill(os.getpid(), 2)\nprint('here')"
    process = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (0, "here\n")


@pytest.fixture
def python_hears() -> Iterator[None]:
    """Let Ctrl-C through, which is off where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(becomes: type[BaseException]) -> None:
    """Press it where it is turned into another error."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise becomes from None


@pytest.mark.usefixtures("python_hears")
@pytest.mark.parametrize("becomes", [KeyboardInterrupt, ImportError, SystemError])
def test_whatever_becomes_of_ctrl_c_it_is_one_line(becomes: type[BaseException], capsys: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped, ending.in_one_line("interrupted"):
        press_ctrl_c(becomes)
    assert (stopped.value.code, capsys.readouterr().err) == (130, "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("python_hears")
def test_without_ctrl_c_an_error_is_what_it_is():
    for error in (ImportError, SystemExit):
        with pytest.raises(error), ending.in_one_line("interrupted"):
            raise error


def test_ctrl_c_in_a_destructor_is_not_lost(tmp_path: Path):
    """Python prints what is raised there, and goes on."""
    code = """
import time
from memexp import ending
class Slow:
    def __del__(self):
        print(flush=True)
        time.sleep(60)
with ending.in_one_line("not this one"):
    Slow()
    time.sleep(60)
"""
    assert interrupted(start(code, tmp_path)) == (130, "memexp: interrupted\n")


# --- workers ---


class Parent:
    """Stands for the process that started this one, as Python knows it."""

    def __init__(self, alive: Callable[[], bool], pid: int = 0) -> None:
        self.is_alive, self.pid = alive, pid


def test_an_orphan_is_a_worker_whose_parent_has_ended(monkeypatch: pytest.MonkeyPatch):
    """What can be asked, as on Windows, is asked; joblib's workers elsewhere go by who their parent is now."""

    def nothing_to_ask() -> bool:
        raise ValueError("Invalid file object: None")

    for parent, orphaned in (
        (None, False),
        (Parent(lambda: True), False),
        (Parent(lambda: False), True),
        (Parent(nothing_to_ask, os.getppid()), False),
        (Parent(nothing_to_ask, os.getpid()), True),
    ):
        monkeypatch.setattr(multiprocessing, "parent_process", lambda parent=parent: parent)
        assert ending.orphaned() == orphaned


WORKER = """
import multiprocessing, os, sys, time
from memexp import ending

def work(busy):
    ending.end_with_parent()
    ending.end_with_parent()  # the next run
    print(os.getpid(), flush=True)
    while True:
        if not busy: time.sleep(60)

if __name__ == "__main__":
    ending.GRACE = 0.1
    multiprocessing.get_context(sys.argv[1]).Process(target=work, args=(sys.argv[2] == "busy",)).start()
"""


@pytest.mark.parametrize("busy", ["busy", "waiting"])
def test_a_worker_ends_with_its_parent_whatever_it_does(tmp_path: Path, busy: str):
    (tmp_path / "parent.py").write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    parent = subprocess.Popen(
        [sys.executable, "parent.py", "spawn", busy], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    started = time.monotonic()
    parent.communicate()  # until nobody can write any more, the worker neither
    assert time.monotonic() - started < 10
