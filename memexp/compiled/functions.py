"""exp, tanh, sigmoid and log of vectors, from additions, products and divisions alone: the same bits on every machine.

They are Taylor series after a reduction of the argument, with as many terms as the precision asks for. The largest
errors, in units in the last place (for sigmoid: of 1), measured over the range (tests/compiled/test_functions.py):

    exp 1.1    expm1 1.9    tanh 2.6    sigmoid 0.8    log, from 1 on, 2.0

What is no number (NaN) stays none.
"""

import math
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import overload

from memexp.compiled.vectors import at_least, at_most, compiled, exponent, fma, power_of_two

LOG2_E = 1 / math.log(2)


class Single:
    """What float32 asks for. ln 2 is the sum of two numbers, for one has too few digits."""

    ln2, ln2_rest = 0.693147182464599609375, -1.9046542121259336e-09
    shift = 1.5 * 2**23  # a number so large that what is added to it is rounded to a whole number
    lowest, highest = -87.3, 88.3  # beyond, e^x is no ordinary number
    exp_terms = tuple(1 / math.factorial(k) for k in range(7, 1, -1))
    log_terms = tuple(2 / k for k in range(9, 2, -2))


class Double(Single):
    """What float64 asks for."""

    ln2, ln2_rest = 0.6931471805599453, 2.3190468138462996e-17
    shift = 1.5 * 2**52
    lowest, highest = -708.0, 709.0
    exp_terms = tuple(1 / math.factorial(k) for k in range(14, 1, -1))
    log_terms = tuple(2 / k for k in range(23, 2, -2))


def _of(kind: Any) -> type[Single]:
    return Double if kind.dtype == types.float64 else Single


def polynomial(terms: Any, x: Any) -> Any:
    """Return the polynomial with these coefficients, that of the highest power first."""


@overload(polynomial)
def _polynomial(terms: Any, x: Any) -> Callable[..., Any]:
    def horner(terms: Any, x: Any) -> Any:
        result = x * 0.0 + terms[0]
        for term in terms[1:]:
            result = fma(result, x, term)
        return result

    return horner


def parts_of_exp(x: Any) -> Any:
    """Return e^r - 1 and 2^n, where x = n ln 2 + r with r as small as can be."""


@overload(parts_of_exp)
def _parts_of_exp(x: Any) -> Callable[[Any], Any]:
    of = _of(x)
    ln2, ln2_rest, shift, lowest, highest, terms = of.ln2, of.ln2_rest, of.shift, of.lowest, of.highest, of.exp_terms

    def parts(x: Any) -> Any:
        x = at_least(at_most(x, highest), lowest)
        shifted = fma(x, LOG2_E, shift)
        n = shifted - shift
        r = fma(n, -ln2_rest, fma(n, -ln2, x))
        return fma(polynomial(terms, r), r * r, r), power_of_two(shifted)

    return parts


@compiled
def exp(x: Any) -> Any:
    """Return e^x; x is held within the numbers for which there is an ordinary result."""
    rest, power = parts_of_exp(x)
    return fma(rest, power, power)


@compiled
def expm1(x: Any) -> Any:
    """Return e^x - 1."""
    rest, power = parts_of_exp(x)
    return fma(rest, power, power - 1.0)


@compiled
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    return 1.0 / (1.0 + exp(-x))


@compiled
def tanh(x: Any) -> Any:
    """Return (e^2x - 1) / (e^2x + 1)."""
    over = expm1(at_least(at_most(x, 20.0), -20.0) * 2.0)
    return over / (over + 2.0)


def log(x: Any) -> Any:
    """Return the natural logarithm of numbers above 0."""


@overload(log)
def _log(x: Any) -> Callable[[Any], Any]:
    of = _of(x)
    ln2, ln2_rest, shift, terms = of.ln2, of.ln2_rest, of.shift, of.log_terms

    def logarithm(x: Any) -> Any:
        n = exponent(x)
        m = x * power_of_two(shift - n)
        s = (m - 1.0) / (m + 1.0)  # ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...)
        square = s * s
        series = fma(polynomial(terms, square), square * s, s * 2.0)
        return fma(n, ln2, fma(n, ln2_rest, series))

    return logarithm
