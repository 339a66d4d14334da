"""Sequences as people give them, typed or as lists, arrays and tensors, turned into what a model reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from memexp.errors import ConfigError
from memexp.tasks.task import Interface, Reading, Rows


def inputs_of(given: Any, reading: Reading, interface: Interface) -> Tensor:
    """Return sequences of one length: [N, L] symbols, or [N, L, M] numbers.

    Args:
        given: one sequence, as it is typed or as numbers; several in a list; an array or tensor, [L], [N, L] or, of
            numbers, [L, M] or [N, L, M]; or a task's rows.
        reading: how what is typed is read.
        interface: what the model reads.

    Raises:
        ConfigError: they are no sequences of this task, or of several lengths.
    """
    if isinstance(given, Rows):
        given = given.inputs
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence) and given and all(isinstance(one, str) for one in given):
        return _in_rows([reading.read(one) for one in given])
    if isinstance(given, Sequence) and any(isinstance(one, Tensor) for one in given):
        given = _in_rows([torch.as_tensor(one) for one in given])
    try:
        inputs = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"these are no sequences of one length: {error}") from error
    if inputs.is_floating_point():
        inputs = inputs[None] if inputs.dim() == 2 else inputs
        if inputs.dim() != 3 or inputs.shape[2] != interface.inputs or not inputs.numel():
            raise ConfigError(f"shape {list(inputs.shape)} is not [N, L, M], with {interface.inputs} numbers at a step")
        return inputs
    inputs = inputs[None] if inputs.dim() == 1 else inputs
    if inputs.dim() != 2 or not inputs.numel():
        raise ConfigError(f"shape {list(inputs.shape)} is not [N, L], N sequences of L {reading.token}s")
    least, most = int(inputs.min()), int(inputs.max())
    if least < 0 or most >= interface.inputs:
        wrong = least if least < 0 else most
        raise ConfigError(f"{wrong} is no {reading.token} of this model; it reads 0 to {interface.inputs - 1}")
    return inputs.long()


def _in_rows(sequences: Sequence[Tensor]) -> Tensor:
    lengths = sorted({len(sequence) for sequence in sequences})
    if len(lengths) > 1:
        raise ConfigError(f"the sequences have {lengths} tokens; give those of one length at a time")
    return torch.stack(list(sequences))
