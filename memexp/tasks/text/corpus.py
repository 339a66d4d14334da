"""Texts for character language models: where they come from, and how they are cleaned."""

import codecs
import hashlib
import http.client
import re
import urllib.request
import zipfile
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
KNOWN = (*EMBEDDED, *PUBLISHED)
TIMEOUT = 20  # seconds
ALLOWED = f"give a .txt or .zip file, or one of {', '.join(KNOWN)}"
UTF_8 = "utf-8"
#: What a file can begin with to say its encoding itself; the longer ones first, for one begins as another.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
COMMON = f"{UTF_8}, utf-16, gb18030 or big5 (Chinese), shift_jis, cp1252"  # encodings worth a try
LARGEST = 256  # MB of text that an archive may hold: a small one can be made to unpack to any size
UNPACKED_AT_ONCE = 1 << 12  # bytes
CLEANED_AT_ONCE = 1 << 20  # characters: `re.sub` keeps every piece between two matches, at fifty bytes each


def read(corpus: str, folder: Path, encoding: str = UTF_8) -> str:
    """Read a text.

    Args:
        corpus: a name in `EMBEDDED` or `PUBLISHED`, or the path of a ``.txt`` file or of a ``.zip`` with one in it.
        folder: where published texts are kept.
        encoding: of a file that does not say it itself (`MARKS`), as Python calls it.

    Raises:
        DataError: there is no such text, it cannot be fetched or read, is in another encoding, or is empty.
    """
    if not corpus:
        raise DataError(f"task.corpus= names no text; {ALLOWED}")
    if corpus in EMBEDDED:
        content = files("memexp.tasks.text").joinpath("corpora", f"{corpus}.txt").read_bytes()
        return decode(content, corpus)
    if corpus in PUBLISHED:
        path = fetch(PUBLISHED[corpus], folder)
        return decode(path.read_bytes(), str(path))
    return decode(_read_file(Path(corpus)), corpus, encoding)


def known(encoding: str) -> bool:
    """Say whether Python knows an encoding of texts by this name."""
    try:
        return codecs.lookup(encoding)._is_text_encoding  # as `bytes.decode` asks; not of hex or rot13
    except (LookupError, ValueError):  # ValueError: a NUL in it
        return False


def decode(content: bytes, name: str, encoding: str = UTF_8) -> str:
    """Turn the bytes of a file into text, without a byte order mark.

    Args:
        content: of the file.
        name: of the file, for the error.
        encoding: see `read`.

    Raises:
        DataError: it is not in this encoding, as far as that can be told, or is empty.
    """
    mark = next((mark for mark in MARKS if content.startswith(mark)), None)
    said = "" if mark is None else ", as its first bytes say"
    encoding = encoding if mark is None else MARKS[mark]
    other = f"give its encoding as task.encoding=NAME ({COMMON})"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except (UnicodeError, LookupError) as error:  # LookupError: Python knows no such encoding
        place = f" (byte {error.start})" if isinstance(error, UnicodeDecodeError) else ""
        shown = encoding.upper() if encoding.startswith("utf") else encoding
        raise DataError(f"{name} is not {shown} text{said}{place}; save it as UTF-8, or {other}") from None
    if mark is None and not codecs.lookup(encoding).name.startswith(UTF_8) and _is_utf_8(content):
        raise DataError(f"{name} is UTF-8 text, not {encoding}; leave task.encoding out")
    odd = re.search("[\0\ud800-\udfff]", text)  # UTF-16 without a mark passes for UTF-8: a NUL beside every letter
    if odd:
        raise DataError(
            f"{name} is no text in {encoding}: it has the character U+{ord(odd[0]):04X} (place {odd.start()}); {other}"
        )
    if not text.strip():
        raise DataError(f"{name} is empty")
    return text


def _is_utf_8(content: bytes) -> bool:
    """Say whether bytes can hardly be anything else: hardly any text of another encoding happens to be valid UTF-8."""
    if content.isascii():
        return False
    try:
        content.decode(UTF_8)
    except UnicodeDecodeError:
        return False
    return True


def _read_file(path: Path) -> bytes:
    try:
        return _unpack(path) if path.suffix.lower() == ".zip" else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"task.corpus={path}: there is no such file; {ALLOWED}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}; {ALLOWED}") from error


def _unpack(path: Path) -> bytes:
    """Read the one text in an archive; its checksum is checked.

    Raises:
        OSError: there is no such file, or it cannot be read.
        DataError: it is damaged or encrypted, or holds no text, or more than one, or one that is too large.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                texts = [member for member in archive.infolist() if _is_text(member.filename)]
                if len(texts) != 1:
                    raise DataError(f"{path} holds {len(texts)} .txt files; it must hold one")
                if texts[0].flag_bits & 1:
                    raise DataError(f"{path} is encrypted; unpack it, and give the .txt file")
                if texts[0].file_size > LARGEST << 20:
                    raise DataError(f"{path} holds more than {LARGEST} MB of text; unpack it, and give the .txt file")
                with archive.open(texts[0]) as member:
                    # Piece by piece, so that no more is unpacked than the archive says.
                    return b"".join(iter(lambda: member.read(UNPACKED_AT_ONCE), b""))
        except DataError:
            raise
        except Exception as error:  # each way to compress has errors of its own, and zipfile raises others still
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"cannot read {path}: {reason}; {ALLOWED}") from error


def _is_text(name: str) -> bool:
    """Say whether a member of an archive is a text; what macOS adds beside each file is none."""
    *folders, last = re.split(r"[/\\]", name)
    return last.lower().endswith(".txt") and not last.startswith("._") and "__MACOSX" not in folders


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
        lines = [_spaced(r"[\W\d_]+", line) for line in lines]
    lines = [_spaced(r"\s+", line).strip() for line in lines]
    text = "\n".join(filter(None, lines))
    if not text:
        raise DataError("nothing is left of the text: task.strip_punctuation=true keeps only letters, and it has none")
    return text if max_chars is None else text[:max_chars]


def _spaced(pattern: str, text: str) -> str:
    """Put a space for every run of what a pattern finds."""
    if len(text) <= CLEANED_AT_ONCE:
        return re.sub(pattern, " ", text)
    pieces = [""]
    for start in range(0, len(text), CLEANED_AT_ONCE):
        piece = re.sub(pattern, " ", text[start : start + CLEANED_AT_ONCE])
        if pieces[-1].endswith(" "):  # one run, perhaps, on both sides of the cut
            piece = piece.removeprefix(" ")
        pieces += [piece] * bool(piece)
    return "".join(pieces)


def vocabulary(text: str) -> list[str]:
    """Return the different characters of a text, sorted, so that every process numbers them alike."""
    return sorted(set(text))
