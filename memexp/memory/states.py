"""Stepping through sequences so that gradients with respect to the states can be asked for; and half-lives.

Axis letters as in `memexp.models.cells`.
"""

import copy
import math

import numpy as np
import torch
from torch import Tensor

from memexp.models.cells import State
from memexp.models.networks import Direction, SequenceModel

FLAT = 1e-9  # doublings a step: what is nearer to 0 is rounding


def in_float64(model: SequenceModel) -> SequenceModel:
    """Return a copy that computes in float64 and has gradients: over many steps they leave the range of float32."""
    return copy.deepcopy(model).double().requires_grad_()


def read(model: SequenceModel, inputs: Tensor) -> tuple[Tensor, dict[str, list[State]]]:
    """Answer step by step, with autograd's graph through every state.

    Args:
        model: the model.
        inputs: [S, B, L] or [S, B, L, V], S or 1.

    Returns:
        Answers, [S, B, A, K], and for each direction, by the prefix of its parts in a trace, the state after each step
        in the order in which it reads.
    """
    prefixes, seen = {direction: prefix for prefix, direction in model.directions}, dict[str, list[State]]()

    def run(direction: Direction, projected: Tensor, state: State) -> tuple[Tensor, State]:
        states = [after for after, _ in direction.steps(projected, state)]
        seen[prefixes[direction]] = states
        outputs = torch.stack([after[0] for after in states], 1)
        return (outputs.flip(1) if direction.backwards else outputs), states[-1]

    answers, _ = model.answer(inputs, run=run)
    return answers, seen


def half_life(norms: Tensor) -> Tensor:
    """Return the steps in which norms halve: -1 / slope of the line through log2(norm) against lag, by least squares.

    Args:
        norms: by lag, [..., L], from 0 up.

    Returns:
        [...], float64. Infinite where the line does not fall. A norm of 0 has no logarithm: the line goes through those
        before the first 0; where only lag 0 is left, nothing is passed on, and the half-life is 0. NaN where a norm is
        not finite, where that at lag 0 is 0, and where L is 1.
    """
    found = [_half_life(own) for own in norms.detach().double().reshape(-1, norms.shape[-1]).numpy()]
    return torch.tensor(found, dtype=torch.float64).view(norms.shape[:-1])


def _half_life(norms: np.ndarray) -> float:
    if len(norms) < 2 or not np.isfinite(norms).all() or norms[0] == 0:
        return math.nan
    zeros = np.flatnonzero(norms == 0)
    norms = norms[: zeros[0]] if len(zeros) else norms
    if len(norms) < 2:
        return 0.0
    slope = float(np.polyfit(np.arange(len(norms)), np.log2(norms), 1)[0])
    return -1 / slope if slope < -FLAT else math.inf
