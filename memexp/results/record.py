"""Records: what a run leaves on disk. Write one, read one, collect all into one table, list what is missing.

The record is the only seam between training and analysis; this module needs no torch.

A run folder holds ``config.json`` (the run's identity: its resolved config and a hash of its data), ``history.csv``,
``best.pt``, ``last.pt``, ``memexp.log``, and ``summary.json``, written last: its presence means complete.
"""

import contextlib
import csv
import io
import json
import lzma
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from memexp.errors import RecordError
from memexp.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

CONFIG, HISTORY, SUMMARY, BEST, LAST = "config.json", "history.csv", "summary.json", "best.pt", "last.pt"
FAILURE = "failure.txt"  # why the run ended without a summary, in one line; removed when it is started again
LOCK = ".lock"
WRITTEN = "written.txt"  # what a language model wrote while it was trained: epoch, tab, text

HISTORY_COLUMNS = ("iteration", "seed", "split", "name", "value")

#: Settings that do not change what a run computes; two configs that differ only in these are the same run.
NOT_IDENTITY = ("device", "study", "datasets_dir", "outputs_dir", "images_dir", "report", "checkpoint_seconds")


class History:
    """The course of one run: flat rows (iteration, seed, split, name, value), appended to a CSV file.

    Args:
        path: the file.
        seeds: the seeds, in the order of the values that `add` gets.
        size: bytes of an existing file to go on from; what is after them was written after the last checkpoint.

    Raises:
        RecordError: the file is shorter than ``size``.
    """

    def __init__(self, path: Path, seeds: list[int], size: int = 0) -> None:
        self._path, self._seeds = path, seeds
        self._pending = io.StringIO()
        self._latest: dict[tuple[str, str], float] = {}
        self.evaluated_at = -1  # the update after which dev was scored last
        self._writer = csv.writer(self._pending, lineterminator="\n")
        if size == 0:
            self._writer.writerow(HISTORY_COLUMNS)
            _guard(path, lambda: write_atomically(path, b""))
        elif not path.exists() or path.stat().st_size < size:
            raise RecordError(f"{path} is shorter than its checkpoint says; delete the run's folder to train it anew")
        else:
            os.truncate(path, size)

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

    def flush(self) -> int:
        """Append what was noted to the file; return its size in bytes."""

        def append() -> int:
            with self._path.open("a", newline="") as file:
                before = file.tell()
                try:
                    file.write(self._pending.getvalue())
                    file.flush()
                except OSError:
                    with contextlib.suppress(OSError):
                        os.truncate(self._path, before)
                    raise
                os.fsync(file.fileno())
                return file.tell()

        size = _guard(self._path, append)
        self._pending.seek(0)
        self._pending.truncate()
        return size


def _guard(path: Path, write: Callable[[], T]) -> T:
    """Call ``write``; turn a full disk or a folder without permission into an error of one line."""
    try:
        return write()
    except OSError as error:
        raise RecordError(
            f"cannot write {path}: {error.strerror}; mend that, then give the same command to go on"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    _guard(path, lambda: write_atomically(path, text.encode()))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically; NaN and infinities become null."""
    text = json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"
    write_text(path, text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        RecordError: the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({error}); delete the run's folder to train it anew") from error
    return content


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; the operating system lets go of it even when the process is killed.

    Raises:
        RecordError: another process is writing this run, or the folder is not writable.
    """
    held = FileLock(folder / LOCK, blocking=False)
    try:
        held.acquire()
    except Timeout:
        raise RecordError(f"{folder} is being written by another process; wait for it, or stop it") from None
    except OSError as error:
        raise RecordError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        held.release()


def remove_stale(folder: Path) -> None:
    """Remove what a process that was killed while saving left half written; the folder's lock must be held."""
    for name in (CONFIG, SUMMARY, BEST, LAST, HISTORY, WRITTEN):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def identity(config: dict[str, Any], fingerprint: str | None = None) -> dict[str, Any]:
    """Return what makes a run this run: its resolved config without `NOT_IDENTITY`, and its data's hash."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    return kept if fingerprint is None else {**kept, "data": fingerprint}


def first_difference(one: Any, other: Any, name: str = "") -> str | None:
    """Name the first setting in which two configs differ, with both values, or None."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            inner = first_difference(one.get(key, "missing"), other.get(key, "missing"), f"{name}.{key}".lstrip("."))
            if inner:
                return inner
        return None
    return None if one == other else f"{name} is {json.dumps(one)} there, {json.dumps(other)} now"


def check_identity(folder: Path, wanted: dict[str, Any]) -> None:
    """Check that a run folder, if it has a config, is of the run that is wanted.

    Raises:
        RecordError: it is of another run; the first difference is named.
    """
    path = folder / CONFIG
    if not path.exists():
        return
    there = read_json(path)
    if "data" not in wanted:
        there.pop("data", None)
    difference = first_difference(there, wanted)
    if difference:
        changed_data = difference.startswith("data ")
        what = "was trained on other data or in another order" if changed_data else f"holds another run: {difference}"
        raise RecordError(f"{folder} {what}; delete it, or give another study=NAME")


def read_history(folder: Path) -> "pd.DataFrame":
    """Read the history of a run, or the ``history.csv.xz`` that was made of it: columns `HISTORY_COLUMNS`.

    Raises:
        RecordError: it is missing or damaged.
    """
    import pandas as pd

    path = folder / HISTORY
    compressed = path.with_name(f"{HISTORY}.xz")  # an eighth of the size, for keeping
    if compressed.exists() and not path.exists():
        path = compressed
    types = {"iteration": int, "seed": int, "split": str, "name": str, "value": float}
    try:
        return pd.read_csv(path, dtype=types, usecols=list(HISTORY_COLUMNS))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, EOFError, lzma.LZMAError) as error:  # pandas' own errors are ValueErrors
        reason = str(error).strip().splitlines()[0]
        raise RecordError(f"{path} is damaged ({reason}); delete the run's folder to train it anew") from error


