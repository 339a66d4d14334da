"""What figures and tables are made from, in a word: while it is the same, there is nothing to draw again."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from memexp import __version__
from memexp.results import record


def origin(studies: Iterable[Path], *options: object) -> str:
    """Return a hash of the complete runs of studies, of the options they are shown with, and of memexp's version.

    Of a run it takes its name, its summary, and how long its history is: nothing appends to that any more.

    Args:
        studies: their folders; one that does not exist has no run.
        options: what else decides what is made, as the language.
    """
    digest = hashlib.sha256(repr((__version__, *options)).encode())
    for study in studies:
        for folder in filter(record.is_complete, record.run_folders(study)):
            digest.update(f"\n{study.name}/{folder.name} {_size_of_history(folder)} ".encode())
            digest.update(hashlib.sha256((folder / record.SUMMARY).read_bytes()).digest())
    return digest.hexdigest()


def _size_of_history(folder: Path) -> int:
    """Return how many bytes the history of a run has, or what it was compressed to; -1 if there is none."""
    files = (folder / record.HISTORY, folder / f"{record.HISTORY}.xz")
    return next((file.stat().st_size for file in files if file.exists()), -1)
