"""Surroundings that are not as they should be: language, streams, limits, clock, a disk that is full or read-only."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.again import DIGITS, SWEEP, goes_on, undisturbed
from faults.commands import Ended, Server
from faults.injector import KILL
from faults.processes import shell
from faults.tally import LINE, RIGHT, TRACEBACK, WRONG, Row, Tally


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(server, tmp_path_factory.mktemp("whole"), DIGITS)[0]


def note(tally: Tally, ended: Ended, what: str, server: Server, whole: Path, folder: Path) -> None:
    """Note how a command ended; then it is given again, in good surroundings."""
    if ended.has_traceback:
        tally.note(TRACEBACK, f"{what}: exit code {ended.code}: {ended.said[-500:]}")
    elif ended.code != 0 and not ended.is_refused_in_a_line:
        tally.note(WRONG, f"{what}: exit code {ended.code}: {ended.said[-500:]}")
    else:
        goes_on(server, tally, whole, folder, DIGITS, what, LINE if ended.code else RIGHT)


GIVEN = " ".join(DIGITS)
#: Row -> lines of bash, and variables; in each of them the command gets through, or says in a line why not.
LINES = {
    "language": [
        (f"LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 memexp {GIVEN}", {}),
        (f"LC_ALL=POSIX PYTHONIOENCODING=ascii memexp {GIVEN}", {}),
    ],
    "no-home": [(f"memexp {GIVEN}", {"HOME": "", "MPLCONFIGDIR": ""}), (f"HOME=/nowhere memexp {GIVEN}", {})],
    "streams": [
        (f"memexp {GIVEN} >&-", {}),
        (f"memexp {GIVEN} 2>&-", {}),
        (f"memexp {GIVEN} <&-", {}),
        (f"memexp {GIVEN} >&- 2>&- <&-", {}),
        (f"memexp {GIVEN} >/dev/full", {}),
        (f"memexp {GIVEN} 2>/dev/full", {}),
    ],
    "memory": [
        (f"ulimit -v {kilobytes}; memexp {GIVEN}", {}) for kilobytes in (300_000, 700_000, 1_000_000, 1_500_000)
    ],
    "files": [(f"ulimit -n {number}; memexp {GIVEN}", {}) for number in (12, 20, 64)],
    "file-size": [(f"ulimit -f {blocks}; memexp {GIVEN}", {}) for blocks in (1, 8, 24)],
}


@pytest.mark.parametrize("name", LINES)
def test_a_run_in(name: str, server: Server, row: Row, whole: Path, tmp_path: Path):
    with row(name) as tally:
        for number, (line, environment) in enumerate(LINES[name]):
            folder = tmp_path / str(number)
            note(tally, shell(folder, line, **environment), line, server, whole, folder)


def test_the_clock_is_set_back(server: Server, row: Row, whole: Path, tmp_path: Path):
    """Before a run, and between a kill and the same command again, when its files are of a time to come."""
    with row("clock") as tally:
        note(tally, server.run(tmp_path / "a", DIGITS, clock_back=True), "clock", server, whole, tmp_path / "a")
        _, operations = undisturbed(server, tmp_path / "b", DIGITS)
        shutil.rmtree(tmp_path / "b")
        for at in range(20, len(operations), 10):
            assert server.run(tmp_path / "b", DIGITS, KILL, at).code == -9
            for path in (tmp_path / "b").rglob("*"):
                os.utime(path, (time.time() + 1e6,) * 2)
            ended = server.run(tmp_path / "b", DIGITS, clock_back=True)
            note(tally, ended, "clock between", server, whole, tmp_path / "b")
            shutil.rmtree(tmp_path / "b")


def mount(folder: Path, options: str) -> bool:
    """Mount a disk of its own, in memory; say whether that is allowed here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that may become a mounted disk; at the end it is none."""
    folder = tmp_path / "disk"
    yield folder
    if os.path.ismount(folder):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_real_disk_is_full(server: Server, row: Row, whole: Path, disk: Path):
    """Small disks, from one with nothing on it to one that is full just before the end; then it grows."""
    if not mount(disk, "size=16k"):
        pytest.skip("only root can mount a disk; the same errors are injected at every file operation")
    with row("real-full") as tally:
        for size in range(16, 200, 12):
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
            ended = server.run(disk / "work", DIGITS)
            subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
            note(tally, ended, f"a disk of {size} kB", server, whole, disk / "work")
            shutil.rmtree(disk / "work")
        assert tally.counts[LINE] > 5


def test_a_folder_is_read_only(server: Server, row: Row, whole: Path, disk: Path):
    """Nothing there yet; or a complete run, of which all can be shown; for a run and for a sweep."""
    if not mount(disk, "size=9m"):
        if os.name != "posix" or os.geteuid() == 0:
            pytest.skip("nothing is read-only for root, who cannot mount a disk here; the same errors are injected")
        disk.mkdir()
    with row("read-only") as tally:
        for arguments in (DIGITS, SWEEP):
            for there in (False, True):
                work = disk / "work"
                work.mkdir()
                if there:
                    assert server.run(work, arguments).code == 0
                read_only(disk, True)
                ended = server.run(work, arguments)
                read_only(disk, False)
                what = f"read-only, {' '.join(arguments[:2])}, {'complete' if there else 'nothing there'}"
                if ended.has_traceback:
                    tally.note(TRACEBACK, f"{what}: {ended.said[-500:]}")
                elif ended.code and not ended.is_refused_in_a_line:
                    tally.note(WRONG, f"{what}: exit code {ended.code}: {ended.said[-500:]}")
                else:
                    tally.note(LINE if ended.code else RIGHT)
                shutil.rmtree(work)


def read_only(disk: Path, on: bool) -> None:
    """Make a disk read-only, or writable again; where none is mounted, its folders."""
    if os.path.ismount(disk):
        subprocess.run(["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(disk)], check=True)
        return
    for path in [disk, *disk.rglob("*")]:
        path.chmod((0o555 if path.is_dir() else 0o444) if on else 0o755)
