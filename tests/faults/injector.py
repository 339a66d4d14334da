"""The file operations of a process below one folder, in their order; at one of them a fault.

Each operation is announced before it is done, so that the states of the disk can be enumerated: a process that is
killed before its operation N has done N of them. Python's own file objects are built anew upon `Raw`, so that a write
is what reaches the operating system, not what a program puts into a buffer; a write that is hit has done its half.
"""

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

KILL = "KILL"
#: What operations an error can come from, and whether it stays: a disk that is full or read-only does.
ERRORS: dict[str, tuple[set[str], bool]] = {
    "ENOSPC": ({"create", "write", "sync", "mkdir", "replace", "link"}, True),
    "EROFS": ({"create", "open", "mkdir", "replace", "link", "unlink", "rmdir", "truncate", "chmod", "utime"}, True),
    "EACCES": ({"create", "open", "mkdir", "replace", "link", "unlink", "rmdir", "truncate", "chmod", "utime"}, False),
    "EIO": (
        {"create", "open", "read", "write", "sync", "close", "mkdir", "replace", "link", "unlink", "truncate"},
        False,
    ),
}
#: Operations after which the disk is as it was before: nothing new can be found by a kill after them.
WITHOUT_TRACE = {"read", "sync", "close"}

WRITES = os.O_WRONLY | os.O_RDWR
PATHS: dict[str, str] = {
    "mkdir": "mkdir", "rmdir": "rmdir", "replace": "replace", "rename": "replace", "link": "link", "unlink": "unlink",
    "remove": "unlink", "truncate": "truncate", "chmod": "chmod", "utime": "utime",
}  # fmt: skip


class Injector:
    """Counts operations, and does a fault at one of them.

    Args:
        folder: only what is below it counts.
        fault: ``KILL``, the name of an errno, or nothing.
        at: the number of the operation, from 0.
    """

    def __init__(self, folder: str, fault: str = "", at: int = -1) -> None:
        self.folder, self.fault, self.at = os.path.realpath(folder), fault, at
        self.operations: list[tuple[str, str]] = []
        self.hit = False
        self._paths: dict[int, str] = {}  # of the file descriptors that os.open gave

    def below(self, path: object) -> str:
        """Return a path from the folder on; nothing for one elsewhere."""
        if isinstance(path, int):
            return self._paths.get(path, "")
        try:
            whole = os.path.abspath(os.fspath(path))  # type: ignore[call-overload]
        except TypeError:
            return ""
        return os.path.relpath(whole, self.folder) if whole.startswith(self.folder + os.sep) else ""

    def meet(self, operation: str, path: str, half: Callable[[], object] = lambda: None) -> None:
        """Announce an operation; ``half`` does a part of it, where it has parts."""
        number = len(self.operations)
        self.operations.append((operation, path))
        if not self.fault:
            return
        if self.fault == KILL:
            if number == self.at:
                half()
                os.kill(os.getpid(), signal.SIGKILL)
            return
        of, stays = ERRORS[self.fault]
        if operation in of and (number == self.at or (stays and number > self.at)):
            if number == self.at:
                half()
            self.hit = True
            self.fail(path)

    def fail(self, path: str) -> NoReturn:
        """Raise the error, as the operating system would."""
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number), path)

    def install(self) -> None:
        """Put the counted operations in place of Python's."""
        for name, operation in PATHS.items():
            setattr(os, name, self._counted(getattr(os, name), operation))
        os.open = self._os_open(os.open)  # type: ignore[assignment]
        os.close = self._os_close(os.close)  # type: ignore[assignment]
        os.fsync = self._os_fsync(os.fsync)  # type: ignore[assignment]
        builtins.open = io.open = self._open(builtins.open)  # type: ignore[assignment]

    def _counted(self, real: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **options: Any) -> Any:
            own = self.below(path)
            if own and not (operation == "mkdir" and os.path.isdir(path)):  # that fails, and is no operation
                self.meet(operation, own)
            return real(path, *arguments, **options)

        return counted

    def _os_open(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            own = self.below(path)
            if own and flags & (WRITES | os.O_CREAT):
                self.meet("open" if os.path.exists(path) else "create", own)
            descriptor = real(path, flags, *arguments, **options)
            if own and flags & WRITES:
                self._paths[descriptor] = own
            return descriptor

        return opened

    def _os_close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def closed(descriptor: int) -> None:
            self._paths.pop(descriptor, None)
            real(descriptor)

        return closed

    def _os_fsync(self, real: Callable[[int], None]) -> Callable[[Any], None]:
        def synced(file: Any) -> None:
            descriptor = file if isinstance(file, int) else file.fileno()
            if descriptor in self._paths:
                self.meet("sync", self._paths[descriptor])
            real(file)

        return synced

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        injector = self

        class Raw(io.FileIO):
            """A file whose writes are counted."""

            own = ""

            def write(self, content: Any) -> int:
                whole = bytes(content)
                injector.meet("write", self.own, lambda: io.FileIO.write(self, whole[: len(whole) // 2]))
                return super().write(whole)

            def truncate(self, size: int | None = None) -> int:
                injector.meet("truncate", self.own)
                return super().truncate(size)

            def close(self) -> None:
                if not self.closed:
                    injector._paths.pop(self.fileno(), None)
                    super().close()
                    injector.meet("close", self.own)

        def opened(
            file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
            newline: Any = None, closefd: bool = True, opener: Any = None,
        ) -> Any:  # fmt: skip
            own = injector.below(file)
            if not own or not set(mode) & set("wax+"):
                if own:
                    injector.meet("read", own)
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int) and opener is None:
                injector.meet("open" if os.path.exists(file) else "create", own)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            raw.own = own
            injector._paths[raw.fileno()] = own
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)

        return opened
