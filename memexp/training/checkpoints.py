"""Checkpoints: tensors and plain numbers in one file, written atomically, loaded with ``weights_only=True``."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memexp.errors import RecordError
from memexp.files import write_atomically
from memexp.results import record, seals
from memexp.results.seals import Seal

_MARK = "memexp checkpoint 1"


def save(path: Path, content: dict[str, Any]) -> Seal:
    """Write a checkpoint, and return its seal; an earlier one at ``path`` survives any failure.

    Raises:
        RecordError: the disk is full or the folder not writable.
    """
    # Serialised in memory first: torch reports a full disk as an internal error that names no cause.
    buffer = io.BytesIO()
    torch.save({"format": _MARK, **content}, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        kept = "the checkpoint before it is kept" if path.exists() else "nothing was written"
        raise RecordError(
            f"cannot save {path}: {error.strerror}; {kept}. Make room, then give the same command to go on"
        ) from error
    return seals.seal_of(buffer.getvalue())


def load(
    path: Path, kind: str, device: torch.device | str = "cpu", sealed: Mapping[str, Seal] | None = None
) -> dict[str, Any]:
    """Read a checkpoint that holds the key ``kind``.

    Args:
        path: the file.
        kind: ``weights`` or ``training``.
        device: where its tensors go.
        sealed: of a complete run: the seals of its files.

    Raises:
        RecordError: there is none, it is truncated, damaged, not what was sealed, or not one of memexp's.
    """
    if not path.exists():
        raise RecordError(f"there is no checkpoint {path}")
    remedy = record.remedy(path)
    stored = record.read_bytes(path.parent, path.name, sealed)
    try:
        seals.check_zip(stored)
        content = torch.load(io.BytesIO(stored), map_location=device, weights_only=True)
    except seals.DamagedError as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy}") from error
    except Exception as error:  # torch raises many kinds for damaged files, none of them documented
        raise RecordError(f"{path} is truncated or not a checkpoint ({type(error).__name__}); {remedy}") from error
    known = isinstance(content, dict) and content.get("format") == _MARK and isinstance(content.get(kind), dict)
    if not known or not seals.are_seals(content[kind].get(record.SEALED, {})):
        raise RecordError(f"{path} is not a checkpoint of memexp with {kind}; {remedy}")
    whole: dict[str, Any] = content
    return whole


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights of a checkpoint at ``path`` into a model.

    Raises:
        RecordError: they are those of a model of other shapes; the first difference is named.
    """
    own = {name: tuple(p.shape) for name, p in model.named_parameters()}
    other = {name: tuple(p.shape) for name, p in weights.items()}
    differing = sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))
    if differing:
        name, _, part = differing[0], *differing[0].rpartition("cell.")[1:]
        # Two conventions of a cell differ in one of its tensors, in every layer, and in nothing else.
        conventions = part != name and all(n.endswith(f"cell.{part}") and (n in own) != (n in other) for n in differing)
        hint = getattr(getattr(model, "cell", None), "loading_hint", "") if conventions else ""
        raise RecordError(
            f"{path} is of another model: {name} is {other.get(name, 'missing')} there, "
            f"{own.get(name, 'missing')} in this one{hint and f'; {hint}'}"
        )
    model.load_state_dict(weights)
