"""``python -m MODULE`` in a process of its own that need not load torch: it is forked from one that has done so.

Loading takes more time than what most tests let a command do. All else is as ever: arguments, folder, environment,
output, exit code. What a test asks of how a command begins, or of signals and groups of processes, is asked of one
that `subprocess` starts.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

SECONDS = 300  # that a command may take
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error"}  # that of the tests before any of them has begun
OF_A_TEST = ("PYTHONWARNINGS", "PYTEST_CURRENT_TEST")  # what may be different there, for no library has read it
_noted = dict(ENVIRONMENT)  # that of the test, when it began
LOADED = (
    *("memexp.app", "memexp.experiment", "memexp.analysis.command", "memexp.gates.command", "memexp.explorer"),
    *("hydra_plugins.memexp_sweeper", "hydra_plugins.hydra_joblib_launcher.joblib_launcher"),
)
"""What commands import sooner or later."""


def run(
    module: str, *arguments: str, folder: Path, warned: str = "error", drawn: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ARGUMENTS`` in a folder.

    Args:
        module: the command.
        arguments: its own.
        folder: where it is run.
        warned: what becomes of warnings, as PYTHONWARNINGS.
        drawn: False where no figure is looked at: each is made and its files are written, but they are empty.
            Turning it into PNG and PDF takes most of the time of such a command.
    """
    environment = {**os.environ, "PYTHONWARNINGS": warned}
    command = [sys.executable, "-m", module, *arguments]
    if sys.platform != "linux" or _read_by_libraries(environment) != _read_by_libraries(_noted):
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as scratch:
        outputs = [Path(scratch, name) for name in ("stdout", "stderr")]
        request = [
            module,
            arguments,
            str(folder.resolve()),
            environment,
            warned,
            drawn,
            [str(path) for path in outputs],
        ]
        server.stdin.write(f"{json.dumps(request)}\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(path.read_text() for path in outputs))


def note_environment() -> None:
    """Note the environment as a test begins: what it changes itself makes its commands processes of their own.

    What differs by then from `ENVIRONMENT` libraries have set as they were loaded; they do so in every process.
    """
    _noted.clear()
    _noted.update(os.environ)


def _read_by_libraries(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in OF_A_TEST}


@functools.cache
def _server() -> "subprocess.Popen[str]":
    server = subprocess.Popen(
        [sys.executable, __file__], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.communicate)  # closes its input, which ends it
    return server


# --- in the process that has loaded all, and in those that are forked from it ---


def _serve() -> None:
    """Load, then fork for each line of the input, and say how that ended."""
    import numpy as np
    from matplotlib.figure import Figure

    from memexp import files
    from memexp.compiled import cache

    for name in LOADED:
        importlib.import_module(name)
    cache.load(np.dtype(np.float32))
    files.as_files(Figure(), "what a figure needs")
    gc.freeze()  # no collection writes to what the processes share
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _do(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _do(
    module: str,
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    warned: str,
    drawn: bool,
    outputs: Sequence[str],
) -> NoReturn:
    """Be a process that was started for a module, to its end."""
    signal.alarm(SECONDS)
    for descriptor, path in enumerate((os.devnull, *outputs)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.resetwarnings()
    warnings.simplefilter(warned)  # type: ignore[arg-type]
    sys.warnoptions[:] = [warned]
    sys.path[0], sys.argv = folder, ["-m", *arguments]
    if not drawn:
        files = importlib.import_module("memexp.files")
        files.as_files = lambda figure, name: {f"{name}.png": b"", f"{name}.pdf": b""}  # type: ignore[attr-defined]
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        code = 1
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # taking apart what was loaded takes as long as a small command


if __name__ == "__main__":
    _serve()
