"""What is shown while runs go on: a bar on a terminal, plain lines elsewhere, never glued together."""

import contextlib
import io
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import TqdmWarning, tqdm

from memexp.escaping import plain

PROGRESS = "progress"  # a file in the run folder while the run goes on: the share done, for the sweep's bar

LINES = "\n\t"  # what acts on a terminal and may

_quiet = False


class TerminalHandler(logging.Handler):
    """Print log lines on the terminal without breaking a bar, errors on standard error; silent in a sweep's runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        if _quiet:
            return
        if record.levelno >= logging.ERROR:
            tqdm.write(f"memexp: {plain(self.format(record), LINES)}", file=sys.stderr)
        else:
            say(self.format(record))


def make_streams_safe() -> None:
    """Let a character that a stream cannot show, as 分 on a redirected one of Windows, be shown as an escape.

    A stream that is closed leads nowhere from here on; otherwise the next file that is opened would be in its place.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def let_go_of_streams() -> None:
    """Lead a stream nowhere that cannot be written: its reader has gone, or its disk is full. Python would complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Print on standard output, above a bar if there is one."""
    tqdm.write(plain(text, LINES), file=sys.stdout)
    sys.stdout.flush()


@contextlib.contextmanager
def silence(on: bool) -> Iterator[None]:
    """Keep log lines off the terminal: the runs of a sweep leave it to the sweep."""
    global _quiet
    before, _quiet = _quiet, on
    try:
        yield
    finally:
        _quiet = before


def bar(total: float, description: str, bar_format: str | None = None) -> Any:
    """Open a bar, in a notebook or on standard error; on no terminal, and in a sweep's runs, it shows nothing."""
    hidden = True if _quiet else False if in_notebook() else None  # None: on anything but a terminal
    kind = _bar_of_a_notebook() if in_notebook() else tqdm
    own = type("Bar", (kind,), {"monitor_interval": 0})  # no thread that sees to it that a bar moves: ours do
    return own(total=total, desc=description, bar_format=bar_format, disable=hidden, leave=False, dynamic_ncols=True)


def in_notebook() -> bool:
    """Say whether this is the kernel of a notebook, whose standard error is no terminal but shows a bar."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _bar_of_a_notebook() -> type[Any]:
    """Return tqdm's own choice: a widget where ipywidgets is there, else a line of text, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm as chosen
    return chosen


def progress_file(folder: Path, updates: int, every: float = 1.0) -> Callable[[int], None]:
    """Return a function that notes in the run folder the share of ``updates`` done, at most every so many seconds."""
    written = -math.inf

    def note(iteration: int) -> None:
        nonlocal written
        now = time.monotonic()
        if now - written >= every:
            written = now
            with contextlib.suppress(OSError):  # only for show: a full disk is reported by what matters
                (folder / PROGRESS).write_text(f"{iteration / updates:.4f}\n", encoding="utf-8")

    return note


def read_progress(folder: Path) -> float:
    """Return the share of its updates that a run has done as far as it noted, 0 if it did not."""
    for paths in ((folder / PROGRESS,), folder.glob(f"*/{PROGRESS}")):  # of the run, or of some of its seeds
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                share = float(path.read_text(encoding="utf-8"))
                return share if 0 <= share <= 1 else 0.0  # of a damaged file, no share
    return 0.0


def duration(seconds: float) -> str:
    """Format a time span: 45 s, 3 min 20 s, 1 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
