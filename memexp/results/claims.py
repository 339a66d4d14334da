"""Claims: which process writes a run folder, so that no two do, on one machine or on many that share a disk.

A process that writes a run holds two things in its folder. The first is a file lock, where the file system has them:
the system itself lets go of it when the process dies. The second is the file ``claim``, for disks that many machines
share, on which a lock may be unknown, or known to one machine only: it says who writes, and a thread renews it every
`BEAT_SECONDS`. Whoever finds a claim takes it over at once if its process is gone from this machine; of another
machine's process nothing can be known but whether it renews the claim, so it is watched for `LEASE_SECONDS`.

No clocks are compared: a claim lives if its content changes while it is watched. ``since`` is only shown.

What is not guaranteed: a process that stood still for a whole lease (its machine slept, the disk did not answer) has
lost its claim. It looks before it writes, after an update if the last look is `LOOK_SECONDS` ago, and before each step
that ends a run; then it stops. If it stands still between a look and what is written after it, it writes once more,
beside the process that took over: a checkpoint is one of the same run, but rows of the history can be there twice.
"""

import contextlib
import errno
import json
import logging
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from memexp import processes
from memexp.errors import RecordError

log = logging.getLogger(__name__)

CLAIM = "claim"
LOCK = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # what a file system without locks answers

BEAT_SECONDS = 5.0  # between two signs of life
LEASE_SECONDS = 60.0  # a claim of which nothing can be known but that it did not change for so long is taken over
LOOK_SECONDS = 1.0  # a run looks at most so often whether its claim is still its own: on a shared disk that costs

LARGEST = 4096  # bytes of a claim that are read; it has 300


class ClaimLostError(RecordError):
    """This process was taken for dead, and another one writes the run now: nothing more may be written."""


@dataclass(frozen=True)
class Claim:
    """What a process says of itself in the folder that it writes.

    Attributes:
        process: its number.
        host: the name of its machine.
        since: when it began, by its own clock; only shown.
        token: of this claim and no other.
        beat: how often it was renewed.
        machine: what tells machines of one name apart, see `memexp.processes.machine`; empty where nothing does.
        boot: what tells apart the processes of one number, see `memexp.processes.boot`.
        started: when the process was started, since the boot; empty where that cannot be seen.
    """

    process: int
    host: str
    since: str
    token: str
    beat: int
    machine: str
    boot: str
    started: str

    def __str__(self) -> str:
        """Say who that is, since when, in the time of this machine."""
        return f"process {self.process} on {self.host} since {self.began:%Y-%m-%d %H:%M}"

    @property
    def began(self) -> datetime:
        """When it began, in the time of this machine."""
        return datetime.fromisoformat(self.since).astimezone()

    @property
    def content(self) -> bytes:
        """The content of the file. It only grows, so that it can be written over itself."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to be gone: only one of this machine is."""
        if self.host != platform.node() or self.machine != processes.machine():
            return False
        if self.boot != processes.boot():  # this machine was started anew, or it is of another container
            return bool(self.machine) and self.boot.partition(" ")[0] != processes.boot().partition(" ")[0]
        return not processes.lives(self.process, self.started)


def read(folder: Path) -> Claim | None:
    """Return who writes a run folder; None if nobody says so, or what is there cannot be read."""
    try:
        return _parsed(_content(folder / CLAIM) or b"")
    except OSError:
        return None


def age(folder: Path) -> float | None:
    """Return how many seconds ago a claim was renewed, by the clocks of machine and disk; None without one."""
    try:
        return max(0.0, time.time() - (folder / CLAIM).stat().st_mtime)
    except OSError:
        return None


