"""Writing files so that a reader, or a crash, never meets half of one."""

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memexp.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all: what was there before stays until the new content is on disk.

    Raises:
        OSError: the folder is not writable, or the disk is full; an earlier file at ``path`` is untouched.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def shown(path: Path) -> Path:
    """Return a path as it is shorter to read, relative to the current folder; on another drive that is not possible."""
    try:
        return Path(os.path.relpath(path))
    except ValueError:
        return path


def expanded(path: str) -> str:
    """Put the user's own folder in place of a ``~`` in front: in ``key=~/x`` not every shell does so."""
    return os.path.expanduser(path)


def slug(*words: str) -> str:
    """Join words into a file's name."""
    return "_".join(re.sub(r"[^\w.+=-]+", "-", word.lower()) for word in words)


def write(path: Path, content: bytes, setting: str = "images_dir=FOLDER") -> None:
    """Write a file for the user, with its folder.

    Args:
        path: the file.
        content: of the file.
        setting: the option that would put it elsewhere, for the error.

    Raises:
        RecordError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror}; mend that, or give another {setting}") from error


def write_table(path: Path, table: "pd.DataFrame", float_format: str | Callable[[Any], str] | None = None) -> None:
    """Write a table as CSV.

    Raises:
        RecordError: it cannot be written.
    """
    write(path, table.to_csv(index=False, lineterminator="\n", float_format=float_format).encode())


def save(figure: "Figure", path: Path) -> None:
    """Save a figure as PNG and as PDF, ``path`` with either suffix; what is laid out for one serves the other.

    Raises:
        RecordError: the folder cannot be written.
    """
    for suffix, settings in ((".png", {"dpi": 150}), (".pdf", {"metadata": {"CreationDate": None}})):
        content = io.BytesIO()
        figure.savefig(content, format=suffix[1:], **settings)
        write(path.with_name(path.name + suffix), content.getvalue())
        figure.set_layout_engine("none")  # laying out takes as long as drawing
