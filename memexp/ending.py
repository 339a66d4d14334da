"""How a command ends before its time: Ctrl-C is one line and exit code 130, and workers end with their parent.

`memexp` imports this before anything else, so it needs nothing but the standard library.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

CODE = 130  # what shells report of a command that Ctrl-C ended
LOOK_EVERY = 0.5  # seconds between two looks of a worker for its parent
GRACE = 2.0  # and that it then has for a last checkpoint
_WATCH = "memexp's watch of the parent"

_theirs = ContextVar("Ctrl-C is answered by whoever called", default=False)


def begin() -> None:
    """Let Ctrl-C end a command at once from now on, while its modules are still imported; a library is left alone."""
    if Path(sys.argv[0] if sys.argv else "").stem in ("-m", "memexp"):  # python -m memexp..., or the script
        _answer(_leave)


@contextlib.contextmanager
def left_alone() -> Iterator[None]:
    """Leave the answer to Ctrl-C to whoever called, within a ``with``: the process is a user's, not a command."""
    before = _theirs.set(True)
    try:
        yield
    finally:
        _theirs.reset(before)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Let Ctrl-C end this process at once: where modules are imported, and there is nothing to be finished.

    There a KeyboardInterrupt may get lost, come out as another error, or end in a crash: torch's imports are C++. In a
    user's own process, see `left_alone`, nothing is changed.
    """
    if _theirs.get():
        yield
        return
    before = _answer(_leave)
    try:
        yield
    finally:
        _answer(before)


@contextlib.contextmanager
def in_one_line(says: str) -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, and end the command with a line, whatever becomes of that on its way.

    Raises:
        SystemExit: after Ctrl-C.
    """
    asked = False

    def ask(*_: Any) -> NoReturn:
        nonlocal asked
        asked = True
        raise KeyboardInterrupt

    def lost(what: "sys.UnraisableHookArgs") -> None:  # in a destructor: Python would print it, and go on
        if issubclass(what.exc_type, KeyboardInterrupt):
            _leave()
        hook(what)

    hook, before = sys.unraisablehook, _answer(ask)
    sys.unraisablehook = lost
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if not asked and not isinstance(error, KeyboardInterrupt):
            raise
        print(says, file=sys.stderr)
        sys.exit(CODE)
    finally:
        sys.unraisablehook = hook
        _answer(before)


def _answer(handler: Any) -> Any:
    """Set what answers Ctrl-C and return what did; None, and nothing is set, where that is not up to this thread.

    A shell has what it starts in the background ignore Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return None
    return None if handler is None else signal.signal(signal.SIGINT, handler)


def _leave(*_: Any) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, b"memexp: interrupted\n")
    os._exit(CODE)


def orphaned() -> bool:
    """Say whether this is a worker of a sweep whose main process is gone, killed without a word.

    Python knows who started a worker. On Windows it also holds that process open, to ask whether it has ended; that
    is tested with a stand-in.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return False
    try:
        return not parent.is_alive()
    except (ValueError, TypeError):  # joblib's workers on POSIX hold nothing to ask
        return os.getppid() != parent.pid


def end_with_parent() -> None:
    """End this process, if it is a worker, as soon as its parent has ended: nobody waits for its runs any more.

    That is looked at in a thread, so that it holds in whatever the worker does: importing, making data, scoring. Only
    training stops by itself, see `orphaned`, with a checkpoint; it has `GRACE` seconds for that.
    """
    if orphaned():
        os._exit(CODE)
    if multiprocessing.parent_process() and all(thread.name != _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_watch, name=_WATCH, daemon=True).start()


def _watch() -> None:
    while not orphaned():
        time.sleep(LOOK_EVERY)
    time.sleep(GRACE)
    os._exit(CODE)
