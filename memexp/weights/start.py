"""What a run begins with, where that is weights that were trained before: ``init_from=``.

They are those of a run of memexp, of its best.pt: seed k begins with the weights of its seed k, or all with those of
the one seed there is; or those of a file from outside, which has one. Of a language model whose text has other
characters, the rows of the characters that both have are taken over; a new one begins as without `init_from`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from memexp.config import first_file
from memexp.errors import ConfigError
from memexp.models.networks import SequenceModel
from memexp.results import record
from memexp.training import checkpoints
from memexp.weights import files
from memexp.weights.layouts import recognise

log = logging.getLogger(__name__)


@torch.no_grad()
def begin(model: SequenceModel, config: DictConfig, vocabulary: Tensor | None) -> None:
    """Give a model the weights that its run begins with, if its config names any.

    Args:
        model: of the run, as it would begin without them.
        config: of the run.
        vocabulary: what the inputs of the task stand for, [V], where that can differ from text to text.

    Raises:
        ConfigError: the weights are of another model, lack a seed, or cannot be read.
        RecordError: they are of a run, and damaged.
    """
    if config.get("init_from") is None:
        return
    path, seeds = Path(config.init_from), list(config.seeds)
    weights, there, known = _weights(path, config)
    missing = [seed for seed in seeds if seed not in there] if len(there) > 1 else []
    if missing:
        raise ConfigError(
            f"init_from={path} has no seed {missing[0]}; it has {', '.join(map(str, there))}: give seeds= of these, or "
            "a file of one seed, which all begin with (python -m memexp.export writes one)"
        )
    places = [there.index(seed) if len(there) > 1 else 0 for seed in seeds]
    taken = {name: tensor[places] for name, tensor in weights.items()}
    if known is not None and vocabulary is not None and not torch.equal(known, vocabulary):
        taken = _of_shared(model, taken, known.tolist(), vocabulary.tolist(), path)
    fit(model, taken, path, "init_from")


def _weights(path: Path, config: DictConfig) -> tuple[dict[str, Tensor], list[int], Tensor | None]:
    """Return weights [S, ...] by the names of the model's parameters, their seeds, and what their inputs stand for."""
    file = first_file(path)
    if record.is_complete(file.parent) and file.name == record.BEST:
        summary = record.read_summary(file.parent)
        _check_model(path, summary["config"]["model"], config)
        content = checkpoints.load(file, "weights", sealed=summary.get(record.SEALED))
        return content["weights"], list(summary["config"]["seeds"]), content.get("vocabulary")
    content_of = files.read(file)
    try:
        found = recognise(content_of.tensors)
    except ConfigError as error:
        raise ConfigError(f"init_from={path}: {error}") from error
    if config.model.name not in found.models and {config.model.name, *found.models} != {"srn", "residual_srn"}:
        raise _other_model(path, " or ".join(found.models), config)
    return found.parameters, list(range(len(found.parameters["head_bias"]))), content_of.vocabulary


def _check_model(path: Path, there: Mapping[str, Any], config: DictConfig) -> None:
    """Check that the cell is the same one: others can have tensors of the same shapes."""
    if there["name"] != config.model.name:
        raise _other_model(path, there["name"], config)
    for key in ("variant", "reset_after", "lowest"):
        if key in config.model and there.get(key) != config.model[key]:
            raise ConfigError(
                f"init_from={path} is of model.{key}={there.get(key)}, and this run of model.{key}={config.model[key]}"
            )


def _other_model(path: Path, there: str, config: DictConfig) -> ConfigError:
    return ConfigError(f"init_from={path} is of model={there}, and this run of model={config.model.name}")


def fit(model: SequenceModel, weights: Mapping[str, Tensor], path: Path, key: str = "weights") -> None:
    """Put weights into a model, all of them.

    Args:
        model: S seeds.
        weights: by the names of its parameters, [S, ...].
        path: where they come from, for the error.
        key: the setting that named it, for the error.

    Raises:
        ConfigError: they are those of a model of other shapes; the first difference is named.
    """
    for name, parameter in model.named_parameters():
        expected = [*parameter.shape[1:]]
        what = [*weights[name].shape[1:]] if name in weights else "missing"
        if what != expected:
            raise ConfigError(f"{key}={path} is of another model: {name} is {what} there, {expected} in this one")
    odd = [name for name in weights if name not in dict(model.named_parameters())]
    if odd:
        came = [*weights[odd[0]].shape[1:]]
        raise ConfigError(f"{key}={path} is of another model: {odd[0]} {came} has no place in this one")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def _of_shared(
    model: SequenceModel, weights: Mapping[str, Tensor], there: Sequence[int], here: Sequence[int], path: Path
) -> dict[str, Tensor]:
    """Carry weights over to another vocabulary: those of shared characters, beside the model's own of the others."""
    shared = [code for code in here if code in there]
    if not shared:
        raise ConfigError(f"init_from={path} is of a text that has no character in common with this one")
    rows, own_rows = ([codes.index(code) for code in shared] for codes in (there, here))
    log.info("of %d characters %d are those of %s; the others begin anew", len(here), len(shared), path)
    carried = dict(weights)
    for name, parameter in model.named_parameters():
        axis = _axis_of_symbols(model, name)
        if axis is None or name not in weights or weights[name].dim() != parameter.dim():
            continue
        taken = weights[name].index_select(axis, torch.tensor(rows))
        if _without(taken, axis) == _without(parameter, axis):  # else it is of another width, and `fit` says so
            carried[name] = parameter.detach().clone().index_copy_(axis, torch.tensor(own_rows), taken)
    return carried


def _without(tensor: Tensor, axis: int) -> list[int]:
    return [size for place, size in enumerate(tensor.shape) if place != axis]


def _axis_of_symbols(model: SequenceModel, name: str) -> int | None:
    """Return the axis of a parameter that has a place for each symbol, [S, ...]; None if it has none."""
    if name in ("head_weight", "head_bias"):
        return 2 if name == "head_weight" else 1
    if name == "embedding":
        return 1
    first = model.embedding is None and name.startswith("layers.0.")
    return 2 if first and name.rpartition(".")[2] in ("W", "start_W") else None
