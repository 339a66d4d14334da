"""Vectors of sixteen numbers, as values of compiled code: the one place that speaks LLVM.

A compiler decides by itself which loops of numbers it turns into vector instructions, and another processor gets other
ones. Here the vectors are written out, sixteen numbers each, and LLVM splits them into what the processor has: four of
four, two of eight, or one. Every operation is correctly rounded (IEEE 754), and nothing is reordered, so that the
results are the same bits everywhere. `fma` is one rounding by definition: one instruction on every processor with FMA
(x86 since 2013, ARM of 64 bits), a slow but equal call of the C library on others.
"""

import operator
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from memexp.compiled.layout import LANES

compiled = numba.njit(error_model="numpy")
"""Compile a function; a quotient by zero is infinite or none, as it is for torch, and not an error."""

inlined = numba.njit(inline="always", error_model="numpy")
"""The same for a function that is called in one place: compiling it by itself too would take time for nothing."""


class Vector(types.Type):
    """The type of a vector of `LANES` numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


class _Sizes:
    """What LLVM has to know of a kind of number."""

    def __init__(self, dtype: types.Float) -> None:
        double = dtype == types.float64
        self.vector = ir.VectorType(ir.DoubleType() if double else ir.FloatType(), LANES)
        self.bits = ir.VectorType(ir.IntType(64 if double else 32), LANES)
        self.bytes = 8 if double else 4
        self.mantissa, self.bias = (52, 1023) if double else (23, 127)

    def integer(self, value: int) -> ir.Constant:
        return ir.Constant(self.bits, [value] * LANES)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, _Sizes(kind.dtype).vector)


def _fill(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """Put one number into every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _as_vector(context: Any, builder: Any, value: Any, kind: Any, vector: Vector) -> Any:
    """Return a vector as it is, and a number as a vector of it, rounded to the vector's kind of number."""
    if isinstance(kind, Vector):
        return value
    return _fill(builder, context.cast(builder, value, kind, vector.dtype), _Sizes(vector.dtype).vector)


def _element(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


def _block(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    pointer = _Sizes(kind.dtype).vector.as_pointer()
    return builder.bitcast(_element(context, builder, kind, array, place), pointer)


@intrinsic
def load(typing: Any, array: Any, place: Any) -> Any:
    """Return array[place : place + LANES] of a flat array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = builder.load(_block(context, builder, signature.args[0], *arguments))
        vector.align = _Sizes(array.dtype).bytes
        return vector

    return Vector(array.dtype)(array, types.intp), code


@intrinsic
def store(typing: Any, array: Any, place: Any, vector: Any) -> Any:
    """Set array[place : place + LANES] of a flat array."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        store = builder.store(arguments[2], _block(context, builder, signature.args[0], *arguments[:2]))
        store.align = _Sizes(array.dtype).bytes
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), code


@intrinsic
def spread(typing: Any, array: Any, place: Any) -> Any:
    """Return a vector of array[place] in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = builder.load(_element(context, builder, signature.args[0], *arguments))
        return _fill(builder, number, _Sizes(array.dtype).vector)

    return Vector(array.dtype)(array, types.intp), code


@intrinsic
def full(typing: Any, like: Any, number: Any) -> Any:
    """Return a vector of a number in every lane, of the same kind as another vector."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _as_vector(context, builder, arguments[1], signature.args[1], like)

    return like(like, number), code


def _call(builder: Any, name: str, kind: Any, arguments: list[Any]) -> Any:
    """Call LLVM's own operation of that name on vectors."""
    whole = f"llvm.{name}.v{LANES}f{8 * kind.bytes}"
    signature = ir.FunctionType(kind.vector, [kind.vector] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, whole), arguments)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once; one or two of the three may be numbers."""
    vector = next(kind for kind in (a, b, c) if isinstance(kind, Vector))

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = zip(arguments, signature.args, strict=True)
        vectors = [_as_vector(context, builder, value, kind, vector) for value, kind in given]
        return _call(builder, "fma", _Sizes(vector.dtype), vectors)

    return vector(a, b, c), code


@intrinsic
def root(typing: Any, vector: Any) -> Any:
    """Return the square root."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "sqrt", _Sizes(vector.dtype), list(arguments))

    return vector(vector), code


def _limit(comparison: str) -> Any:
    @intrinsic
    def limit(typing: Any, vector: Any, number: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            bound = _as_vector(context, builder, arguments[1], signature.args[1], vector)
            beyond = builder.fcmp_ordered(comparison, arguments[0], bound)
            return builder.select(beyond, bound, arguments[0])

        return vector(vector, number), code

    return limit


@intrinsic
def if_above_0(typing: Any, vector: Any, given: Any) -> Any:
    """Return the given number where that of the first vector is above 0, or none (NaN); else 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(_Sizes(vector.dtype).vector, [0.0] * LANES)
        return builder.select(builder.fcmp_unordered(">", arguments[0], zero), arguments[1], zero)

    return vector(vector, given), code


at_most, at_least = _limit(">"), _limit("<")
"""The smaller, and the larger, of each number and a bound; what is no number (NaN) stays none."""


@intrinsic
def power_of_two(typing: Any, vector: Any) -> Any:
    """Return 2^n for vectors that hold 1.5 * 2^(bits of the mantissa) + n: the last bits are the integer n then."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _Sizes(vector.dtype)
        bits = builder.add(builder.bitcast(arguments[0], kind.bits), kind.integer(kind.bias))
        return builder.bitcast(builder.shl(bits, kind.integer(kind.mantissa)), kind.vector)

    return vector(vector), code


@intrinsic
def exponent(typing: Any, vector: Any) -> Any:
    """Return n of x = m 2^n with 2/3 <= m < 4/3, for numbers above 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = _Sizes(vector.dtype)
        third = (1 << kind.mantissa) // 3  # the mantissa of 4/3: from there on n is one more
        bits = builder.add(builder.bitcast(arguments[0], kind.bits), kind.integer((1 << kind.mantissa) - third))
        shifted = builder.ashr(bits, kind.integer(kind.mantissa))
        return builder.sitofp(builder.sub(shifted, kind.integer(kind.bias)), kind.vector)

    return vector(vector), code


def _make_operator(python: Callable[..., Any], instruction: str) -> None:
    @type_callable(python)
    def _(typing: Any) -> Callable[[Any, Any], Vector | None]:
        def result(a: Any, b: Any) -> Vector | None:
            return next((kind for kind in (a, b) if isinstance(kind, Vector)), None)

        return result

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = zip(arguments, signature.args, strict=True)
        vectors = [_as_vector(context, builder, value, kind, signature.return_type) for value, kind in given]
        return getattr(builder, instruction)(*vectors)

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(python, *kinds)(code)


for _python, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _make_operator(getattr(operator, _python), _instruction)


@type_callable(operator.neg)
def _(typing: Any) -> Callable[[Any], Vector | None]:
    return lambda a: a if isinstance(a, Vector) else None


@lower_builtin(operator.neg, Vector)
def _negative(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.fneg(arguments[0])
