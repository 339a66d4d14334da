"""Sums, logarithms and random numbers, against what Python's own numbers say: one operation at a time, none fused."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Generator, Tensor

from memexp.arithmetic import LN2_HIGH, LN2_LOW, ROOT_HALF, TERMS, ln, log, normal, orthonormal, root, total


def float64(*values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- sums ---


def folded(values: list[float]) -> float:
    """Fold a row by hand: pairs at a distance of half its length, filled with zeros to a power of two."""
    size = 1
    while size < len(values):
        size *= 2
    values = values + [0.0] * (size - len(values))
    while len(values) > 1:
        half = len(values) // 2
        values = [values[place] + values[place + half] for place in range(half)]
    return values[0]


def test_the_order_of_a_sum_by_hand():
    """[1, 1e16, 1, -1e16] -> [2, 0] -> 2, where from the left the ones are lost; a row of five gets three zeros."""
    assert total(float64(1, 1e16, 1, -1e16)).item() == 2
    assert total(float64(1e16, 1, 1, -1e16)).item() == (1e16 + 1) + (1 - 1e16) == 0
    assert total(float64(1e16, 1, -1e16, 1, 1)).item() == ((1e16 + 1) + -1e16) + (1 + 1) == 2


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 31, 400, 1025])
def test_a_sum_is_taken_in_one_order(size: int, generator: Generator):
    values = torch.rand(2, 3, size, generator=generator, dtype=torch.float64) - 0.3
    found = total(values)
    assert found.tolist() == [[folded(row) for row in rows] for rows in values.tolist()]
    assert found.shape == (2, 3)
    torch.testing.assert_close(found, values.sum(-1), rtol=1e-14, atol=1e-15)
    rows_apart = values.expand(2, 3, size).transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(total(rows_apart), found)


def test_a_sum_of_float32_numbers_is_taken_in_float64():
    values = torch.tensor([1.0, 2.0**-30, 2.0**-31])
    assert total(values).dtype == torch.float64
    assert total(values).item() == 1 + 2.0**-30 + 2.0**-31


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_sum_with_what_is_not_finite(value: float):
    assert total(float64(1, value, 2)).item() == pytest.approx(value, nan_ok=True)


# --- logarithms ---


def log_by_hand(x: float) -> float:
    m, e = math.frexp(x)
    if m < ROOT_HALF:
        m, e = 2 * m, e - 1
    f = m - 1
    s = f / (f + 2)
    z = s * s
    series = 0.0
    for term in TERMS:
        series = (series + term) * z
    half = 0.5 * f * f
    return e * LN2_HIGH - ((half - (s * (half + series) + e * LN2_LOW)) - f)


def some_numbers(generator: Generator) -> Tensor:
    """Numbers of every size, and many around 1, where a logarithm is small: all positive."""
    unit = torch.rand(7, 1000, generator=generator, dtype=torch.float64)
    exponents = torch.randint(-1022, 1023, (1000,), generator=generator).double()
    return torch.cat(
        [0.5 + unit[0], unit[1] + 1e-300, 1e6 * unit[2] + 1, (1 + unit[3]) * 2.0**exponents]
        + [1 + scale * (unit[4] - 0.5) for scale in (1e-2, 1e-6, 1e-12)]
    )


def test_logarithms_are_within_a_unit_in_the_last_place(generator: Generator):
    x = some_numbers(generator)
    with localcontext() as context:
        context.prec = 60
        for number, found in zip(x.tolist(), log(x).tolist(), strict=True):
            truth = Decimal(number).ln()  # correctly rounded, to 60 digits
            assert abs(Decimal(found) - truth) < Decimal(math.ulp(float(truth))), number


def test_logarithms_are_made_of_the_five_operations(generator: Generator):
    x = some_numbers(generator)
    assert log(x).tolist() == [log_by_hand(number) for number in x.tolist()]
    assert Decimal(LN2_HIGH) + Decimal(LN2_LOW) == pytest.approx(Decimal(2).ln(), rel=Decimal("1e-25"))


def test_some_logarithms():
    assert log(float64([1, 2], [4, 0.5])).tolist() == [[0, math.log(2)], [2 * math.log(2), -math.log(2)]]
    assert (ln(1), ln(2), ln(10)) == (0, 0.6931471805599453, 2.302585092994046)


# --- square roots ---


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_square_roots_are_correctly_rounded(size: int, generator: Generator):
    x = torch.rand(3, size, generator=generator, dtype=torch.float64) * 5
    assert root(x).tolist() == [[math.sqrt(number) for number in row] for row in x.tolist()]
    assert root(x[:, ::2].mT).tolist() == root(x)[:, ::2].mT.tolist()
    assert root(float64(2)[0]).item() == math.sqrt(2)


# --- random bits ---


@pytest.mark.parametrize("seed", [0, 4, 2**32 - 1, 2**40 + 4])
def test_torchs_random_numbers_are_integer_arithmetic_on_the_mersenne_twister(seed: int):
    """The twister is numpy's here, whose stream is frozen; torch seeds its own with the lowest 32 bits alone."""
    twister = np.random.RandomState(seed % 2**32).randint(0, 2**32, 1000, dtype=np.uint32).tolist()
    words, generator = iter(twister), Generator().manual_seed(seed)
    assert torch.rand(17, generator=generator).tolist() == [next(words) % 2**24 / 2**24 for _ in range(17)]
    doubles = torch.rand(19, dtype=torch.float64, generator=generator).tolist()
    assert doubles == [(next(words) << 32 | next(words)) % 2**53 / 2**53 for _ in range(19)]
    assert torch.randint(2, 9, (23,), generator=generator).tolist() == [2 + next(words) % 7 for _ in range(23)]
    order = [*range(29)]
    for place in range(28):
        other = place + next(words) % (29 - place)
        order[place], order[other] = order[other], order[place]
    assert torch.randperm(29, generator=generator).tolist() == order


