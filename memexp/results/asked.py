"""What a sweep was asked to do: a hidden file in its study says so until all of it is done.

A run that has not begun has no folder yet; only so can be known that it is left, and which command goes on.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from memexp.files import write_atomically
from memexp.results.record import is_complete

NOTE = ".sweep"  # begins the file's name; a hash of the command ends it, so that the same command has one note


@dataclass(frozen=True)
class Sweep:
    """A sweep that is not done.

    Attributes:
        arguments: of ``python -m memexp``.
        folder: where it was given.
        runs: the names of its run folders in this study.
    """

    arguments: list[str]
    folder: str
    runs: list[str]

    @property
    def file(self) -> str:
        """The name of its note."""
        named = json.dumps([self.arguments, self.folder]).encode()
        return f"{NOTE}-{hashlib.sha256(named).hexdigest()[:8]}.json"


@contextlib.contextmanager
def noted(folders: Iterable[Path], arguments: Sequence[str]) -> Iterator[None]:
    """Leave a note in each study of a sweep while it goes on, and afterwards where it is not all done.

    Args:
        folders: of its runs.
        arguments: of its command.
    """
    studies: dict[Path, list[str]] = {}
    for folder in folders:
        studies.setdefault(folder.parent, []).append(folder.name)
    sweeps = {study: Sweep(list(arguments), os.getcwd(), runs) for study, runs in studies.items()}
    for study, sweep in sweeps.items():
        with contextlib.suppress(OSError):  # only for show: a full disk is reported by what matters
            write_atomically(study / sweep.file, json.dumps(asdict(sweep)).encode())
    try:
        yield
    finally:
        for study, sweep in sweeps.items():
            if all(is_complete(study / run) for run in sweep.runs):
                with contextlib.suppress(OSError):
                    (study / sweep.file).unlink()


def sweeps_of(study: Path) -> list[Sweep]:
    """List the sweeps of a study that are not done; what cannot be read is none."""
    found = []
    for path in sorted(study.glob(f"{NOTE}-*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            sweep = Sweep(**json.loads(path.read_bytes()))
            lists = (sweep.arguments, sweep.runs)
            if isinstance(sweep.folder, str) and all(isinstance(one, list) and _are_lines(one) for one in lists):
                found.append(sweep)
    return found


def _are_lines(items: Sequence[object]) -> bool:
    return all(isinstance(item, str) and item.isprintable() for item in items)
