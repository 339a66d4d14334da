"""Writing files so that a reader, or a crash, never meets half of one."""

import contextlib
import hashlib
import io
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memexp import processes
from memexp.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DEVICES = r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?"  # names that Windows keeps for itself, in any folder


HOST = re.sub(r"\W", "_", platform.node(), flags=re.ASCII)[:40]
LONG = 80  # bytes of a name that a temporary one still holds whole: none may have more than 255, in places 143
MADE_FROM = "made from "  # begins the last line of a list of a collection
OLD = 3600.0  # seconds after which a temporary file of a process that cannot be asked is left over
#: What follows the name in a temporary one: who writes it. Those of before say nothing of that.
OWNER = re.compile(r"(?:(?P<host>\w*)-(?P<pid>\d+)-)?[a-z0-9_]{8}", re.ASCII)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all: what was there before stays until the new content is on disk.

    What processes that were killed while they wrote the same file have left is removed, see `remove_left`.

    Raises:
        OSError: the folder is not writable, or the disk is full; an earlier file at ``path`` is untouched.
    """
    remove_left(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{_beginning(path)}{HOST}-{os.getpid()}-")
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


def remove_left(path: Path) -> None:
    """Remove the temporary files from which a file was to be made, if the process that wrote them is gone.

    A process of this machine can be asked for. Of another's the file has to be an hour old.
    """
    beginning = _beginning(path)
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            owner = OWNER.fullmatch(entry.name[len(beginning) :]) if entry.name.startswith(beginning) else None
            if owner is not None:
                with contextlib.suppress(OSError):  # gone meanwhile; or open, on Windows
                    if _is_left(owner, entry):
                        os.unlink(entry.path)


def _beginning(path: Path) -> str:
    """Return what the names of a file's temporary ones begin with."""
    name = os.fsencode(path.name)
    return f".{path.name if len(name) <= LONG else hashlib.sha256(name).hexdigest()[:16]}."


def _is_left(owner: re.Match[str], entry: "os.DirEntry[str]") -> bool:
    """Say whether nobody writes a temporary file any more."""
    if owner["pid"] and owner["host"] == HOST:
        return not processes.lives(int(owner["pid"]))
    about = entry.stat()
    of_memexp = owner["pid"] or about.st_mode & 0o777 == 0o600  # any eight characters may end a user's file
    return bool(of_memexp) and time.time() - about.st_mtime > OLD


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
    return "_".join(re.sub(r"[^\w.+=-]+", "-", str(word).lower()) for word in words)


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
    written, so whatever is interrupted, nothing is lost. What all was made from is noted last, so that whoever asks
    knows whether there is anything to do, see `is_finished`.

    Args:
        folder: where the files are; there may be folders in it.
        of: the name of the command.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.folder = folder
        self._list = folder / f".{of}"
        self._made_from, self._before = self._read()
        self._now: dict[str, str] = {}

    def _read(self) -> tuple[str, dict[str, str]]:
        """Read what all was made from, and the list: a line for each file, its hash and its name.

        A line that is damaged names no file. What all was made from has a line without a name; it is the last one.
        """
        try:
            lines = self._list.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return "", {}
        made_from = lines[-1].removeprefix(MADE_FROM) if lines and lines[-1].startswith(MADE_FROM) else ""
        entries = (line.partition("  ") for line in lines)
        return made_from, {name: digest for digest, _, name in entries if name and self._is_inside(name)}

    @staticmethod
    def _is_inside(name: str) -> bool:
        """Say whether a name stays within the folder: a list that came from elsewhere must not reach beyond it."""
        path = Path(name)
        return not path.is_absolute() and ".." not in path.parts

    def _note(self, entries: dict[str, str], made_from: str = "") -> None:
        lines = [f"{digest}  {name}" for name, digest in sorted(entries.items())]
        lines += [MADE_FROM + made_from] if made_from else []
        write(self._list, "".join(f"{line}\n" for line in lines).encode())

    def is_finished(self, made_from: str) -> bool:
        """Say whether all was written, from just this, and every file still is what was written."""
        return self._made_from == made_from != "" and all(self._is_whole(name) for name in self._before)

    def _is_whole(self, name: str) -> bool:
        """Say whether a file is what was written the last time."""
        try:
            return hashlib.sha256((self.folder / name).read_bytes()).hexdigest() == self._before[name]
        except OSError:
            return False

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

    def finish(self, made_from: str = "") -> list[str]:
        """Remove what was written the last time and was not now; return the names.

        Args:
            made_from: says in a word what all was made from, for `is_finished`; nothing if it is not all there is.

        Raises:
            RecordError: a file cannot be removed.
        """
        removed = []
        for name in sorted(self._before.keys() - self._now.keys()):
            path = self.folder / name
            remove_left(path)
            try:
                if self._is_whole(name):
                    path.unlink()
                    removed.append(name)
                    with contextlib.suppress(OSError):  # of a task that is gone; not empty if something else is there
                        path.parent.rmdir()
            except OSError as error:
                raise RecordError(f"cannot remove {path}: {error.strerror}; remove it, it is out of date") from error
        self._note(self._now, made_from)
        return removed
