"""Products against a loop that adds term after term, and against numpy."""

import math
from typing import Any

import numpy as np
import pytest

from memexp.compiled.layout import LANES, padded
from memexp.compiled.products import add_rows, clear, copy, multiply, transpose

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["single", "double"])


def fused(a: float, b: float, c: float, dtype: Any) -> Any:
    """a b + c, rounded once: exact in longer numbers for float32."""
    return dtype(np.longdouble(a) * np.longdouble(b) + np.longdouble(c))


@DTYPES
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("turned", [False, True], ids=["plain", "transposed"])
def test_a_product_is_added(dtype: Any, rows: int, turned: bool):
    terms, columns, before = 5, 2 * LANES, 7
    draw = np.random.default_rng(5)
    A, B, C = (
        draw.standard_normal(shape).astype(dtype) for shape in ((rows, terms), (terms, columns), (rows, columns))
    )
    place = 3
    lain = np.full((terms, rows + 2) if turned else (rows, terms + 2), np.nan, dtype)
    lain[:, : rows if turned else terms] = A.T if turned else A
    steps = (1, rows + 2) if turned else (terms + 2, 1)
    a = np.concatenate([np.full(place, np.nan, dtype), lain.ravel()])
    out = np.full(before + rows * (columns + LANES), np.nan, dtype)
    for i in range(rows):
        out[before + i * (columns + LANES) :][:columns] = C[i]
    multiply(a, place, *steps, B.ravel(), 0, columns, out, before, columns + LANES, rows, terms, columns)
    for i in range(rows):
        row = out[before + i * (columns + LANES) :][:columns]
        np.testing.assert_allclose(row, (C + A @ B)[i], rtol=0, atol=20 * np.finfo(dtype).eps)
        if dtype == np.float32:  # term after term, and each rounded once
            for j in (0, columns - 1):
                total = C[i, j]
                for k in range(terms):
                    total = fused(A[i, k], B[k, j], total, dtype)
                assert row[j] == total
    rest = np.delete(out, [before + i * (columns + LANES) + j for i in range(rows) for j in range(columns)])
    assert np.isnan(rest).all()


@DTYPES
def test_rows_are_added_one_after_the_other(dtype: Any):
    rows, columns = 6, LANES
    A = (10.0 ** np.random.default_rng(6).integers(-8, 8, (rows, columns))).astype(dtype)
    out = np.ones(columns, dtype)
    add_rows(A.ravel(), 0, columns, out, 0, rows, columns)
    total = np.ones(columns, dtype)
    for row in A:
        total = total + row
    assert out.tolist() == total.tolist()


def test_a_transposed_matrix_is_padded_with_zeros():
    rows, columns = 3, 5
    A = np.arange(rows * columns, dtype=np.float32)
    out = np.full(columns * LANES + 1, np.nan, np.float32)
    transpose(A, 0, columns, out, 0, LANES, rows, columns)
    there = out[:-1].reshape(columns, LANES)
    assert there[:, :rows].tolist() == A.reshape(rows, columns).T.tolist()
    assert not there[:, rows:].any()
    assert math.isnan(out[-1])


def test_numbers_are_cleared_and_copied_where_they_are_meant():
    out = np.full(4 * LANES, np.nan, np.float64)
    clear(out, 3, 5)
    assert np.flatnonzero(out == 0).tolist() == [3, 4, 5, 6, 7]
    copy(np.arange(3.0 * LANES), LANES, out, 2 * LANES, LANES)
    assert out[2 * LANES : 3 * LANES].tolist() == list(range(LANES, 2 * LANES))
    assert np.isnan(out[3 * LANES :]).all()


@pytest.mark.parametrize(("numbers", "whole"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_sizes_are_rounded_up_to_whole_vectors(numbers: int, whole: int):
    assert padded(numbers) == whole
