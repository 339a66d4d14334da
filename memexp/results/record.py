"""Records: what a run leaves on disk. Write one, read one.

The record is the only seam between training and analysis; this module needs no torch, and knows no task: what a task
has to say of its scores and floors stands in the record.

A run folder holds ``config.json`` (the run's identity: its resolved config and a hash of its data), ``history.csv``,
``best.pt``, ``last.pt``, ``memexp.log``, and ``summary.json``, written last: its presence means complete. It holds the
seals of the others but the log's; whoever reads one compares it, see `memexp.results.seals`. What an identity and a
history are stands in `memexp.results.identity` and `memexp.results.history`.
"""

import io
import logging
import lzma
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from memexp.errors import RecordError
from memexp.files import write_atomically
from memexp.results import schema, seals
from memexp.results.seals import Seal

log = logging.getLogger(__name__)

T = TypeVar("T")

FORMAT = 2  # of the files below; another one is refused, with the command that carries it over
CONFIG, HISTORY, SUMMARY, BEST, LAST = "config.json", "history.csv", "summary.json", "best.pt", "last.pt"
FAILURE = "failure.txt"  # why the run ended without a summary, in one line; removed when it is started again
LARGEST = 256  # MB of a history that is compressed: a small file can be made to unpack to any size
WRITTEN = "written.txt"  # what a language model wrote while it was trained: epoch, tab, text
FILES = (CONFIG, HISTORY, BEST, LAST, WRITTEN)  # that the summary seals
SEQUENCES = (
    "sequences"  # in a summary: of each seed, how many it took until a streak of right ones; None if never there
)
SEEN = "sequences_seen"  # and how many there were in all
SEALED = "sealed"  # in a summary, and in a checkpoint: file -> its seal
SEALED_LATER = "sealed_later"  # in a summary: files that were sealed by memexp.verify, as they were then


