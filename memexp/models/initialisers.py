"""Initialisers: what the weights are before the first update.

A scheme is a function of (role, shape, sizes, generator) that returns one parameter of one seed. The roles are
``embedding`` [V, M], ``input_weight`` W [G, M, D], ``recurrent_weight`` U [G, D, D], ``bias`` b [G, D],
``extra_bias`` (a GRU's c, a peephole's P, [.., D]),
``start_weight`` (of an initial state that is computed, [states, M, D]), ``head_weight`` [D, K] and ``head_bias`` [K];
axis letters as in `memexp.models.cells`. Each gate's block is initialised on its own, as in the book, where every gate
has its own W, U and b. The schemes of the stacked-LSTM tutorial see W and U of a gate as the one matrix [M + D, D] that
they are there, and set the biases to 0.

A seed's weights are the same on every machine, bit for bit: uniform numbers are exact before they are scaled by one
rounded product, all else is computed in float64 by `memexp.arithmetic`, and rounded once to float32.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from memexp.arithmetic import log, normal, orthonormal
from memexp.errors import ConfigError


class LayerSizes(NamedTuple):
    """LayerSizes of the layer that a parameter belongs to."""

    input_size: int  # M
    hidden_size: int  # D


Scheme = Callable[[str, tuple[int, ...], LayerSizes, Generator], Tensor]

BIASES = ("bias", "extra_bias")
RECURRENT_ROLES = ("input_weight", "recurrent_weight", *BIASES)
HEAD_ROLES = ("head_weight", "head_bias")
ROLES = ("embedding", *RECURRENT_ROLES, "start_weight", *HEAD_ROLES)


def uniform(shape: tuple[int, ...], bound: float, generator: Generator) -> Tensor:
    """Draw from U(-bound, bound)."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def xavier_uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Glorot and Bengio (2010): U(-a, a), a = sqrt(6 / (fan_in + fan_out)), for each matrix in the last two axes."""
    fan_in, fan_out = shape[-2:]
    return uniform(shape, math.sqrt(6 / (fan_in + fan_out)), generator)


