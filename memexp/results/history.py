"""The history of a run: its course, seed by seed, as flat rows. Write one, read one."""

import contextlib
import csv
import hashlib
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memexp.errors import RecordError
from memexp.files import write_atomically
from memexp.results import seals
from memexp.results.record import (
    BEST,
    HISTORY,
    LAST,
    SEALED,
    content_of,
    guard,
    path_of,
    read_beginning,
    read_bytes,
    read_summary,
    remedy,
)
from memexp.results.seals import Seal

if TYPE_CHECKING:
    import pandas as pd

HISTORY_COLUMNS = ("iteration", "seed", "split", "name", "value")


class History:
    """The course of one run: flat rows (iteration, seed, split, name, value), appended to a CSV file.

    Args:
        path: the file.
        seeds: the seeds, in the order of the values that `add` gets.
        seal: of the part of an existing file to go on from; what is after it was written after the last checkpoint.
        hear: told all lines as they are written, at each `flush`, and first of all those of the part that is there.

    Raises:
        RecordError: the file does not begin with that part.
    """

    def __init__(
        self, path: Path, seeds: list[int], seal: Seal | None = None, hear: Callable[[str], None] = lambda lines: None
    ) -> None:
        self._path, self._seeds, self._hear = path, seeds, hear
        self._pending = io.StringIO()
        self._latest: dict[tuple[str, str], float] = {}
        self.evaluated_at = -1  # the update after which dev was scored last
        self._writer = csv.writer(self._pending, lineterminator="\n")
        if seal is None:
            there = b""
            self._writer.writerow(HISTORY_COLUMNS)
            guard(path, lambda: write_atomically(path, b""))
        else:
            there = read_beginning(path, seal)
            guard(path, lambda: os.truncate(path, len(there)))
        self._size, self._hash = len(there), hashlib.sha256(there)
        hear(there.decode())

    def add(self, iteration: int, split: str, name: str, values: list[float], active: list[bool]) -> None:
        """Note a value for each seed that is active; on disk after the next `flush`."""
        self._writer.writerows(
            (iteration, seed, split, name, f"{value:.6g}")
            for seed, value, on in zip(self._seeds, values, active, strict=True)
            if on
        )
        kept = [value for value, on in zip(values, active, strict=True) if on]
        self._latest[split, name] = sum(kept) / len(kept) if kept else math.nan
        if split == "dev":
            self.evaluated_at = iteration

    def latest(self, split: str, name: str) -> float:
        """Return the mean over active seeds of what was noted last; NaN if nothing was."""
        return self._latest.get((split, name), math.nan)

    def flush(self) -> Seal:
        """Append what was noted to the file; return the seal of the whole.

        Raises:
            RecordError: it cannot be written, or somebody else has written into it.
        """
        content = self._pending.getvalue().encode()

        def append() -> None:
            with self._path.open("ab") as file:
                if file.tell() != self._size:
                    raise RecordError(
                        f"{self._path} was changed by another process; give the same command to go on from the last "
                        "checkpoint"
                    )
                try:
                    file.write(content)
                    file.flush()
                except OSError:
                    with contextlib.suppress(OSError):
                        os.truncate(self._path, self._size)
                    raise
                os.fsync(file.fileno())

        guard(self._path, append)
        self._size += len(content)
        self._hash.update(content)
        self._pending.seek(0)
        self._pending.truncate()
        self._hear(content.decode())
        return [self._size, self._hash.hexdigest()]


def read_history(folder: Path) -> "pd.DataFrame":
    """Read the history of a complete run, or the ``history.csv.xz`` that was made of it: columns `HISTORY_COLUMNS`.

    Raises:
        RecordError: it is missing or damaged.
    """
    summary = read_summary(folder)
    content = read_bytes(folder, HISTORY, summary.get(SEALED))
    return _parsed(content, path_of(folder, HISTORY), [seed["seed"] for seed in summary["seeds"]])


def check_readable(folder: Path, summary: dict[str, Any]) -> None:
    """Check that what is about to be sealed can be read: the history, and of checkpoints what needs no torch.

    Raises:
        RecordError: a file cannot.
    """
    path = path_of(folder, HISTORY)
    if path.exists():
        _parsed(content_of(path), path, [seed["seed"] for seed in summary["seeds"]])
    for name in (BEST, LAST):
        if (folder / name).exists():
            try:
                seals.check_zip(content_of(folder / name))
            except Exception as error:  # of many kinds, where it is no zip file
                raise RecordError(f"{folder / name} is damaged ({error}); {remedy(folder / name)}") from error


def _parsed(content: bytes, path: Path, seeds: list[int]) -> "pd.DataFrame":
    """Read the history of these seeds.

    Raises:
        RecordError: it is damaged.
    """
    import pandas as pd

    types = {"iteration": int, "seed": int, "split": str, "name": str, "value": float}
    try:
        history = pd.read_csv(io.BytesIO(content), dtype=types, usecols=list(HISTORY_COLUMNS))
        if not history["seed"].isin(seeds).all():
            raise ValueError("seeds that the run does not have")
        if (history["iteration"] < 0).any() or not history["split"].isin(["train", "dev"]).all():
            raise ValueError("an update or a split that cannot be")
    except (ValueError, OverflowError) as error:  # pandas' own errors are ValueErrors
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path} is damaged ({reason}); {remedy(path)}") from error
    return history
