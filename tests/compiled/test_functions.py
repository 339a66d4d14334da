"""The functions of vectors, against numpy's in long double, in units in the last place."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from memexp.compiled import functions
from memexp.compiled.layout import LANES
from memexp.compiled.vectors import exponent, load, power_of_two, root, store

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["single", "double"])
LARGEST = {np.float32: 1e30, np.float64: 1e300}


def of_arrays(function: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Turn a function of vectors into one of arrays of any size."""

    @numba.njit
    def each(x: np.ndarray, out: np.ndarray) -> None:
        for j in range(0, len(x), LANES):
            store(out, j, function(load(x, j)))

    def whole(x: np.ndarray) -> np.ndarray:
        padded = np.concatenate([x, np.ones(-len(x) % LANES, x.dtype)])
        out = np.full_like(padded, np.nan)
        each(padded, out)
        return out[: len(x)]

    return whole


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@DTYPES
@pytest.mark.parametrize(
    ("name", "truth", "low", "high", "errors"),
    [
        ("exp", np.exp, -87, 88, (1.1, 1.1)),
        ("expm1", np.expm1, -60, 88, (1.7, 1.9)),
        ("expm1", np.expm1, -0.01, 0.01, (1.7, 1.9)),
        ("tanh", np.tanh, -12, 12, (2.6, 2.6)),
        ("tanh", np.tanh, -0.01, 0.01, (2.6, 2.6)),
        ("sigmoid", sigmoid, -30, 30, (0.8, 0.8)),
        ("log", np.log, 1, 1000, (2.0, 2.0)),
    ],
)
def test_the_largest_error_in_units_in_the_last_place(
    dtype: Any, name: str, truth: Any, low: float, high: float, errors: tuple[float, float]
):
    """As the module's docstring states them; those of the sigmoid are in units of 1."""
    x = np.random.default_rng(3).uniform(low, high, 400_000).astype(dtype)
    right = truth(x.astype(np.longdouble))
    unit = np.finfo(dtype).eps if name == "sigmoid" else np.spacing(np.abs(right).astype(dtype))
    error = np.abs(of_arrays(getattr(functions, name))(x) - right) / unit
    assert 0.5 <= float(error.max()) <= errors[dtype == np.float64]


@DTYPES
def test_values_known_by_heart(dtype: Any):
    x = np.array([0, 1, -1, 20, -20], dtype)
    for name, right in {
        "exp": [1, np.e, 1 / np.e, np.exp(20.0), np.exp(-20.0)],
        "expm1": [0, np.e - 1, 1 / np.e - 1, np.expm1(20), -1 + np.exp(-20)],
        "tanh": [0, np.tanh(1.0), -np.tanh(1.0), 1, -1],
        "sigmoid": [0.5, sigmoid(1.0), sigmoid(-1.0), sigmoid(20.0), sigmoid(-20.0)],
    }.items():
        values = of_arrays(getattr(functions, name))(x)
        np.testing.assert_allclose(values, right, rtol=4 * np.finfo(dtype).eps, atol=0)
        assert values[0] == right[0]
    assert of_arrays(functions.log)(np.ones(3, dtype)).tolist() == [0, 0, 0]


@DTYPES
def test_beyond_the_range_they_stay_numbers_and_what_is_none_stays_none(dtype: Any):
    far = np.array([LARGEST[dtype], -LARGEST[dtype], np.inf, -np.inf], dtype)
    assert of_arrays(functions.tanh)(far).tolist() == [1, -1, 1, -1]
    ends = of_arrays(functions.sigmoid)(far)
    assert ends[[0, 2]].tolist() == [1, 1]
    assert (ends[[1, 3]] < 1e-37).all()
    assert np.isfinite(of_arrays(functions.exp)(far)).all()
    for name in ("exp", "expm1", "tanh", "sigmoid", "log"):
        assert np.isnan(of_arrays(getattr(functions, name))(np.array([np.nan, -np.nan], dtype))).all()
    assert not np.isfinite(of_arrays(functions.log)(np.array([np.inf], dtype))).any()


@DTYPES
def test_powers_and_exponents_of_two(dtype: Any):
    shift = functions.Double.shift if dtype == np.float64 else functions.Single.shift
    n = np.arange(-126, 128)
    assert of_arrays(power_of_two)((n + shift).astype(dtype)).tolist() == np.ldexp(1.0, n).astype(dtype).tolist()
    x = np.array([1, 1.33, 1.34, 2, 0.7, 0.66, 6, 5, 1e-30, 3e30], dtype)
    n = of_arrays(exponent)(x)
    assert n.tolist() == [0, 0, 1, 1, 0, -1, 3, 2, *n[-2:]]
    m = x / np.exp2(n)
    assert (m >= 2 / 3).all()
    assert (m < 4 / 3).all()


@DTYPES
def test_roots_are_correctly_rounded(dtype: Any):
    x = np.random.default_rng(4).uniform(0, 1000, 10_000).astype(dtype)
    assert of_arrays(root)(x).tolist() == np.sqrt(x).tolist()
