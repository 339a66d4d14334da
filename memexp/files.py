"""Writing files so that a reader, or a crash, never meets half of one."""

import contextlib
import hashlib
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

DEVICES = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?"  # names that Windows keeps for itself, in any folder


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
        return min(Path(os.path.relpath(path)), path, key=lambda shown: len(str(shown)))
    except ValueError:
        return path


def expanded(path: str) -> str:
    """Put the user's own folder in place of a ``~`` in front: in ``key=~/x`` not every shell does so."""
    return os.path.expanduser(path)


def last_name(path: str) -> str:
    """Return what a path of any system ends with: the name of a file, of which nothing leads elsewhere."""
    return re.split(r"[/\\:]", path)[-1]


def as_name(text: str) -> str:
    """Turn a text into the name of one file or folder of any system; what has to be changed gets a hash of all."""
    good = re.fullmatch(r"\w([\w+=,.-]*\w)?", text) and not re.fullmatch(DEVICES, text.lower())
    if good and len(text.encode()) <= 100:
        return text
    kept = re.sub(r"[^\w-]+", "-", text).encode()[:60].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


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
    write(path, as_csv(table, float_format))


def as_csv(table: "pd.DataFrame", float_format: str | Callable[[Any], str] | None = None) -> bytes:
    """Turn a table into the content of a CSV file."""
    text = table.to_csv(index=False, lineterminator="\n", float_format=float_format)
    return text.replace("\r", "\\r").encode()  # within a cell it would be left without quotes, and end the row


def save(figure: "Figure", path: Path) -> None:
    """Save a figure as PNG and as PDF, ``path`` with either suffix; what is laid out for one serves the other.

    Raises:
        RecordError: the folder cannot be written.
    """
    for name, content in as_files(figure, path.name).items():
        write(path.with_name(name), content)


def as_files(figure: "Figure", name: str) -> dict[str, bytes]:
    """Draw a figure as PNG and as PDF: the name of each file -> its content."""
    from memexp.canvas import own_style

    files = {}
    for suffix, settings in ((".png", {"dpi": 150}), (".pdf", {"metadata": {"CreationDate": None}})):
        content = io.BytesIO()
        with own_style():
            figure.savefig(content, format=suffix[1:], **settings)
        files[name + suffix] = content.getvalue()
        figure.set_layout_engine("none")  # laying out takes as long as drawing
    return files


class Collection:
    """What a command writes into a folder: a file that it wrote the last time and does not write again is removed.

    A hidden list in the folder names the files and the hash of each. What is not in it stays, and so does a file whose
    content is not what was written. A file is listed before it is written, and the others are removed after all is
    written, so whatever is interrupted, nothing is lost.

    Args:
        folder: where the files are; there may be folders in it.
        of: the name of the command.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.folder = folder
        self._list = folder / f".{of}"
        self._before = self._read()
        self._now: dict[str, str] = {}

    def _read(self) -> dict[str, str]:
        """Read the list: a line for each file, its hash and its name; a line that is damaged names no file."""
        try:
            lines = self._list.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        entries = (line.partition("  ") for line in lines)
        return {name: digest for digest, _, name in entries if name and self._is_inside(name)}

    @staticmethod
    def _is_inside(name: str) -> bool:
        """Say whether a name stays within the folder: a list that came from elsewhere must not reach beyond it."""
        path = Path(name)
        return not path.is_absolute() and ".." not in path.parts

    def _note(self, entries: dict[str, str]) -> None:
        write(self._list, "".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items())).encode())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, and its folder, under a name with slashes.

        Raises:
            RecordError: it cannot be written.
        """
        self._now[name] = hashlib.sha256(content).hexdigest()
        self._note({**self._before, **self._now})
        write(self.folder / name, content)

    def table(self, name: str, table: "pd.DataFrame", float_format: str | Callable[[Any], str] | None = None) -> None:
        """Write a table as CSV; raises as `write` does."""
        self.write(name, as_csv(table, float_format))

    def figure(self, name: str, figure: "Figure") -> None:
        """Save a figure as PNG and as PDF; raises as `write` does."""
        folder = name[: name.rfind("/") + 1]
        for file, content in as_files(figure, name[len(folder) :]).items():
            self.write(folder + file, content)

    def remove_rest(self) -> list[str]:
        """Remove what was written the last time and was not now; return the names.

        Raises:
            RecordError: a file cannot be removed.
        """
        removed = []
        for name in sorted(self._before.keys() - self._now.keys()):
            path = self.folder / name
            try:
                if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self._before[name]:
                    path.unlink()
                    removed.append(name)
                    with contextlib.suppress(OSError):  # of a task that is gone; not empty if something else is there
                        path.parent.rmdir()
            except OSError as error:
                raise RecordError(f"cannot remove {path}: {error.strerror}; remove it, it is out of date") from error
        self._note(self._now)
        return removed