def xavier(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Initialise as the book does (6.1.2): Xavier uniform everywhere, the gates' biases (1 x D matrices) included.

    The bias of the linear head is 0, the default of the framework the book uses.
    """
    if role in BIASES:
        return xavier_uniform((*shape[:-1], 1, shape[-1]), generator).squeeze(-2)
    if role == "head_bias":
        return torch.zeros(shape)
    return xavier_uniform(shape, generator)


def xavier_zero_bias(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Xavier weights, every bias 0."""
    return torch.zeros(shape) if role in BIASES else xavier(role, shape, sizes, generator)


def orthogonal(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """As the book, but each gate's recurrent matrix is orthogonal (Saxe et al. 2014): it keeps the norm of h."""
    if role != "recurrent_weight":
        return xavier(role, shape, sizes, generator)
    return orthonormal(normal(shape, generator)).float()


def identity(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Each gate's recurrent matrix is I, biases are 0, W is N(0, 0.001^2) (Le, Jaitly and Hinton 2015, section 4).

    Units that are rectified and see nothing then keep what they hold.
    """
    if role == "recurrent_weight":
        return torch.eye(shape[-1]).expand(shape)
    if role == "input_weight":
        return (0.001 * normal(shape, generator)).float()
    return xavier_zero_bias(role, shape, sizes, generator)


def torch_default(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Torch's own defaults: N(0, 1) embeddings, U(+-1/sqrt(D)) elsewhere; b is the sum of torch's two biases."""
    if role == "embedding":
        return normal(shape, generator).float()
    bound = 1 / math.sqrt(sizes.hidden_size)
    draw = uniform(shape, bound, generator)
    return draw + uniform(shape, bound, generator) if role == "bias" else draw


def uniform_1997(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Draw everything from U(-0.1, 0.1) (Hochreiter and Schmidhuber 1997, section 5); see `graded_biases` too."""
    return uniform(shape, 0.1, generator)


def zeros(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
    """Start as one PyTorch re-telling does, SRN and LSTM alike: the recurrent layer at zero, the head as nn.Linear.

    The embedding is the book's.
    """
    if role in RECURRENT_ROLES:
        return torch.zeros(shape)
    return (torch_default if role in HEAD_ROLES else xavier)(role, shape, sizes, generator)


def _joint(draw: Callable[[tuple[int, ...], int, int, Generator], Tensor]) -> Scheme:
    """Make a scheme of a function of (shape, fan_in, fan_out, generator): the fans are those of [M + D, D]."""

    def scheme(role: str, shape: tuple[int, ...], sizes: LayerSizes, generator: Generator) -> Tensor:
        if role not in RECURRENT_ROLES:
            return xavier(role, shape, sizes, generator)
        if role in BIASES:
            return torch.zeros(shape)
        return draw(shape, sizes.input_size + sizes.hidden_size, sizes.hidden_size, generator)

    return scheme


@_joint
def truncated_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """N(0, 0.1^2), cut off at two standard deviations."""
    return (0.1 * normal(shape, generator, most=2)).float()


@_joint
def xavier_4(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Four times Xavier uniform, Glorot and Bengio's advice for sigmoid units."""
    return uniform(shape, 4 * math.sqrt(6 / (fan_in + fan_out)), generator)


@_joint
def fan_in_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """U(-1/sqrt(fan in), 1/sqrt(fan in))."""
    return uniform(shape, 1 / math.sqrt(fan_in), generator)


@_joint
def he_normal(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """N(0, 2 / fan in) (He et al. 2015)."""
    return (math.sqrt(2 / fan_in) * normal(shape, generator)).float()


@_joint
def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, generator: Generator) -> Tensor:
    """Xavier uniform for the joint matrix."""
    return uniform(shape, math.sqrt(6 / (fan_in + fan_out)), generator)


SCHEMES: dict[str, Scheme] = {
    "xavier": xavier,
    "xavier_zero_bias": xavier_zero_bias,
    "zeros": zeros,
    "uniform_1997": uniform_1997,
    "orthogonal": orthogonal,
    "identity": identity,
    "torch": torch_default,
    "truncated_normal": truncated_normal,
    "xavier_4": xavier_4,
    "fan_in_uniform": fan_in_uniform,
    "he_normal": he_normal,
    "glorot_uniform": glorot_uniform,
}


def read_matrix(path: Path) -> Tensor:
    """Read a matrix from a text file: a row a line, numbers separated by spaces or by commas.

    Raises:
        ConfigError: the file cannot be read, or holds something else than a matrix of finite numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = [[float(word) for word in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a matrix of numbers: {error}") from error
    if not rows or len({len(row) for row in rows}) != 1:
        widths = sorted({len(row) for row in rows})
        raise ConfigError(f"{path} is not a matrix: its {len(rows)} rows have {widths or 'no'} numbers")
    matrix = torch.tensor(rows)
    if not matrix.isfinite().all():
        raise ConfigError(f"{path} holds numbers that are not finite")
    return matrix


def graded_biases(units: int) -> Tensor:
    """Input-gate biases -1, -3, -5, ..., [units], so that one unit after the other opens (1997, experiment 3).

    In experiments 4 and 6 they were -3, -6 and -2, -4, -6 for blocks of two units; "the precise values hardly matter".
    """
    return -1.0 - 2 * torch.arange(units)


def chrono_biases(shape: tuple[int, ...], longest: int, generator: Generator) -> Tensor:
    """Forget-gate biases ln U(1, longest - 1) of Tallec and Ollivier (2018); the input gate gets their negative.

    A unit whose forget bias is ln(T) forgets with a time constant of about T steps, so the units' time
    constants spread over the whole sequence. ``longest`` is the largest distance to bridge, in time steps.
    """
    if longest < 3:
        raise ConfigError(
            f"model.initialiser=chrono needs sequences of at least 3 steps, not {longest}; give another initialiser, "
            "or a larger length"
        )
    return log(torch.rand(shape, generator=generator).double() * (longest - 2) + 1).float()
