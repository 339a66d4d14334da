"""Initialisers: what the weights are before the first update.

A scheme is a function of (role, shape, hidden_size, generator) that returns one parameter of one seed. The roles are
``embedding`` [V, M], ``input_weight`` W [G, M, D], ``recurrent_weight`` U [G, D, D], ``bias`` b [G, D],
``head_weight`` [D, K] and ``head_bias`` [K]; axis letters as in `memexp.models`. Each gate's block is
initialised on its own, as in the book, where every gate has its own W, U and b.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from memexp.errors import ConfigError

Scheme = Callable[[str, tuple[int, ...], int, Generator], Tensor]

RECURRENT_ROLES = ("input_weight", "recurrent_weight", "bias")


def uniform(shape: tuple[int, ...], bound: float, generator: Generator) -> Tensor:
    """Draw from U(-bound, bound)."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def xavier_uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Glorot and Bengio (2010): U(-a, a), a = sqrt(6 / (fan_in + fan_out)), for each matrix in the last two axes."""
    fan_in, fan_out = shape[-2:]
    return uniform(shape, math.sqrt(6 / (fan_in + fan_out)), generator)


def xavier(role: str, shape: tuple[int, ...], hidden_size: int, generator: Generator) -> Tensor:
    """Initialise as the book does (6.1.2): Xavier uniform everywhere, the gates' biases (1 x D matrices) included.

    The bias of the linear head is 0, the default of the framework the book uses.
    """
    if role == "bias":
        return xavier_uniform((*shape[:-1], 1, shape[-1]), generator).squeeze(-2)
    if role == "head_bias":
        return torch.zeros(shape)
    return xavier_uniform(shape, generator)


def xavier_zero_bias(role: str, shape: tuple[int, ...], hidden_size: int, generator: Generator) -> Tensor:
    """Xavier weights, every bias 0."""
    return torch.zeros(shape) if role == "bias" else xavier(role, shape, hidden_size, generator)


def zeros(role: str, shape: tuple[int, ...], hidden_size: int, generator: Generator) -> Tensor:
    """Start the recurrent layer at zero, as one PyTorch re-telling does; embedding and head as in the book."""
    return torch.zeros(shape) if role in RECURRENT_ROLES else xavier(role, shape, hidden_size, generator)


def orthogonal(role: str, shape: tuple[int, ...], hidden_size: int, generator: Generator) -> Tensor:
    """As the book, but each gate's recurrent matrix is orthogonal (Saxe et al. 2014): it keeps the norm of h."""
    if role != "recurrent_weight":
        return xavier(role, shape, hidden_size, generator)
    block = torch.empty(shape)
    for matrix in block:
        torch.nn.init.orthogonal_(matrix, generator=generator)
    return block


def torch_default(role: str, shape: tuple[int, ...], hidden_size: int, generator: Generator) -> Tensor:
    """Torch's own defaults: N(0, 1) embeddings, U(+-1/sqrt(D)) elsewhere; b is the sum of torch's two biases."""
    if role == "embedding":
        return torch.randn(shape, generator=generator)
    bound = 1 / math.sqrt(hidden_size)
    draw = uniform(shape, bound, generator)
    return draw + uniform(shape, bound, generator) if role == "bias" else draw


SCHEMES: dict[str, Scheme] = {
    "xavier": xavier,
    "xavier_zero_bias": xavier_zero_bias,
    "zeros": zeros,
    "orthogonal": orthogonal,
    "torch": torch_default,
}


def chrono_biases(shape: tuple[int, ...], longest: int, generator: Generator) -> Tensor:
    """Forget-gate biases ln U(1, longest - 1) of Tallec and Ollivier (2018); the input gate gets their negative.

    A unit whose forget bias is ln(T) forgets with a time constant of about T steps, so the units' time
    constants spread over the whole sequence. ``longest`` is the largest distance to bridge, in time steps.
    """
    if longest < 3:
        raise ConfigError(f"chrono initialisation needs a longest distance of at least 3 steps, not {longest}")
    return (torch.rand(shape, generator=generator) * (longest - 2) + 1).log()