# --- normal numbers ---


def normal_by_hand(count: int, seed: int, most: float) -> list[float]:
    """Marsaglia and Bray's method, number by number; as many points are drawn at once as numbers are wanted."""
    generator, found = Generator().manual_seed(seed), []
    while len(found) < count:
        drawn = torch.rand(2, count, dtype=torch.float64, generator=generator).tolist()
        points = [(2 * x - 1, 2 * y - 1) for x, y in zip(*drawn, strict=True)]
        within = [(x, y, x * x + y * y) for x, y in points if 0 < x * x + y * y < 1]
        for place in (0, 1):
            numbers = [point[place] * math.sqrt(-2 * log_by_hand(point[2]) / point[2]) for point in within]
            found += [number for number in numbers if abs(number) <= most]
    return found[:count]


@pytest.mark.parametrize("most", [math.inf, 2, 0.5])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 16, 17)])
def test_normal_numbers_by_hand(shape: tuple[int, ...], most: float):
    drawn = normal(shape, Generator().manual_seed(5), most)
    assert (drawn.shape, drawn.dtype) == (shape, torch.float64)
    assert drawn.flatten().tolist() == normal_by_hand(math.prod(shape), 5, most)


def test_normal_numbers_are_normal(generator: Generator):
    """Kolmogorov and Smirnov; both numbers of a point count, and do not go together."""
    drawn, cut = normal((2, 20_000), generator), normal((20_000,), generator, most=2)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 0.05
    assert stats.kstest(cut.numpy(), stats.truncnorm(-2, 2).cdf).pvalue > 0.05
    assert abs(float(torch.corrcoef(drawn)[0, 1])) < 4 / math.sqrt(20_000)
    assert float(drawn.abs().max()) > 3.5
    assert 1.99 < float(cut.abs().max()) <= 2


def test_a_generator_goes_on_where_it_was():
    """Two draws from one generator are not the same, and one generator gives the same draws again."""
    first, second = Generator().manual_seed(3), Generator().manual_seed(3)
    drawn = [normal((4, 5), first), normal((4, 5), first)]
    assert not torch.equal(*drawn)
    assert torch.equal(torch.stack(drawn), torch.stack([normal((4, 5), second) for _ in range(2)]))


# --- orthogonal rows ---


def test_orthonormal_rows_are_those_of_a_qr_decomposition(generator: Generator):
    matrices = torch.rand(3, 7, 9, generator=generator, dtype=torch.float64) - 0.5
    given, found = matrices.clone(), orthonormal(matrices)
    assert torch.equal(matrices, given)
    Q, R = torch.linalg.qr(matrices.mT)
    torch.testing.assert_close(found, (Q * R.diagonal(dim1=1, dim2=2).sign()[:, None]).mT, rtol=0, atol=1e-13)


def test_rows_that_are_nearly_the_same_become_orthogonal_all_the_same():
    """Hilbert's matrix, of condition 1.6e13: after one pass the rows are 1e-5 off."""
    places = torch.arange(10, dtype=torch.float64)
    found = orthonormal(1 / (places + places[:, None] + 1))
    torch.testing.assert_close(found @ found.mT, torch.eye(10, dtype=torch.float64), rtol=0, atol=1e-15)
