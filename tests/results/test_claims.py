"""Claims: one process for each run folder, with locks and without, on one machine and on several."""

import errno
import fcntl
import json
import logging
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from memexp import processes
from memexp.errors import RecordError
from memexp.results import claims

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only there a process is known by more than its number")

#: A process that holds the folder given, on the machine given, and says so; it ends with its standard input.
HOLDER = """
import fcntl, pathlib, platform, sys
folder, host, locks, beat = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "locks", float(sys.argv[4])
if not locks:
    fcntl.flock = lambda *_: None
if host:
    platform.node = lambda: host
from memexp.errors import RecordError
from memexp.results import claims
claims.BEAT_SECONDS = beat
try:
    with claims.hold(folder):
        print("held", flush=True)
        sys.stdin.readline()
except RecordError as error:
    print(error, flush=True)
"""


def holder(folder: Path, host: str = "", locks: bool = True, beat: float = 0.05) -> "subprocess.Popen[str]":
    """Start another process that holds a folder; return it when it has said whether it does."""
    command = [sys.executable, "-c", HOLDER, str(folder), host, "locks" if locks else "", str(beat)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate("\n", timeout=30)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every lock be had by everyone, as on some disks that machines share; and let time go by faster."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(claims, "LEASE_SECONDS", 1.0)


def leave(folder: Path, **other: object) -> claims.Claim:
    """Leave the claim of a process that is no more: of this machine, but where it says otherwise."""
    with claims.hold(folder):
        claim = claims.read(folder)
    assert claim is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claim = replace(claim, **{"process": ended.pid, "token": "of another", **other})
    (folder / claims.CLAIM).write_bytes(claim.content)
    return claim


def seconds_to_hold(folder: Path) -> float:
    started = time.monotonic()
    with claims.hold(folder):
        return time.monotonic() - started


# --- with locks ---


def test_two_processes_cannot_hold_one_folder(tmp_path: Path):
    with claims.hold(tmp_path):
        other = holder(tmp_path)
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
        here = f"is being written by process {os.getpid()} on {re.escape(platform.node())} since {since}; wait for it"
        assert re.search(here, said(other))
        end(other)
    other = holder(tmp_path)
    assert said(other) == "held"
    end(other)
    assert [path.name for path in tmp_path.iterdir()] == [claims.LOCK]


def test_who_is_busy_is_known_at_once_where_there_are_locks(tmp_path: Path):
    with claims.hold(tmp_path):
        started = time.monotonic()
        with pytest.raises(RecordError, match="is being written by process"), claims.hold(tmp_path):
            pass
        assert time.monotonic() - started < 1
        (tmp_path / claims.CLAIM).unlink()
        with pytest.raises(RecordError, match="is being written by another process;"), claims.hold(tmp_path):
            pass


@pytest.mark.parametrize("answer", [OSError(errno.ENOTSUP, "Operation not supported"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_has_claims(tmp_path: Path, answer: Exception, monkeypatch: pytest.MonkeyPatch):
    def acquire(self: object) -> None:
        raise answer

    monkeypatch.setattr(claims.FileLock, "acquire", acquire)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    with claims.hold(tmp_path):
        with pytest.raises(RecordError, match=f"is being written by process {os.getpid()}"), claims.hold(tmp_path):
            pass
        assert claims.read(tmp_path) is not None
    assert claims.read(tmp_path) is None


def test_a_folder_that_cannot_be_locked_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def acquire(self: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(claims.FileLock, "acquire", acquire)
    with pytest.raises(RecordError, match="cannot write to .*: Permission denied"), claims.hold(tmp_path):
        pass


def test_a_claim_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(claims.os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write to .*: No space left on device; mend that"):
        claims.hold(tmp_path).__enter__()
    monkeypatch.undo()
    assert seconds_to_hold(tmp_path) < 1
    assert [path.name for path in tmp_path.iterdir()] == [claims.LOCK]


# --- without locks ---


@pytest.mark.usefixtures("no_locks")
def test_a_process_that_lives_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of this machine and of another one: it is asked no longer than for its next beat."""
    monkeypatch.setattr(claims, "LEASE_SECONDS", 60.0)
    for host in ("", "node3"):
        other = holder(tmp_path, host, locks=False)
        assert said(other) == "held"
        process = f"process {other.pid} on {host or platform.node()} since"
        started = time.monotonic()
        with pytest.raises(RecordError, match=f"is being written by {process}"), claims.hold(tmp_path):
            pass
        assert time.monotonic() - started < 20
        end(other)
        assert seconds_to_hold(tmp_path) < 1


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("reaped", [True, pytest.param(False, marks=LINUX)], ids=["gone", "a zombie"])
def test_the_folder_of_a_process_of_this_machine_that_was_killed_is_free_at_once(
    tmp_path: Path, reaped: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "LEASE_SECONDS", 60.0)
    other = holder(tmp_path, locks=False)
    assert said(other) == "held"
    other.kill()
    if reaped:
        other.wait()
    else:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert seconds_to_hold(tmp_path) < 1
    other.communicate()


@LINUX
@pytest.mark.usefixtures("no_locks")
def test_another_process_that_has_its_number_now_is_not_it(tmp_path: Path):
    leave(tmp_path, process=os.getpid(), started="1")
    assert seconds_to_hold(tmp_path) < 0.5


@LINUX
@pytest.mark.usefixtures("no_locks")
def test_after_the_machine_was_started_anew_the_folder_is_free_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "machine", lambda: "this one")
    leave(tmp_path, process=os.getpid(), machine="this one", boot="before pid:[1]")
    assert seconds_to_hold(tmp_path) < 0.5
    monkeypatch.setattr(processes, "machine", lambda: "")  # another one may have its name
    leave(tmp_path, process=os.getpid(), machine="", boot="before pid:[1]")
    assert seconds_to_hold(tmp_path) > 1


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    "other",
    [{"host": "node3"}, {"machine": "another"}, {"boot": processes.boot() + "0"}],
    ids=["another host", "another machine of that name", "another container"],
)
def test_of_another_machine_a_lease_is_waited_for(
    tmp_path: Path, other: dict[str, str], caplog: pytest.LogCaptureFixture
):
    claim = leave(tmp_path, **other)
    assert 1 < seconds_to_hold(tmp_path) < 3
    lines = [log.getMessage() for log in caplog.records if log.levelno == logging.WARNING]
    assert lines == [
        f"{tmp_path}: claimed by {claim}; waiting 1 s for a sign of life",
        f"{tmp_path}: there was none; taken over",
    ]


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff" * 5000, b'{"a": 1}', b"[" * 4000], ids=lambda content: str(content[:9])
)
def test_a_claim_that_cannot_be_read_is_watched_as_any_other(tmp_path: Path, content: bytes):
    (tmp_path / claims.CLAIM).write_bytes(content)
    assert claims.read(tmp_path) is None
    assert seconds_to_hold(tmp_path) > 1


@pytest.mark.parametrize(
    "other",
    [
        {"host": "a\x1b[31mred"}, {"host": "a\nb"}, {"host": 3}, {"process": "7"}, {"process": True}, {"process": -1},
        {"since": "yesterday"}, {"since": 0}, {"beat": 1.5}, {"beat": None}, {"another": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_claim_says_is_shown_only_if_it_can_be_what_memexp_wrote(tmp_path: Path, other: dict[str, object]):
    claim = leave(tmp_path)
    assert claims.read(tmp_path) == claim
    (tmp_path / claims.CLAIM).write_text(json.dumps({**asdict(claim), **other}))
    assert claims.read(tmp_path) is None


def at_once(count: int, do: Callable[[], None]) -> None:
    """Do the same in several threads, all of them at the same time."""
    barrier = threading.Barrier(count)

    def task() -> None:
        barrier.wait()
        do()

    threads = [threading.Thread(target=task) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.slow
@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize(
    ("there", "times"), [("free", 200), ("dead", 200), ("silent", 3)], ids=lambda value: str(value)
)
def test_of_several_who_come_at_once_one_gets_it(
    tmp_path: Path, links: bool, there: str, times: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(claims, "LEASE_SECONDS", 1.0 if there == "silent" else 60.0)
    if not links:
        monkeypatch.setattr(claims.os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    claim = leave(tmp_path, **({"host": "node3"} if there == "silent" else {}))
    for number in range(times):
        folder = tmp_path / str(number)
        folder.mkdir()
        if there != "free":
            (folder / claims.CLAIM).write_bytes(claim.content)
        holds: list[claims.Hold] = []
        refused: list[str] = []

        def take(folder: Path = folder, holds: list[claims.Hold] = holds, refused: list[str] = refused) -> None:
            try:
                holds.append(claims._claimed(folder))
            except RecordError as error:
                refused.append(str(error))

        at_once(3, take)
        assert len(holds) + len(refused) == 3
        assert [line for line in refused if "is being written by" not in line] == []
        still = [hold for hold in holds if not lost(hold)]
        assert len(still) == 1, f"{len(holds)} got it, {len(still)} have it still"
        for hold in holds:
            hold.release()
        assert list(folder.iterdir()) == []


def lost(hold: claims.Hold) -> bool:
    try:
        hold.check()
    except claims.ClaimLostError:
        return True
    return False


@pytest.mark.usefixtures("no_locks")
def test_who_was_taken_over_finds_out_and_leaves_the_other_alone(tmp_path: Path):
    with claims.hold(tmp_path) as held:
        held.check()
        other = leave_beside(tmp_path)
        message = rf"^{tmp_path} is being written by {other} now, for this one gave no sign of life for 1 s; nothing "
        with pytest.raises(claims.ClaimLostError, match=message + r"more was written\. Wait for the other$"):
            held.check()
        time.sleep(0.2)  # beats go nowhere
        assert (tmp_path / claims.CLAIM).read_bytes() == other.content
    assert (tmp_path / claims.CLAIM).read_bytes() == other.content


def leave_beside(folder: Path) -> claims.Claim:
    """Take a folder over, as a process on another machine does."""
    path = folder / claims.CLAIM
    own = claims.read(folder)
    assert own is not None
    path.rename(folder / "aside")
    other = replace(own, process=7, host="node3", token="another")
    path.write_bytes(other.content)
    (folder / "aside").unlink()
    return other


@pytest.mark.usefixtures("no_locks")
def test_a_claim_that_is_gone_is_lost_but_not_one_that_is_put_back(tmp_path: Path):
    path, aside = tmp_path / claims.CLAIM, tmp_path / "aside"
    with claims.hold(tmp_path) as held:
        path.rename(aside)
        back = threading.Timer(0.1, aside.rename, [path])
        back.start()
        held.check()
        back.join()
        path.unlink()
        with pytest.raises(claims.ClaimLostError, match="the claim of this process in .* was removed; nothing more"):
            held.check()


@pytest.mark.usefixtures("no_locks")
def test_looks_are_rare_but_not_after_a_sleep_by_any_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with claims.hold(tmp_path) as held:
        leave_beside(tmp_path)
        held.check(every=1000)
        now, wall = time.monotonic(), time.time()
        for clock, value in (("time", wall + 5000), ("time", wall - 5000), ("monotonic", now + 5000)):
            with monkeypatch.context() as patch:
                patch.setattr(claims.time, clock, lambda value=value: value)
                assert lost(held)
                held._looked = (now, wall)
                with pytest.raises(claims.ClaimLostError):
                    held.check(every=1000)
            held._looked = (time.monotonic(), time.time())


@pytest.mark.usefixtures("no_locks")
def test_a_clock_that_is_set_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wall = time.time()
    with claims.hold(tmp_path):
        monkeypatch.setattr(claims.time, "time", lambda: wall - 10_000)
        with pytest.raises(RecordError, match="is being written by"), claims.hold(tmp_path):
            pass
    assert claims.age(tmp_path) is None
    leave(tmp_path, host="node3")
    assert 1 < seconds_to_hold(tmp_path) < 3


def test_the_age_is_that_of_the_last_beat(tmp_path: Path):
    leave(tmp_path)
    os.utime(tmp_path / claims.CLAIM, (time.time() - 100,) * 2)
    assert claims.age(tmp_path) == pytest.approx(100, abs=5)
    os.utime(tmp_path / claims.CLAIM, (time.time() + 100,) * 2)
    assert claims.age(tmp_path) == 0


def test_a_beat_is_written_as_long_as_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.02)
    with claims.hold(tmp_path):
        first = claims.read(tmp_path)
        assert first is not None
        for _ in range(500):
            now = claims.read(tmp_path)
            if now is not None and now.beat >= 12:  # one digit more than at first
                break
            time.sleep(0.02)
        assert now == replace(first, beat=now.beat if now else 0)
        assert now.beat >= 12
    assert not any(thread.name == "claim" for thread in threading.enumerate())


def test_what_a_killed_process_left_of_a_claim_is_removed(tmp_path: Path):
    (tmp_path / f".{claims.CLAIM}.0123456789abcdef").write_text("{}")
    assert seconds_to_hold(tmp_path) < 1
    assert [path.name for path in tmp_path.iterdir()] == [claims.LOCK]