def is_complete(folder: Path) -> bool:
    """Say whether the run in this folder is complete."""
    return (folder / SUMMARY).exists()


def run_folders(study: Path) -> list[Path]:
    """List the run folders of a study, in natural order (length=5 before length=10)."""

    def natural(path: Path) -> list[tuple[int, int | str]]:
        parts = "".join(c if c.isdigit() else f"\0{c}\0" for c in path.name).split("\0")
        return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]

    begun = {path.parent for name in (CONFIG, FAILURE) for path in study.glob(f"*/{name}")}
    return sorted(begun, key=natural)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested config: {"task": {"sampling": "fixed"}} -> {"task.sampling": "fixed"}."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
    return flat


def shown_scores(seeds: list[dict[str, Any]]) -> list[str]:
    """Write the mean scores of seeds, in the order of the splits: ``dev 81.2 %`` or ``dev perplexity 5.31``.

    Where a seed's score is no finite number (a perplexity can overflow), the mean is over the others, and says so.
    """
    shown = []
    for name in seeds[0]:
        split, _, metric = str(name).replace("_", " ").rpartition(" ")
        values = [seed[name] for seed in seeds if seed[name] is not None]
        if values and metric == "accuracy":
            shown.append(f"{split} {100 * sum(values) / len(values):.1f} %")
        elif values and metric == "perplexity":
            some = "" if len(values) == len(seeds) else f" ({len(values)} of {len(seeds)} seeds)"
            shown.append(f"{split} perplexity {sum(values) / len(values):.2f}{some}")
    return shown


def collect(folders: list[Path]) -> tuple["pd.DataFrame", list[str]]:
    """Collect run folders into one table, a row for each run and seed.

    Returns:
        The table: the columns of `SUMMARY`'s seeds, ``run`` (the folder's name), ``model``, ``task``, ``seconds``,
        ``parameters``, and every setting of the config by its dotted name. And a line for each run that has no
        (readable) summary, with the reason where one is known.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for folder in folders:
        try:
            if not is_complete(folder):
                failure = folder / FAILURE
                reason = failure.read_text().strip() if failure.exists() else "not finished"
                missing.append(f"{folder.name}: {reason}")
                continue
            summary = read_json(folder / SUMMARY)
            settings = {k: v for k, v in flatten(summary["config"]).items() if k != "seeds"}
            about = {key: value for key, value in summary.items() if not isinstance(value, dict | list)}
            if "hidden_sizes" in summary:
                about["hidden_sizes"] = "+".join(map(str, summary["hidden_sizes"]))
            rows += [{"run": folder.name, **about, **settings, **seed} for seed in summary["seeds"]]
        except (KeyError, TypeError, AttributeError) as error:
            missing.append(f"{folder.name}: {SUMMARY} is damaged ({type(error).__name__}: {error})")
        except RecordError as error:
            missing.append(f"{folder.name}: {error}")
    return pd.DataFrame(rows), missing
