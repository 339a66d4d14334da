"""Compiled code, kept on disk: compiled once for a processor, loaded in a moment afterwards.

It lies in the user's cache folder, in a file of its own for everything that it depends on: the sources, the versions of
Python and numba, the processor. The file begins with the hash of the rest, so that one that is damaged is never loaded.
Where none can be written, code is compiled anew each time, which is no error.
"""

import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import platform
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from memexp.compiled import layout
from memexp.files import expanded, write_atomically
from memexp.progress import duration

log = logging.getLogger(__name__)

KEPT = ".cells"  # ends the name of a file of compiled code
LOCK = "compiling.lock"
MESSAGE = "compiling the cells for this processor takes about ten seconds"
INSTEAD = "torch trains instead, slower, and with last digits that depend on the machine"
WAITS = 300  # seconds for another process that compiles
HASH = hashlib.sha256().digest_size
UNUSED_DAYS = 90  # a file that nobody has loaded for so long is of another version, and is removed


def home() -> Path:
    """Return the folder in which compiled code is kept: MEMEXP_CACHE_DIR, or where the system keeps caches.

    Raises:
        OSError: nobody knows where that is.
    """
    given = os.environ.get("MEMEXP_CACHE_DIR")
    if given:
        return Path(expanded(given)).absolute()
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "memexp" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "memexp"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memexp"
    except RuntimeError as error:
        raise OSError(f"{error}; set MEMEXP_CACHE_DIR") from error


def missing() -> str | None:
    """Say why numba cannot be used here; None if it can be imported."""
    try:
        import numba
    except Exception as error:  # a broken installation may raise anything
        return _unusable(error)
    return "numba cannot be used (NUMBA_DISABLE_JIT is set)" if numba.config.DISABLE_JIT else None


@functools.cache
def why_not() -> str | None:
    """Say why nothing can be compiled here; None if it can, and has been."""
    try:
        unusable = missing()
        if unusable is None:
            load(np.dtype(np.float32))
        return unusable
    except Exception as error:
        return _unusable(error)


def _unusable(error: Exception) -> str:
    return f"numba cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def processor() -> tuple[str, str, str]:
    """Return what is compiled for: the kind of machine, the processor's name as LLVM has it, what it can do."""
    from numba.core.registry import cpu_target

    kind, name, features = cpu_target.target_context.codegen().magic_tuple()
    return kind, name, features


def key(dtype: np.dtype[Any]) -> str:
    """Return a name for all that compiled code depends on."""
    import llvmlite
    import numba

    sources = sorted(Path(__file__).parent.glob("*.py"))
    stamps = [[str(path), path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()] for path in sources]
    versions = [sys.version, platform.platform(), numba.__version__, llvmlite.__version__, np.__version__]
    whole = json.dumps([str(np.dtype(dtype)), stamps, processor(), versions])
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Kernels:
    """What of `memexp.compiled` is called from outside, compiled for one kind of number."""

    run: Callable[..., bool]
    cross_entropies: Callable[..., None]
    unwritten: OSError | None = None  # why what was compiled is not in the folder given


@functools.cache
def load(dtype: np.dtype[Any]) -> Kernels:
    """Return the code for numbers of a kind, float32 or float64, compiled now or before."""
    try:
        file = home() / f"{key(dtype)}{KEPT}"
        kept = _kept(dtype, file)
        if kept is not None:
            return kept
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.parent):
            return _kept(dtype, file) or _make(dtype, file)
    except (OSError, NotImplementedError, Timeout) as error:  # of a disk that knows no locks, the second
        log.info("%s; it cannot be kept (%s), so each command does it anew", MESSAGE, error)
        return _compile(dtype, None)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end if Ctrl-C was pressed: LLVM's wrapper swallows some that come meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual, pressed = signal.getsignal(signal.SIGINT), threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        if callable(usual):
            usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process compiles into a folder."""
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is compiling the cells for this processor; waiting for it")
        lock.acquire(timeout=WAITS)
    try:
        yield
    finally:
        lock.release()


def _kept(dtype: np.dtype[Any], file: Path) -> Kernels | None:
    """Load what a file holds; None if there is none, or not as it was written.

    numba reads from a folder that it can write. It gets a copy, so that nothing but what was compared is loaded.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return None
    if content[:HASH] != _hash(content[HASH:]):
        return None
    with tempfile.TemporaryDirectory(prefix="memexp-") as folder:
        with zipfile.ZipFile(io.BytesIO(content[HASH:])) as packed:
            packed.extractall(folder)
        kernels = _compile(dtype, Path(folder))
    with contextlib.suppress(OSError):  # of a folder that only an administrator writes
        os.utime(file)
    return kernels


def _make(dtype: np.dtype[Any], file: Path) -> Kernels:
    """Compile, and keep what was compiled in a file."""
    log.info("%s; it is kept in %s", MESSAGE, file.parent)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="memexp-") as folder:
        with _interruptible():
            kernels = _compile(dtype, Path(folder))
        after = f"compiled in {duration(time.monotonic() - started)}"
        try:
            if kernels.unwritten:
                raise kernels.unwritten
            _remove_unused(file.parent)
            write_atomically(file, _packed(Path(folder)))
        except OSError as error:
            log.info("%s; it cannot be kept (%s), so each command does it anew", after, error)
        else:
            log.info("%s", after)
    return kernels


def _packed(folder: Path) -> bytes:
    """Return all files of a folder as one, with its hash in front."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as files:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            files.write(path, path.relative_to(folder))
    return _hash(packed.getvalue()) + packed.getvalue()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _remove_unused(folder: Path) -> None:
    """Remove what nobody has loaded for `UNUSED_DAYS`: of another version, or of another processor."""
    for path in folder.glob(f"*{KEPT}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - UNUSED_DAYS * 86_400:
                path.unlink()


def _compile(dtype: np.dtype[Any], folder: Path | None) -> Kernels:
    """Compile, or load what a folder holds; what is compiled is kept in the folder, if there is one."""
    import numba

    from memexp.compiled import loss, update

    number = numba.from_dtype(np.dtype(dtype))
    records = [numba.typeof(np.zeros(1, kind)) for kind in (layout.PLAN, layout.LAYER)]
    rules, whole, real = numba.typeof(np.zeros(1, layout.RULES)), numba.int64, numba.float64
    signatures = {
        ("run", update): (
            *records, whole[:, ::1], rules, numba.boolean, *[number[:, ::1]] * 3, whole[:, :, ::1],
            number[:, :, :, ::1], whole[:, :, ::1], number[:, :, ::1], real[:, :, ::1], number[::1],
            number[:, :, :, ::1], real[:, ::1], real[:, ::1],
        ),
        ("cross_entropies", loss): (number[:, ::1], whole[::1], number[::1]),
    }  # fmt: skip
    made, unwritten = {}, None
    for (name, module), signature in signatures.items():
        made[name] = numba.njit(error_model="numpy")(getattr(module, name).py_func)
        if folder is not None:
            before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
            try:
                made[name].enable_caching()
            finally:
                numba.config.CACHE_DIR = before
        try:
            made[name].compile(signature)
        except OSError as error:  # it cannot be written; it is compiled
            unwritten = error
            made[name].compile(signature)
        made[name].disable_compile()
    return Kernels(**made, unwritten=unwritten)
