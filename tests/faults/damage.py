"""Damaged files, and the ordinary readers of memexp: what do they make of a file that is cut off, or has a bit flipped?

The readers are the functions that the commands are built from. What they return is compared with what they return of
the files as they were.
"""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from faults.commands import is_same
from faults.tally import LINE, RIGHT, TRACEBACK, WRONG, Tally

from memexp.errors import Complaints, MemexpError

FLIPS = 1000  # of single bits, drawn from a generator with seed 13
EVERY_LENGTH = 1024  # a file is cut off at every length up to this one, and at as many more as `FURTHER`
FURTHER = 300
HEADER = 16  # bytes of which every bit is flipped

Reader = Callable[[Path], Any]


class Aloud(Complaints):
    """Complaints that are errors: where a part is left out with a line, the whole is refused in a line."""

    def add(self, line: str) -> None:
        raise MemexpError(line)


def cut_off(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut a file off: at every length if it is small."""
    draw = random.Random(13)
    lengths = set(range(min(len(content), EVERY_LENGTH)))
    further = range(EVERY_LENGTH, len(content))
    lengths |= set(further) if len(further) <= FURTHER else set(draw.sample(further, FURTHER))
    for length in sorted(lengths):
        yield f"cut off after {length} bytes", content[:length]


def flipped(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Flip one bit: every one of the first bytes, and others by chance; of a small file all."""
    draw, bits = random.Random(13), range(8 * len(content))
    chosen = set(bits[: 8 * HEADER]) | set(bits if len(bits) <= FLIPS else draw.sample(bits, FLIPS))
    for bit in sorted(chosen):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit % 8} of byte {bit // 8} flipped", bytes(damaged)


def judge(tally: Tally, read: Reader, root: Path, intact: Any, what: str) -> None:
    """Read, and note what came of it."""
    try:
        found = read(root)
    except MemexpError as error:
        one_line = str(error).strip() and "\n" not in str(error)
        tally.note(LINE if one_line else WRONG, f"{what}: {str(error)!r} is not one line")
    except (Exception, SystemExit) as error:
        tally.note(TRACEBACK, f"{what}: {type(error).__name__}: {error}"[:300])
    else:
        tally.note(RIGHT if is_same(plain(found), intact) else WRONG, f"{what}: believed, with other numbers")


def plain(found: Any) -> Any:
    """Turn what a reader returns into what can be compared."""
    if isinstance(found, pd.DataFrame):
        return found.to_csv()
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(value) for value in found]
    return found


class Snapshot:
    """The content of a folder, to be brought back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self._seen = {path: self._state(path) for path in self._content}

    @staticmethod
    def _state(path: Path) -> tuple[int, int, int]:
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def restore(self) -> None:
        """Bring it back: what is new is removed, what was changed or removed is written."""
        there = {path for path in self._folder.rglob("*") if path.is_file()}
        for path in there - self._content.keys():
            path.unlink()
        for path, content in self._content.items():
            if path not in there or self._state(path) != self._seen[path]:
                path.write_bytes(content)
                self._seen[path] = self._state(path)


def try_all(
    tally: Tally,
    root: Path,
    file: Path,
    readers: dict[str, Reader],
    damages: Callable[[bytes], Iterator[Any]],
    every: int = 1,
) -> None:
    """Damage a file in every way and read it, with several readers; they are given the same folder each time.

    Args:
        tally: to note what came of it.
        root: what the readers are given.
        file: to damage.
        readers: by name; the first is given every damaged file, the others every fiftieth.
        damages: yields damaged contents, with what was done.
        every: take one of so many of these.
    """
    intact, before = file.read_bytes(), Snapshot(root)
    expected = {}
    for name, read in readers.items():
        expected[name] = plain(read(root))
        before.restore()
    for number, (what, content) in enumerate(islice(damages(intact), 0, None, every)):
        for place, (name, read) in enumerate(readers.items()):
            if place and number % 50:
                continue
            file.write_bytes(content)
            judge(tally, read, root, expected[name], f"{file.name} {what}, {name}")
            before.restore()
