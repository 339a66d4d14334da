"""Commands as processes of their own, to send signals to and to change the surroundings of."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.commands import ENVIRONMENT, Ended

PATIENCE = 120  # seconds that a command may take


@contextmanager
def started(folder: Path, arguments: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """Start ``python -m memexp ARGUMENTS`` in a folder, in a session of its own that ends with the context."""
    folder.mkdir(parents=True, exist_ok=True)

    def listen() -> None:  # to Ctrl-C, which a shell turns off for what it starts in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-m", "memexp", *arguments],
        cwd=folder, env=ENVIRONMENT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, preexec_fn=listen, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end_of(process: "subprocess.Popen[str]") -> Ended:
    """Wait for a process to end."""
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out, err)


def wait_until(true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait until something is true, or the process has ended."""
    until = time.monotonic() + PATIENCE
    while not true() and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def shell(folder: Path, line: str, **environment: str) -> Ended:
    """Run a line of bash in a folder, with ``memexp`` for ``python -m memexp``.

    Args:
        folder: the current folder of the shell.
        line: the line.
        environment: variables besides those of the tests; one that is empty is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {key: value for key, value in {**ENVIRONMENT, **environment}.items() if value}
    whole = f'memexp() {{ "{sys.executable}" -m memexp "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", whole], cwd=folder, env=variables, capture_output=True, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL, errors="replace",
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)