def guard(path: Path, write: Callable[[], T]) -> T:
    """Call ``write``; turn a full disk or a folder without permission into an error of one line."""
    try:
        return write()
    except OSError as error:
        raise RecordError(
            f"cannot write {path}: {error.strerror}; mend that, then give the same command to go on"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of a run folder atomically.

    Raises:
        RecordError: it cannot be written.
    """
    guard(path, lambda: write_atomically(path, content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically, with its seal; NaN and infinities become null."""
    write_bytes(path, seals.to_json(_finite(content)))


def write_summary(
    folder: Path, summary: dict[str, Any], sealed_later: Iterable[str] = (), written: Mapping[str, Seal] | None = None
) -> dict[str, Any]:
    """Write the summary of a run, with the seals of its other files: from now on it is complete. Return it.

    Args:
        folder: the run folder.
        summary: without seals.
        sealed_later: files that are not as the run wrote them, or of which that is not known.
        written: the seals of files as they were written; they are to be that still.

    Raises:
        RecordError: one is not, or a file cannot be read or written.
    """
    sealed = seals_of(folder)
    for name, seal in (written or {}).items():
        if sealed.get(name) != seal:
            raise RecordError(f"{folder / name} is damaged (it is not what was written); {remedy(folder / name)}")
    later = {SEALED_LATER: sorted(sealed_later)} if sealed_later else {}
    whole: dict[str, Any] = _finite({**summary, SEALED: sealed, **later})
    write_json(folder / SUMMARY, whole)
    return whole


def seals_of(folder: Path, names: Iterable[str] = FILES) -> dict[str, Seal]:
    """Return the seals of those files of a run that are there."""
    return {name: seals.seal_of(content_of(path)) for name in names if (path := path_of(folder, name)).exists()}


def path_of(folder: Path, name: str) -> Path:
    """Return the path of a file of a run; a history may be compressed, to an eighth of its size, for keeping."""
    path, compressed = folder / name, folder / f"{name}.xz"
    return compressed if name == HISTORY and compressed.exists() and not path.exists() else path


def content_of(path: Path) -> bytes:
    """Read a file, which may be compressed.

    Raises:
        RecordError: it cannot be read, or is damaged.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".xz":
            with lzma.open(io.BytesIO(content)) as file:
                content = file.read((LARGEST << 20) + 1)
            if len(content) > LARGEST << 20:
                raise RecordError(f"{path} unpacks to more than {LARGEST} MB; unpack it, and move it away")
        return content
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (EOFError, lzma.LZMAError) as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy(path)}") from error


def read_bytes(folder: Path, name: str, sealed: Mapping[str, Seal] | None) -> bytes:
    """Read a file of a run.

    Args:
        folder: the run folder.
        name: of the file.
        sealed: the seals in the summary of a complete run; None where there are none: it is taken as it is.

    Raises:
        RecordError: it cannot be read, or is not what was sealed.
    """
    path = path_of(folder, name)
    if not path.exists():
        raise RecordError(f"{path} is missing; bring it back, or {remedy(path)}{or_seal(path)}")
    content = content_of(path)
    if sealed is not None:
        difference = seals.broken(content, sealed[name]) if name in sealed else "it was not there when the run ended"
        if difference:
            raise RecordError(f"{path} is damaged ({difference}); {remedy(path)}{or_seal(path)}")
    return content


def read_beginning(path: Path, seal: Seal) -> bytes:
    """Read the part of a file of an unfinished run that its checkpoint knows.

    Raises:
        RecordError: it cannot be read, or is not what was sealed.
    """
    content = content_of(path) if path.exists() else b""
    if len(content) < seal[0]:
        raise RecordError(f"{path} is shorter than its checkpoint says; {remedy(path)}")
    content = content[: seal[0]]
    if seal[1] and seals.broken(content, seal):  # a checkpoint of before has the size alone
        raise RecordError(f"{path} is damaged (it is not what its checkpoint says); {remedy(path)}")
    return content


def or_seal(path: Path) -> str:
    """Say how a file of a run that was changed on purpose is sealed anew."""
    study = path.parent.parent
    return (
        "; if it was changed on purpose: "
        f"python -m memexp.verify outputs_dir={study.parent} study={study.name} seal=true"
    )


@cache  # once for each study
def say_unsealed(study: Path) -> None:
    """Say that a study has runs without seals."""
    log.warning(
        "%s has runs without seals, as an older memexp wrote them: damage in their files may not be seen; to seal them "
        "as they are: python -m memexp.verify outputs_dir=%s study=%s seal=true", study, study.parent, study.name,
    )  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a complete run.

    Raises:
        RecordError: it is damaged, holds what cannot be, or is in the form of another version.
    """
    path = folder / SUMMARY
    summary, state = read_object(path)
    if state == "broken" or (SEALED in summary and state != "sealed"):
        raise _not_as_written(path)
    check_format(summary, path)
    schema.check(summary, path, remedy(path))
    if CONFIG in summary.get(SEALED, ()):
        _check_pair(folder, summary[SEALED][CONFIG])
    return summary


def _check_pair(folder: Path, seal: Seal) -> None:
    """Check that summary and config of a run are of the same run: a file may come from another folder.

    Raises:
        RecordError: they are not, or the config is damaged.
    """
    path = folder / CONFIG
    if seals.broken(content_of(path), seal):
        read_json(path)  # where it is not what was written, that is what is said
        raise RecordError(
            f"{folder}: {SUMMARY} and {CONFIG} are of two runs; bring back the one that belongs here{or_seal(path)}"
        )


def _not_as_written(path: Path) -> RecordError:
    return RecordError(f"{path} is damaged (it is not what was written); {remedy(path)}{or_seal(path)}")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, without its seal.

    Raises:
        RecordError: the file is damaged, or not what was sealed.
    """
    content, state = read_object(path)
    if state == "broken":
        raise _not_as_written(path)
    return content


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """Read a JSON object, and whether it is what was sealed, see `memexp.results.seals.from_json`.

    Raises:
        RecordError: the file is damaged so that it cannot be read.
    """
    try:
        return seals.from_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy(path)}") from error


def remedy(path: Path) -> str:
    """Say what to do about a file of a run folder that is damaged: no more is trained again than has to be."""
    if path.name.startswith(HISTORY):
        return "move the run's folder away, and the command that started the run trains it anew"
    complete = path.name in (BEST, LAST, WRITTEN) and path.with_name(SUMMARY).exists()
    also = f" and {SUMMARY}" if complete else ""
    return f"move it{also} away, and the command that started the run makes it anew"


def remove_stale(folder: Path) -> None:
    """Remove what a process that was killed while saving left half written; the folder must be held."""
    for name in (SUMMARY, *FILES):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def check_format(content: dict[str, Any], path: Path) -> None:
    """Check that a file of a run folder was written in today's form.

    Raises:
        RecordError: it was not; the command that carries it over is named.
    """
    found = content.get("format", 1)
    if isinstance(found, int) and found > FORMAT:
        raise RecordError(f"{path.parent} was written by a newer memexp (format {found}); update memexp to read it")
    if found != FORMAT:
        study = path.parent.parent
        raise RecordError(
            f"{path.parent} was written by memexp 0.1; carry it over with: "
            f"python -m memexp.migrate outputs_dir={study.parent} study={study.name}"
        )


def is_complete(folder: Path) -> bool:
    """Say whether the run in this folder is complete."""
    return (folder / SUMMARY).exists() and (folder / CONFIG).exists()


def read_failure(folder: Path) -> str:
    """Return why a run ended without a summary, in a line; empty if it did not say."""
    try:
        return (folder / FAILURE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def natural(path: Path) -> list[tuple[int, int | str]]:
    """Return what sorts folders in natural order."""
    parts = "".join(c if c.isdecimal() else f"\0{c}\0" for c in path.name).split("\0")
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def run_folders(study: Path) -> list[Path]:
    """List the run folders of a study, in natural order (length=5 before length=10)."""
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


def score_name(column: str) -> str:
    """Name a score for people: ``test_accuracy`` -> test, ``last_dev_perplexity`` -> last dev perplexity."""
    return column.removesuffix("_accuracy").replace("_", " ")


def shown_scores(seeds: list[dict[str, Any]], shown: dict[str, bool]) -> list[str]:
    """Write the mean scores of seeds: ``dev 81.2 %`` or ``dev perplexity 5.31``.

    Where a seed's score is no finite number (a perplexity can overflow), the mean is over the others, and says so.

    Args:
        seeds: name of the score -> value, for each seed.
        shown: the scores to write, and whether each is a share.
    """
    lines = []
    for column, share in shown.items():
        values = [seed[column] for seed in seeds if seed.get(column) is not None]
        if values:
            mean = sum(values) / len(values)
            some = "" if len(values) == len(seeds) else f" ({len(values)} of {len(seeds)} seeds)"
            digits = 0 if mean >= 10_000 else 2 if mean >= 1 else 4
            value = f"{100 * mean:.1f} %" if share else f"{mean:.{digits}f}"
            lines.append(f"{score_name(column)} {value}{some}")
    return lines
