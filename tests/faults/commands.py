"""Running memexp's commands under faults, and telling whether what they leave behind is right."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

TESTS = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
    "PYTHONWARNINGS": "default",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), what it printed, what it did with files."""

    code: int
    out: str
    err: str
    operations: list[tuple[str, str]] = field(default_factory=list)
    hit: bool = False

    @property
    def said(self) -> str:
        """All that was printed."""
        return self.out + self.err

    @property
    def has_traceback(self) -> bool:
        """Say whether a traceback, or what Python prints of an error that nobody caught, was printed."""
        return bool(re.search(r"Traceback|Exception ignored|Fatal Python error|^\w+Error:", self.said, re.M))

    @property
    def is_refused_in_a_line(self) -> bool:
        """Say whether it ended with exit code 1 and a line on standard error, or a sweep with its list."""
        lines = self.err.splitlines()
        alone = len(lines) == 1 and lines[0].startswith("memexp: ")
        listed = re.search(r"^\d+ of \d+ runs are not complete:\n  \S", self.out, re.M)
        undone = re.search(r"^(cannot|.*could not|.*cannot |.*has no complete run)", self.out, re.M)
        return self.code == 1 and not self.has_traceback and (alone or (not lines and bool(listed or undone)))


class Server:
    """The process of `fork_server`; a context."""

    def __init__(self, notes: Path) -> None:
        self._notes, self._count = notes, 0
        notes.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Server":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.fork_server"],
            env=ENVIRONMENT, cwd=self._notes, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._answer("ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def _answer(self, expected: str = "") -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the server has ended"
        assert expected in line
        return line

    def run(
        self, folder: Path, arguments: tuple[str, ...], fault: str = "", at: int = -1, clock_back: bool = False
    ) -> Ended:
        """Run ``python -m memexp ARGUMENTS`` in a folder.

        Args:
            folder: the current folder of the command.
            arguments: of the command.
            fault: at one of its file operations, see `faults.injector`.
            at: the number of that operation.
            clock_back: let the clock go backwards, a day each time that it is looked at.
        """
        self._count += 1
        notes = self._notes / str(self._count)
        folder.mkdir(parents=True, exist_ok=True)
        case = {"folder": str(folder), "arguments": arguments, "notes": str(notes), "fault": fault, "at": at}
        case["clock_back"] = clock_back
        assert self._process.stdin is not None
        print(json.dumps(case), file=self._process.stdin, flush=True)
        code = int(self._answer())
        out, err = (notes.with_name(f"{notes.name}.{kind}").read_text(errors="replace") for kind in ("out", "err"))
        told = notes.with_name(f"{notes.name}.json")
        more: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {}
        for path in self._notes.glob(f"{self._count}.*"):
            path.unlink()
        return Ended(
            code, out, err, [(kind, path) for kind, path in more.get("operations", [])], more.get("hit", False)
        )


#: Times of day, places, what was said on the way; and what is computed anew where it is not there.
UNEQUAL = (".hydra", ".lock", "memexp.log", "floors")


def differences(whole: Path, other: Path) -> list[str]:
    """List where two folders differ for a user: in names of files, their bytes, the tensors of checkpoints."""
    names = [{path.relative_to(folder) for path in _files(folder)} for folder in (whole, other)]
    found = [f"missing: {name}" for name in sorted(names[0] - names[1])]
    found += [f"left over: {name}" for name in sorted(names[1] - names[0])]
    for name in sorted(names[0] & names[1]):
        if name.suffix == ".pt":
            one, two = (torch.load(folder / name, weights_only=True) for folder in (whole, other))
            same = is_same(_plain(one), _plain(two))
        elif name.suffix == ".csv":
            same = is_same(*(_without_times(folder / name) for folder in (whole, other)))
        elif name.name == "summary.json":
            one, two = (json.loads((folder / name).read_text()) for folder in (whole, other))
            same = _unsealed(one) == _unsealed(two)
        else:
            same = (whole / name).read_bytes() == (other / name).read_bytes()
        if not same:
            found.append(f"differs: {name}")
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not set(UNEQUAL) & set(path.parts))


def _unsealed(summary: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a summary what follows from the bytes of other files, which are compared themselves, and times."""
    return {k: v for k, v in summary.items() if k not in ("seal", "sealed", *TIMES)}


TIMES = ("seconds", "tokens_per_second")


def _without_times(path: Path) -> list[list[str]]:
    """Read a table as it is written, but for the columns that are times."""
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    kept = [place for place, name in enumerate(lines[0]) if name not in TIMES]
    return [[line[place] for place in kept] for line in lines]


def _plain(content: Any) -> Any:
    """Leave the time out of a checkpoint."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items() if key != "seconds"}
    return content


def is_same(one: Any, other: Any) -> bool:
    """Compare nested tensors."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(is_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)
