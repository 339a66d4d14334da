"""Seals: size and SHA-256 of what a run wrote, so that whoever reads it sees whether it is still that.

A JSON file ends with a seal of its own, the hash of all that stands before it. The seals of a run's other files stand
in its summary. Checkpoints have those of what was written up to them, and are zip files, with a checksum of each part.
"""

import hashlib
import io
import json
import re
import zipfile
from typing import Any

OWN = "seal"  # the last key of a JSON file
_SEALED = re.compile(rb'(.*),\n "seal": "([0-9a-f]{64})"\n}\n', re.DOTALL)

Seal = list[Any]  # size in bytes, SHA-256


class DamagedError(Exception):
    """A part of a file is not what its checksum says."""


def seal_of(content: bytes) -> Seal:
    """Return the seal of a file's content."""
    return [len(content), hashlib.sha256(content).hexdigest()]


def is_seal(value: Any) -> bool:
    """Say whether a value read from a file is a seal."""
    return (
        isinstance(value, list)
        and [type(part) for part in value] == [int, str]
        and value[0] >= 0
        and re.fullmatch("[0-9a-f]{64}", value[1]) is not None
    )


def are_seals(value: Any) -> bool:
    """Say whether a value read from a file holds the seals of files of one folder, by their names."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:") and is_seal(seal)
        for name, seal in value.items()
    )


def broken(content: bytes, seal: Seal) -> str:
    """Say how the content of a file is not what was sealed; empty if it is."""
    if seal_of(content) == seal:
        return ""
    if len(content) == seal[0]:
        return "it is not what was written"
    return f"it has {len(content):,} bytes, and had {seal[0]:,}"


def to_json(content: dict[str, Any]) -> bytes:
    """Write an object as JSON that ends with its seal.

    Raises:
        ValueError: a number in it is not finite.
    """
    text = json.dumps({key: value for key, value in content.items() if key != OWN}, indent=1, allow_nan=False)
    body = text.removesuffix("\n}").encode()
    return body + f',\n "{OWN}": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def from_json(stored: bytes) -> tuple[dict[str, Any], str]:
    """Read an object from JSON, and compare it with the seal at its end.

    Returns:
        The object without its seal; and ``sealed``, ``broken``, or, where there is no seal, ``unsealed``.

    Raises:
        ValueError: it is no JSON object.
        RecursionError: it is nested too deep.
    """
    content = json.loads(stored)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    if content.pop(OWN, None) is None:
        return content, "unsealed"
    parts = _SEALED.fullmatch(stored)
    intact = parts is not None and hashlib.sha256(parts[1]).hexdigest().encode() == parts[2]
    return content, "sealed" if intact else "broken"


def check_zip(stored: bytes) -> None:
    """Compare each part of a zip file with its checksum, which torch does not do.

    Raises:
        DamagedError: one differs, or they are more than the file: torch compresses nothing, but would unpack it.
        Exception: many kinds, where it is no zip file.
    """
    with zipfile.ZipFile(io.BytesIO(stored)) as parts:
        if sum(part.file_size for part in parts.infolist()) > len(stored):
            raise DamagedError("it unpacks to more than it is")
        part = parts.testzip()
    if part is not None:
        raise DamagedError(f"its part {part.rpartition('/')[2]}")
