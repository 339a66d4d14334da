"""Texts for character language models: where they come from, and how they are cleaned."""

import hashlib
import http.client
import re
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from memexp.errors import DataError
from memexp.files import write_atomically

#: Texts written for memexp, which come with it: an English story and Chinese verse.
EMBEDDED = ("harbour", "fenkai")


@dataclass(frozen=True)
class Published:
    """A text in the public domain that is downloaded when it is asked for."""

    address: str
    file: str  # its name below the folder of the data
    sha1: str


PUBLISHED = {
    "time_machine": Published(
        "http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
        "timemachine.txt",
        "090b5e7e70c295757f55df93cb0a180b9691891a",
    )
}
TIMEOUT = 20  # seconds
ALLOWED = f"give a .txt or .zip file, or one of {', '.join([*EMBEDDED, *PUBLISHED])}"


def read(corpus: str, folder: Path) -> str:
    """Read a text.

    Args:
        corpus: a name in `EMBEDDED` or `PUBLISHED`, or the path of a ``.txt`` file or of a ``.zip`` with one in it.
        folder: where published texts are kept.

    Raises:
        DataError: there is no such text, it cannot be fetched or read, is not UTF-8, or is empty.
    """
    if not corpus:
        raise DataError(f"task.corpus= names no text; {ALLOWED}")
    if corpus in EMBEDDED:
        name, content = corpus, files("memexp.tasks.text").joinpath("corpora", f"{corpus}.txt").read_bytes()
    elif corpus in PUBLISHED:
        path = fetch(PUBLISHED[corpus], folder)
        name, content = str(path), path.read_bytes()
    else:
        name, content = corpus, _read_file(Path(corpus))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{name} is empty")
    return text


def _read_file(path: Path) -> bytes:
    try:
        if path.suffix.lower() != ".zip":
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            texts = [name for name in archive.namelist() if name.lower().endswith(".txt")]
            texts = [name for name in texts if not name.startswith("__MACOSX/")]  # what macOS adds beside each file
            if len(texts) != 1:
                raise DataError(f"{path} holds {len(texts)} .txt files; it must hold one")
            return archive.read(texts[0])
    except FileNotFoundError as error:
        raise DataError(f"task.corpus={path}: there is no such file; {ALLOWED}") from error
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; {ALLOWED}") from error


def fetch(text: Published, folder: Path) -> Path:
    """Return where a published text is, downloading it if it is not there yet.

    Raises:
        DataError: it cannot be fetched or kept, or its hash is not the published one.
    """
    path = folder / text.file
    by_hand = f"put the file there by hand: {path}, sha1 {text.sha1}"
    if path.exists():
        content, source = _read_file(path), str(path)
    else:
        source = text.address
        try:
            with urllib.request.urlopen(text.address, timeout=TIMEOUT) as answer:
                content = answer.read()
        except (OSError, http.client.HTTPException) as error:  # no network, or cut off
            reason = getattr(error, "reason", error)
            raise DataError(f"cannot fetch {text.address} ({reason}); {by_hand}") from error
    found = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if found != text.sha1:
        raise DataError(f"{source} has sha1 {found}, which is not the published one; {by_hand}")
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise DataError(f"cannot keep {path}: {error.strerror}; set datasets_dir to a writable folder") from error
    return path


def clean(text: str, max_chars: int | None, lower: bool, strip_punctuation: bool, keep_newlines: bool = False) -> str:
    """Clean a text: newlines and other white space become single spaces; then what is asked for.

    Args:
        text: the text.
        max_chars: keep this many characters of the cleaned text; None for all.
        lower: fold upper case into lower case.
        strip_punctuation: everything that is no letter becomes a space.
        keep_newlines: a line stays a line; empty ones are left out.

    Raises:
        DataError: nothing is left of it.
    """
    if lower:
        text = text.lower()
    lines = text.splitlines() if keep_newlines else [text]
    if strip_punctuation:
        lines = [re.sub(r"[\W\d_]+", " ", line) for line in lines]
    lines = [re.sub(r"\s+", " ", line).strip() for line in lines]
    text = "\n".join(filter(None, lines))
    if not text:
        raise DataError("nothing is left of the text: task.strip_punctuation=true keeps only letters, and it has none")
    return text if max_chars is None else text[:max_chars]


def vocabulary(text: str) -> list[str]:
    """Return the different characters of a text, sorted, so that every process numbers them alike."""
    return sorted(set(text))
