"""Compiled code, kept on disk: compiled once for a processor, loaded in a moment afterwards.

It lies in the user's cache folder, in a folder of its own for everything that it depends on: the sources, the versions
of Python and numba, the processor. That is made beside and then moved into place, with the hash of each file in it, so
that one that is half there or damaged is never loaded. Where no such folder can be made, code is compiled anew each
time, which is no error.
"""

import functools
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from memexp.compiled import layout
from memexp.progress import duration

log = logging.getLogger(__name__)

SEALED = "sealed.json"
MESSAGE = "compiling the cells for this processor takes about ten seconds"
WAITS = 300  # seconds for another process that compiles


def home() -> Path:
    """Return the folder in which compiled code is kept: below MEMEXP_CACHE_DIR, or where the system keeps caches."""
    given = os.environ.get("MEMEXP_CACHE_DIR")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "memexp" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "memexp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memexp"


def why_not() -> str | None:
    """Say why nothing can be compiled here; None if it can."""
    try:
        import numba

        if numba.config.DISABLE_JIT:
            return "NUMBA_DISABLE_JIT is set"
        from memexp.compiled import passes  # noqa: F401 (whether it can be imported)
    except Exception as error:  # a broken installation may raise anything
        return f"numba cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return None


def key(dtype: np.dtype[Any]) -> str:
    """Return a name for all that compiled code depends on."""
    import llvmlite
    import numba
    from numba.core.registry import cpu_target

    sources = sorted(Path(__file__).parent.glob("*.py"))
    stamps = [[str(path), path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()] for path in sources]
    processor = cpu_target.target_context.codegen().magic_tuple()
    versions = [sys.version, platform.platform(), numba.__version__, llvmlite.__version__, np.__version__]
    whole = json.dumps([str(np.dtype(dtype)), stamps, str(processor), versions])
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Kernels:
    """What of `memexp.compiled.passes` is called from outside, compiled for one kind of number."""

    run: Callable[..., bool]
    cross_entropies: Callable[..., None]


@functools.cache
def load(dtype: np.dtype[Any]) -> Kernels:
    """Return the code for numbers of a kind, float32 or float64, compiled now or before."""
    folder = home() / key(dtype)
    try:
        if _is_whole(folder):
            return _compile(dtype, folder)
        home().mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(home() / "compiling.lock", timeout=WAITS):
            return _compile(dtype, folder) if _is_whole(folder) else _compile_into(dtype, folder)
    except (OSError, filelock.Timeout) as error:
        log.info("%s, for they cannot be kept in %s (%s)", MESSAGE, home(), getattr(error, "strerror", None) or error)
        return _compile(dtype, None)


def _compile_into(dtype: np.dtype[Any], folder: Path) -> Kernels:
    """Compile, and keep what was compiled in a folder."""
    log.info("%s; they are kept in %s", MESSAGE, home())
    started = time.monotonic()
    beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        kernels = _compile(dtype, beside)
        hashes = {path.relative_to(beside).as_posix(): _hash(path) for path in beside.rglob("*") if path.is_file()}
        (beside / SEALED).write_text(json.dumps(hashes), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    log.info("compiled in %s", duration(time.monotonic() - started))
    return kernels


def _compile(dtype: np.dtype[Any], folder: Path | None) -> Kernels:
    """Compile, or load what a folder holds; what is compiled is kept in the folder, if there is one."""
    import numba

    from memexp.compiled import passes

    number = numba.from_dtype(np.dtype(dtype))
    records = [numba.typeof(np.zeros(1, kind)) for kind in (layout.PLAN, layout.LAYER)]
    rules, whole, real = numba.typeof(np.zeros(1, layout.RULES)), numba.int64, numba.float64
    signatures = {
        "run": (
            *records, whole[:, ::1], rules, numba.boolean, *[number[:, ::1]] * 3, whole[:, :, ::1],
            number[:, :, :, ::1], whole[:, :, ::1], number[:, :, ::1], real[:, :, ::1], number[::1],
            number[:, :, :, ::1], real[:, ::1], real[:, ::1],
        ),
        "cross_entropies": (number[:, ::1], whole[::1], number[::1]),
    }  # fmt: skip
    made = {}
    for name, signature in signatures.items():
        made[name] = numba.njit(error_model="numpy")(getattr(passes, name).py_func)
        if folder is not None:
            before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
            try:
                made[name].enable_caching()
            finally:
                numba.config.CACHE_DIR = before
        made[name].compile(signature)
        made[name].disable_compile()
    return Kernels(**made)


def _is_whole(folder: Path) -> bool:
    """Say whether a folder holds what was sealed in it."""
    try:
        hashes = json.loads((folder / SEALED).read_text(encoding="utf-8"))
        return isinstance(hashes, dict) and all(_hash(folder / name) == given for name, given in hashes.items())
    except (OSError, ValueError):
        return False


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
