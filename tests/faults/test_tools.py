"""The tools of the fault tests see what they are there to see."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from faults.commands import ENVIRONMENT, differences
from faults.damage import cut_off, flipped, judge
from faults.tally import BEGIN, END, LINE, OUTCOMES, RIGHT, ROWS, TRACEBACK, WRONG, Tally, table, with_table

from memexp.errors import MemexpError

CODE = """
import json, os, sys
from pathlib import Path
from faults.injector import Injector
injector = Injector(os.getcwd(), *json.loads(sys.argv[1]))
injector.install()
from memexp.files import write_atomically
Path("a").mkdir(exist_ok=True)
try:
    write_atomically(Path("a/b"), b"123456")
except OSError as error:
    print(error.strerror)
with open("a/b", "a") as file:
    file.write("x" * 9000 + "y")
Path("a/b").read_bytes()
os.unlink("a/b")
open("/dev/null", "w").close()
sys.stdout.write(json.dumps([(kind, path.partition(".b.")[0]) for kind, path in injector.operations]))
"""

WHOLE = [
    *(("mkdir", "a"), ("create", "a/"), ("write", "a/"), ("sync", "a/"), ("close", "a/"), ("chmod", "a/")),
    *(("replace", "a/"), ("open", "a/b"), ("write", "a/b"), ("close", "a/b"), ("read", "a/b"), ("unlink", "a/b")),
]


def inject(folder: Path, fault: str, at: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", CODE, json.dumps([fault, at])]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def test_every_operation_is_counted_and_met(tmp_path: Path):
    done = inject(tmp_path, "", -1)
    assert [(kind, path) for kind, path in json.loads(done.stdout)] == WHOLE, done.stderr


def test_a_kill_amid_a_write_leaves_its_half(tmp_path: Path):
    assert inject(tmp_path, "KILL", 2).returncode == -9
    (left,) = (tmp_path / "a").iterdir()
    assert left.read_bytes() == b"123"


def test_a_disk_stays_full_and_an_error_of_reading_does_not(tmp_path: Path):
    done = inject(tmp_path, "ENOSPC", 2)
    assert done.stdout.startswith("No space left on device")
    assert "OSError: [Errno 28]" in done.stderr  # the second file meets it too
    done = inject(tmp_path, "EIO", 3)
    assert done.stdout.startswith("Input/output error")
    assert done.stderr == ""


def test_damages():
    assert dict(cut_off(b"abc")) == {f"cut off after {n} bytes": b"abc"[:n] for n in range(3)}
    damaged = dict(flipped(b"a"))
    assert len(damaged) == 8
    assert damaged["bit 1 of byte 0 flipped"] == b"c"
    large = list(flipped(bytes(5000)))
    assert 1000 <= len(large) <= 1128
    assert large == list(flipped(bytes(5000)))
    assert len(list(cut_off(bytes(5000)))) == 1024 + 300


def test_outcomes_of_reading(tmp_path: Path):
    def refuse() -> None:
        raise MemexpError("a line")

    tally = Tally("progress-cut")
    readers = [lambda _: 5, lambda _: 6, lambda _: refuse(), lambda _: 1 / 0]
    for read in readers:
        judge(tally, read, tmp_path, 5, "x")
    assert tally.counts == {RIGHT: 1, WRONG: 1, LINE: 1, TRACEBACK: 1}
    assert len(tally.complaints) == 2


def test_differences_are_seen(tmp_path: Path):
    for folder, rows in (("one", "seconds,a\n1,2\n"), ("two", "seconds,a\n9,3\n"), ("three", "seconds,a\n9,2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "results.csv").write_text(rows)
    (tmp_path / "two" / "more").write_text("")
    assert differences(tmp_path / "one", tmp_path / "two") == ["left over: more", "differs: results.csv"]
    assert differences(tmp_path / "one", tmp_path / "three") == []


def test_the_table_is_put_between_its_marks():
    found = {name: Counter(dict.fromkeys(OUTCOMES, 1000)) for name in ROWS}
    for language in ("en", "zh"):
        written = table(found, language)
        assert written.count("\n") == len(ROWS) + 2
        assert "| 4,000 | 1,000 | 1,000 | 1,000 | 1,000 |" in written
    page = with_table(f"before\n{BEGIN}\nold\n{END}\nafter", "| new |")
    assert page == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter"
    with pytest.raises(AssertionError):
        with_table("no marks", "| new |")
