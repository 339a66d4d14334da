"""Machines and their processes: is the one that wrote a file still there? Of the standard library alone."""

import contextlib
import os
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path


@cache
def machine() -> str:
    """Return what tells this machine from others of its name, where it says so (Linux): a hash, for it is private."""
    with contextlib.suppress(OSError):
        name = Path("/etc/machine-id").read_bytes().strip()
        return sha256(b"memexp" + name).hexdigest()[:8] if name else ""
    return ""


@cache
def boot() -> str:
    """Return what a process's number belongs to (Linux): the start of the machine, and the container."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _state(process: int) -> str:
    """Return a process's state and when it was started, as ``S 4711``; empty where /proc does not say (not Linux)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return f"{fields[0]} {fields[19]}"
    except (OSError, IndexError):
        return ""


def started(process: int) -> str:
    """Return when a process was started, since the boot; empty where that cannot be seen."""
    return _state(process).partition(" ")[2]


def lives(process: int, started: str = "") -> bool:
    """Say whether a process of this machine lives; one that was started at another time only has its number."""
    if process >= 2**31:  # no system counts so far
        return False
    state, _, then = _state(process).partition(" ")
    if state:
        return state not in "ZX" and started in ("", then)  # a zombie writes no more
    if sys.platform == "win32":
        return _lives_on_windows(process)  # there os.kill(process, 0) would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def _lives_on_windows(process: int) -> bool:
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, invalid_parameter, signalled = 0x100000, 87, 0
    handle = kernel.OpenProcess(synchronize, False, process)
    if not handle:
        return ctypes.get_last_error() != invalid_parameter
    try:
        return bool(kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) != signalled)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
