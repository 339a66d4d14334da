"""What a run asks of the machine it is on: device, threads, memory."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from importlib import metadata

import torch

from memexp.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's names and numbers, see mallopt(3)


def choose_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` where there is one, else ``cpu``.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ConfigError("device=cuda: torch finds no CUDA device here; use device=auto or device=cpu")
    return "cuda" if device == "auto" and available else "cpu" if device == "auto" else device


def prepare() -> None:
    """Use one thread, and keep freed memory.

    One thread: the products are small, so that a second thread costs more than it brings; the cores are used by
    running jobs side by side. Memory: by default glibc hands every large buffer back to the system and faults it
    in anew, page by page, at each update; keeping it makes an update about a third faster. Elsewhere than on
    glibc nothing is changed.
    """
    torch.set_num_threads(1)
    if os.name == "posix":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_TRIM_THRESHOLD, 1 << 30)
            mallopt(_M_MMAP_THRESHOLD, 1 << 30)


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Be prepared within a ``with``, and give torch its threads back: the process is a user's own."""
    before = torch.get_num_threads()
    prepare()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def described() -> dict[str, str]:
    """Say what a run is computed on, for the record: Python, numba, the kind of processor, the system; no names."""
    try:
        from llvmlite import binding

        numba, processor = metadata.version("numba"), str(binding.get_host_cpu_name())
    except Exception:  # it is not installed, or does not work here; then nothing is compiled
        numba, processor = "none", platform.processor() or "unknown"
    system = f"{platform.system()} {platform.machine()}"
    return {"python": platform.python_version(), "numba": numba, "processor": processor, "system": system}
