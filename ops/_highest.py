"""The highest of a row of numbers, and where it stands, sixteen at a time.

LLVM's loop vectoriser leaves such loops alone, as it may not assume that no number is NaN. Here the comparisons are
written in LLVM's own vectors, so their instructions are those of whatever processor numba compiles for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_LANES = 16
_INDEX = ir.IntType(32)
_NUMBERS, _PLACES = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(_INDEX, _LANES)


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_INDEX, 0))
    return builder.shuffle_vector(one, one, ir.Constant(_PLACES, [0] * _LANES))


def _half(builder: Any, vector: Any, which: int) -> Any:
    size = vector.type.count // 2
    lanes = [which * size + lane for lane in range(size)]
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(_INDEX, size), lanes))


def _folded(
    builder: Any, row: Any, start: Any, count: Any, begin: Any, block: Callable[[Any, Any], Any],
    join: Callable[[Any, Any], Any],
) -> Any:  # fmt: skip
    """Join what ``block(numbers, index)`` gives of all sixteens of ``count`` numbers, 16 or more, to one lane.

    The last sixteen come first, and some of them then once again.
    """

    def sixteen(index: Any) -> Any:
        place = builder.bitcast(builder.gep(row, [builder.add(start, index)]), _NUMBERS.as_pointer())
        return block(builder.load(place, align=4), index)

    last = builder.sub(count, ir.Constant(count.type, _LANES))
    found = cgutils.alloca_once_value(builder, join(sixteen(last), begin))  # type: ignore[no-untyped-call]
    step, zero = ir.Constant(count.type, _LANES), ir.Constant(count.type, 0)
    with cgutils.for_range_slice(builder, zero, last, step, count.type) as (index, _):
        builder.store(join(sixteen(index), builder.load(found)), found)
    vector = builder.load(found)
    while vector.type.count > 1:
        vector = join(_half(builder, vector, 0), _half(builder, vector, 1))
    return builder.extract_element(vector, ir.Constant(_INDEX, 0))


@intrinsic  # type: ignore[misc]
def _highest_of_lanes(context, row, start, count):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        lowest = ir.Constant(_NUMBERS, [float("-inf")] * _LANES)
        higher = lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b)  # noqa: E731
        return _folded(builder, data, arguments[1], arguments[2], lowest, lambda numbers, _: numbers, higher)

    return types.float32(row, start, count), generate


@intrinsic  # type: ignore[misc]
def _first_of_lanes(context, row, start, count, number):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        none = ir.Constant(_PLACES, [2**31 - 1] * _LANES)
        wanted = _splat(builder, arguments[3], _NUMBERS)

        def places(numbers: Any, index: Any) -> Any:
            own = _splat(builder, builder.trunc(index, _INDEX), _PLACES)
            own = builder.add(own, ir.Constant(_PLACES, list(range(_LANES))))
            return builder.select(builder.fcmp_ordered("==", numbers, wanted), own, none)

        lower = lambda a, b: builder.select(builder.icmp_signed("<", a, b), a, b)  # noqa: E731
        return _folded(builder, data, arguments[1], arguments[2], none, places, lower)

    return types.int32(row, start, count, number), generate


@njit(nogil=True, cache=True, inline="always")
def highest_number(row, start, count):  # type: ignore[no-untyped-def]
    """The highest of ``count`` numbers of a contiguous float32 row from ``start`` on; a NaN is passed over.

    -inf where there is none. Of 0 and -0 it may be either.
    """
    highest = np.float32(-np.inf)
    if count >= _LANES:
        highest = _highest_of_lanes(row, start, count)  # type: ignore[call-arg]
    else:
        for i in range(start, start + count):
            highest = row[i] if row[i] > highest else highest
    return highest


@njit(nogil=True, cache=True, inline="always")
def first_place(row, start, count, number):  # type: ignore[no-untyped-def]
    """Which of ``count`` numbers from ``start`` on is the first to equal ``number``, as one of them does."""
    place = 0
    if count >= _LANES:
        place = int(_first_of_lanes(row, start, count, number))  # type: ignore[call-arg]
    else:
        while row[start + place] != number:
            place += 1
    return place
