"""The one kind of error that is the user's to mend: shown as a single line, without a traceback."""

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator

from memexp.escaping import plain


class MemexpError(Exception):
    """Says in one line what came, what is allowed and what to do."""

    def __str__(self) -> str:
        """Return that line: it stays one, and is harmless, whatever text of a file or a folder's name is in it."""
        return plain(super().__str__())


class ConfigError(MemexpError):
    """A setting that is unknown, of the wrong type, or out of range."""


class DataError(MemexpError):
    """A data file that cannot be read, or that does not hold what it should."""


class RecordError(MemexpError):
    """A run folder or checkpoint that is damaged, foreign, of another config, or in use."""


class Complaints:
    """What could not be done while the rest was: each is said in a line as it comes, and counted for the exit code."""

    def __init__(self, quiet: bool = False) -> None:
        self.count = 0
        self._quiet = quiet

    def add(self, line: str) -> None:
        """Say a line on stderr, unless quiet."""
        self.count += 1
        if not self._quiet:
            print(plain(line), file=sys.stderr)


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest the name that was perhaps meant, as a remark in brackets; empty if none is near."""
    names = list(names)
    found = difflib.get_close_matches(name, names, 1, 0.6)
    if not found:  # the last part of a dotted key: hidden_size -> model.hidden_size
        found = [n for n in names if n.rpartition(".")[2] == name.rpartition(".")[2]]
    return f" (did you mean {found[0]}?)" if found else ""


def some(names: Iterable[object], most: int = 12) -> str:
    """List names for an error message of one line."""
    shown = [str(name) for name in names]
    return " | ".join(shown[:most]) + (f" | and {len(shown) - most} more" if len(shown) > most else "")


def refused(error: BaseException) -> str:
    """Say in a line what the operating system refuses; nothing for an error of another kind.

    Whoever writes or reads a file says so himself, and better; this is for all else: a library that does not fit into
    memory, a terminal that is gone, standard output on a full disk.
    """
    if isinstance(error, ValueError) and isinstance(error.__cause__, OSError):  # logging's of its file
        error = error.__cause__
    said = (str(error).splitlines() or [""])[0]
    memory = ("failed to map segment", "allocate memory", "not enough memory", "can't start new thread")
    if isinstance(error, MemoryError) or (not isinstance(error, OSError) and any(part in said for part in memory)):
        return f"there is too little memory{said and f' ({said})'}; give fewer seeds, smaller models or fewer jobs"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        of = f"use {error.filename}" if error.filename else "read a file, or write one or what is shown"
        return f"cannot {of}: {error.strerror or said}; mend that, and try again"
    return ""


@contextlib.contextmanager
def refusals_in_a_line() -> Iterator[None]:
    """Turn what the operating system refuses into a `MemexpError`, see `refused`."""
    try:
        yield
    except (OSError, MemoryError, ImportError, RuntimeError, ValueError) as error:
        reason = refused(error)
        if not reason:
            raise
        raise MemexpError(reason) from error
