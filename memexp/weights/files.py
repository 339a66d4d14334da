"""Files of weights: name -> tensor, whoever wrote them. Tensors are read, and nothing else."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memexp.errors import ConfigError
from memexp.files import write
from memexp.results import seals

SAFE = ".safetensors"
#: What the weights are called in a file that holds more than them, from the outside inwards.
WRAPPERS = ("training", "state_dict", "model_state_dict", "model", "net", "network", "params", "weights")
NEEDED = 'reading .safetensors needs the package safetensors: pip install "memexp[weights]"'


@dataclass(frozen=True)
class Content:
    """What a file of weights holds.

    Attributes:
        tensors: name -> tensor, in the order of the file.
        vocabulary: of memexp's own: the characters of a language model, as numbers, [V].
    """

    tensors: dict[str, Tensor]
    vocabulary: Tensor | None = None


def read(path: Path) -> Content:
    """Read a file of weights: what ``torch.save`` wrote of a state_dict, alone or in a dict, or a .safetensors file.

    Raises:
        ConfigError: there is none, it is damaged, or it holds something else than named tensors of finite numbers.
    """
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    content = _safetensors(path, stored) if path.suffix == SAFE else _torch(path, stored)
    vocabulary = content.get("vocabulary") if isinstance(content, Mapping) else None
    content = _unwrapped(content)
    tensors = {} if content is None else {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise ConfigError(f"{path} has no named tensors; save model.state_dict() with torch.save")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ConfigError(f"{path}: {name} {[*tensor.shape]} is of {kind}, which no weight of these cells is")
        if not tensor.isfinite().all():
            raise ConfigError(f"{path}: {name} {[*tensor.shape]} holds numbers that are not finite")
    return Content(tensors, vocabulary if isinstance(vocabulary, Tensor) else None)


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a state_dict, as ``torch.save`` does, or as .safetensors where the file is called so.

    Raises:
        ConfigError: the package safetensors is not there.
        RecordError: the file cannot be written.
    """
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if path.suffix == SAFE:
        try:
            from safetensors.torch import save as as_safetensors
        except ImportError as error:
            raise ConfigError(NEEDED.replace("reading", "writing")) from error
        stored = as_safetensors(own)
    else:
        buffer = io.BytesIO()
        torch.save(own, buffer)
        stored = buffer.getvalue()
    write(path, stored, "file=FILE")


def _safetensors(path: Path, stored: bytes) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise ConfigError(f"{path}: {NEEDED}") from error
    try:
        return load(stored)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is no {SAFE} file, or damaged ({_first_line(error)})") from error


def _torch(path: Path, stored: bytes) -> Any:
    """Read tensors and plain containers; whatever else a pickle holds would be code, and is refused."""
    try:
        if zipfile.is_zipfile(io.BytesIO(stored)):
            seals.check_zip(stored)
        return torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True)
    except seals.DamagedError as error:
        raise ConfigError(f"{path} is damaged ({error}); bring it back from where it came from") from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path} holds more than tensors, as a whole model does, or Paddle's own .pdparams (or is damaged); it "
            f"could hold code and is not opened: save the state_dict as torch tensors, with torch.save or as {SAFE}"
        ) from error
    except Exception as error:  # torch raises many kinds for damaged files, none of them documented
        raise ConfigError(f"{path} is no file of torch.save, or damaged ({type(error).__name__})") from error


def _unwrapped(content: Any) -> Mapping[Any, Any] | None:
    """Go inwards to the tensors; None where there are none."""
    while isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            return content
        content = inner
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