class Hold:
    """A run folder that this process writes, until `release`.

    Args:
        path: of the claim, which is this process's.
        claim: its content.
        file: the same, open: once another claim is at ``path``, a beat cannot meet that one.
    """

    def __init__(self, path: Path, claim: Claim, file: BinaryIO) -> None:
        self._path, self._claim, self._file = path, claim, file
        self._looked = time.monotonic(), time.time()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._claim = replace(self._claim, beat=self._claim.beat + 1)
            with contextlib.suppress(OSError):  # it is gone, or the disk does not answer; `check` sees what there is
                self._file.seek(0)
                self._file.write(self._claim.content)
                os.fsync(self._file.fileno())  # to the other machines

    def check(self, every: float = 0.0) -> None:
        """Check that the folder is still this process's.

        Args:
            every: do so only if the last look was this many seconds ago, by any clock: one stands still while the
                machine sleeps, the other can be set.

        Raises:
            ClaimLostError: it was taken over, for this process gave no sign of life.
        """
        steady, wall = time.monotonic(), time.time()
        if abs(steady - self._looked[0]) < every and abs(wall - self._looked[1]) < every:
            return
        self._looked = steady, wall
        for _ in range(10):
            try:
                content = _content(self._path)
            except OSError:
                return  # of the disk; whoever writes next is told
            if content is not None:
                break
            time.sleep(0.05)  # someone may have moved it away by mistake, and be about to put it back
        folder = self._path.parent
        if content is None:
            raise ClaimLostError(
                f"the claim of this process in {folder} was removed; nothing more was written. "
                "Give the same command to go on"
            )
        if not self._is_own(content):
            raise ClaimLostError(
                f"{folder} is being written by {_parsed(content) or 'another process'} now, for this one gave no sign "
                f"of life for {LEASE_SECONDS:.0f} s; nothing more was written. Wait for the other"
            )

    def _is_own(self, content: bytes) -> bool:
        return self._claim.token.encode() in content

    def release(self) -> None:
        """Let go of the folder, if it is still this process's."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        self._file.close()
        with contextlib.suppress(OSError):
            if self._is_own(_content(self._path) or b""):
                _remove(self._path, self._is_own)
            for left in self._path.parent.glob(f".{CLAIM}.*"):  # by a process that was killed between two steps
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[Hold]:
    """Hold a run folder for this process, see the top of this module.

    Raises:
        RecordError: another process is writing this run, or the folder is not writable.
    """
    with _locked(folder):
        held = _claimed(folder)
        try:
            yield held
        finally:
            held.release()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder where the file system has locks; the claim is all there is elsewhere."""
    # Without the library's own substitute: that one is left behind by a machine that dies, for ever.
    lock = FileLock(folder / LOCK, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise _busy(folder, read(folder)) from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _busy(folder: Path, claim: Claim | None) -> RecordError:
    return RecordError(f"{folder} is being written by {claim or 'another process'}; wait for it, or stop it")


def _unwritable(folder: Path, error: OSError) -> RecordError:
    return RecordError(f"cannot write to {folder}: {error.strerror}; mend that, then give the same command to go on")


def _claimed(folder: Path) -> Hold:
    """Claim a folder: at once if it is free or its process is gone, else after a lease without a sign of life.

    Raises:
        RecordError: another process is writing this run, or the folder is not writable.
    """
    path = folder / CLAIM
    seen: bytes | None = None
    seen_at = 0.0
    try:
        while True:
            there = _content(path)
            if there is None:
                held = _create(path)
                if held is not None:
                    return held
                continue  # another process was quicker
            claim = _parsed(there)
            if seen is not None and there != seen:
                raise _busy(folder, claim)
            over = seen is not None and time.monotonic() - seen_at > LEASE_SECONDS
            if over or (claim is not None and claim.is_dead):
                try:
                    _remove(path, there.__eq__)
                except PermissionError:  # Windows: a file that a living process has open cannot be moved
                    raise _busy(folder, claim) from None
                if over:
                    log.warning("%s: there was none; taken over", folder)
                continue
            if seen is None:
                seen, seen_at = there, time.monotonic()
                log.warning(
                    "%s: claimed by %s; waiting %.0f s for a sign of life",
                    folder, claim or "another process", LEASE_SECONDS,
                )  # fmt: skip
            time.sleep(BEAT_SECONDS / 5)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _create(path: Path) -> Hold | None:
    """Make a claim of this process; None if there is one already."""
    token = secrets.token_hex(8)
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    own, machine, boot = os.getpid(), processes.machine(), processes.boot()
    claim = Claim(own, platform.node(), since, token, 0, machine, boot, processes.started(own))
    temporary = path.with_name(f".{CLAIM}.{token}")
    file = _new(temporary, claim)
    try:
        os.link(temporary, path)  # as a whole or not at all, also for one who is killed here
    except FileExistsError:
        if temporary.stat().st_nlink < 2:  # over a network the answer can get lost, and the second try finds the first
            file.close()
            return None
    except OSError:  # a file system without links
        file.close()
        try:
            file = _new(path, claim)
        except FileExistsError:
            return None
    finally:
        with contextlib.suppress(OSError):  # Windows: not while it is open; `Hold.release` does
            temporary.unlink()
    return Hold(path, claim, file)


def _new(path: Path, claim: Claim) -> BinaryIO:
    """Write a new file, and leave it open."""
    file = path.open("xb", buffering=0)
    try:
        file.write(claim.content)
        os.fsync(file.fileno())
    except OSError:
        file.close()
        path.unlink(missing_ok=True)
        raise
    return file


def _remove(path: Path, is_it: Callable[[bytes], bool]) -> None:
    """Remove a claim, and no other one that has come in its place meanwhile: that one is put back."""
    aside = path.with_name(f".{CLAIM}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):  # another process was quicker
        path.rename(aside)
        if is_it(_content(aside) or b""):
            aside.unlink()
        else:
            _put_back(aside, path)


def _put_back(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:  # a third process has come; whose claim this was will see that
        pass
    except OSError:  # a file system without links
        if not path.exists():
            aside.rename(path)
    aside.unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    """Return the content of a claim; None if there is none."""
    try:
        with path.open("rb") as file:  # opened anew each time: over a network that asks the server
            return file.read(LARGEST)
    except FileNotFoundError:
        return None


def _parsed(content: bytes) -> Claim | None:
    """Read a claim; None if it is damaged, or of a kind that memexp does not write."""
    try:
        claim = Claim(**json.loads(content))
        texts = (claim.host, claim.since, claim.token, claim.machine, claim.boot, claim.started)
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            return None
        if not all(type(number) is int for number in (claim.process, claim.beat)) or claim.process < 1:
            return None
        _ = claim.began
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return claim
