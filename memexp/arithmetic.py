"""Sums, logarithms and random numbers that have the same bits on every machine.

IEEE 754 rounds +, -, x, / and the square root correctly, so these five give the same bits on every processor. What does
not: a library's sum, whose order is that of the processor's vectors; log, exp and their like, of which every library
has its own; a product and a sum that a compiler makes one. So all here is made of the five alone. Each is an operation
on tensors by itself, which leaves nothing to fuse, and the order of a sum is written down. Nothing of libm remains.
The root is numpy's: torch's is a vector library's where there is one, and wrong in the last place for one number in 70.

Random bits are those of ``torch.rand``, ``randint`` and ``randperm`` with a generator on the CPU: the Mersenne twister
and integer arithmetic, one number after the other. (``randn`` is another matter: vectors of logarithms and cosines.)
Torch does not promise them ("not guaranteed across PyTorch releases, individual commits, or different platforms"), so
its version is pinned, and a test has hashes of what is drawn.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the usual name)
from torch import Generator, Tensor

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")  # ln 2; e * high is exact
ROOT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")  # the square root of 1/2
TERMS = [2 / (2 * k + 1) for k in range(11, 0, -1)]  # of the series of ln((1 + s) / (1 - s)), s = 0.172 or less


def total(values: Tensor) -> Tensor:
    """Return the sum over the last axis, float64: [..., N] -> [...].

    Filled with zeros to a power of two, the row is folded: its second half is added to the first, until one is left.
    """
    size = 1 << max(0, values.shape[-1] - 1).bit_length()
    values = F.pad(values.double(), (0, size - values.shape[-1]))
    while size > 1:
        size //= 2
        values = values[..., :size] + values[..., size:]
    return values[..., 0]


def log(x: Tensor) -> Tensor:
    """Return the natural logarithm, float64, of positive, finite, normal numbers, to within one unit in the last place.

    As in fdlibm's e_log.c (Sun 1993): x = 2^e m, m about 1, and ln m = 2 artanh(s) with s = (m - 1) / (m + 1). Its
    polynomial is the plain series here.
    """
    m, e = torch.frexp(x.double())
    low = m < ROOT_HALF
    m, exponent = torch.where(low, m + m, m), (e - low.int()).double()
    f = m - 1
    s = f / (f + 2)
    z = s * s
    series = torch.zeros_like(z)
    for term in TERMS:
        series = (series + term) * z
    half = 0.5 * f * f
    return exponent * LN2_HIGH - ((half - (s * (half + series) + exponent * LN2_LOW)) - f)


def ln(number: float) -> float:
    """Return the natural logarithm of a number; see `log`."""
    return float(log(torch.tensor(number, dtype=torch.float64)))


def root(x: Tensor) -> Tensor:
    """Return the square root of numbers on the CPU, correctly rounded."""
    return torch.as_tensor(np.sqrt(x.numpy()))


def normal(shape: tuple[int, ...], generator: Generator, most: float = math.inf) -> Tensor:
    """Draw from N(0, 1), float64, by the polar method (Marsaglia and Bray 1964); what is beyond +-``most`` is left out.

    A point in the unit disc, at squared radius q, gives two numbers: its coordinates times sqrt(-2 ln(q) / q).
    """
    count = math.prod(shape)
    drawn = torch.empty(0, dtype=torch.float64)
    while len(drawn) < count:
        points = 2 * torch.rand(2, count, dtype=torch.float64, generator=generator) - 1
        q = points[0] * points[0] + points[1] * points[1]
        within = (q > 0) & (q < 1)
        points, q = points[:, within], q[within]
        numbers = (points * root(-2 * log(q) / q)).flatten()
        drawn = torch.cat([drawn, numbers[numbers.abs() <= most]])
    return drawn[:count].view(shape)


def orthonormal(rows: Tensor) -> Tensor:
    """Make the rows of each matrix orthogonal, of norm 1: [..., N, D] of rank N, float64 -> the same shape.

    The modified Gram-Schmidt process, twice: after once the rows are as far from orthogonal as the matrix is
    ill-conditioned (Giraud et al. 2005).
    """
    rows = rows.clone()
    for _ in range(2):
        for k in range(rows.shape[-2]):
            row = rows[..., k : k + 1, :]
            row /= root(total(row * row))[..., None]
            rest = rows[..., k + 1 :, :]
            rest -= total(rest * row)[..., None] * row
    return rows
