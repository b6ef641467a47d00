"""Blending two rows of pixels into one, and the columns of a row into planes, in LLVM's own vectors.

LLVM's loop vectoriser makes vectors of the rows that are half as wide as the processor's, and scalar code of the
columns, as a pixel's three numbers and its neighbour's lie together. Here a pixel is four numbers, of which the last
is ignored, two pixels are a vector, and four of those are turned into a vector for each plane. The instructions are
those of whatever processor numba compiles for; it cuts what is wider than its own vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# A row handed to `blend_columns` has so many numbers more than its pixels: the right neighbour of the last one, and
# the fourth number of that.
SPARE = 4

_BYTE, _INDEX, _WIDE = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_FUSED = ("contract",)


def _floats(lanes: int) -> Any:
    return ir.VectorType(ir.FloatType(), lanes)


def _pick(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """The lanes of ``b`` are counted on from those of ``a``."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, len(lanes)), list(lanes)))


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    one = builder.insert_element(ir.Constant(_floats(lanes), ir.Undefined), value, ir.Constant(_INDEX, 0))
    return _pick(builder, one, one, [0] * lanes)


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _between(builder: Any, near: Any, far: Any, share: Any) -> Any:
    return _fused(builder, share, builder.fsub(far, near, flags=_FUSED), near)


def _at(builder: Any, pointer: Any, index: Any, vector: Any) -> Any:
    """A vector of numbers from an index on, wherever that lies."""
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


@intrinsic  # type: ignore[misc]
def _blend_sixteen(context, upper, lower, share, i, blended):  # type: ignore[no-untyped-def]
    """Write numbers ``i`` to ``i + 15`` of ``blended``, as `blend_rows` defines them."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def here(k: int, vector: Any) -> Any:
            data = context.make_array(signature.args[k])(context, builder, arguments[k]).data
            return _at(builder, data, arguments[3], vector)

        near, far = (builder.load(here(k, ir.VectorType(_BYTE, 16)), align=1) for k in (0, 1))
        near, far = (builder.zext(row, ir.VectorType(_INDEX, 16)) for row in (near, far))
        near, far = (builder.sitofp(row, _floats(16)) for row in (near, far))
        mixed = _between(builder, near, far, _splat(builder, arguments[2], 16))
        builder.store(mixed, here(4, _floats(16)), align=4)
        return context.get_dummy_value()

    return types.void(upper, lower, share, i, blended), generate


def _indices(builder: Any, data: Any, x: Any) -> list[Any]:
    """Eight numbers uint32 from ``x`` on, two a load, as there are more loads than anything else in the loop."""
    pairs = builder.bitcast(builder.gep(data, [x]), _WIDE.as_pointer())
    found = []
    for k in range(4):
        two = builder.load(builder.gep(pairs, [ir.Constant(_WIDE, k)]), align=4)
        found += [builder.zext(builder.trunc(two, _INDEX), _WIDE), builder.lshr(two, ir.Constant(_WIDE, 32))]
    return found


def _planes(builder: Any, pixels: list[Any]) -> list[Any]:
    """Pixels 0 and 4, 1 and 5, 2 and 6, 3 and 7 as a vector for each of their first three numbers."""
    a, b, c, d = pixels
    low, high = (0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)
    left, right = (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)
    low_ab, low_cd = _pick(builder, a, b, low), _pick(builder, c, d, low)
    high_ab, high_cd = _pick(builder, a, b, high), _pick(builder, c, d, high)
    found = ((low_ab, low_cd, left), (low_ab, low_cd, right), (high_ab, high_cd, left))
    return [_pick(builder, one, other, order) for one, other, order in found]


@intrinsic  # type: ignore[misc]
def _blend_eight(context, blended, first, weight, x, gains, shifts, row0, row1, row2):  # type: ignore[no-untyped-def]
    """Write pixels ``x`` to ``x + 7`` of the three rows, as `blend_columns` defines them."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def data(k: int) -> Any:
            return context.make_array(signature.args[k])(context, builder, arguments[k]).data

        def two(index: Any, other: Any, beyond: int) -> Any:
            """Two pixels, so many numbers after where these begin."""
            at = (builder.add(each, ir.Constant(_WIDE, beyond)) for each in (index, other))
            one, more = (builder.load(_at(builder, data(0), each, _floats(4)), align=4) for each in at)
            return _pick(builder, one, more, range(8))

        begin = _indices(builder, data(1), arguments[3])
        weights = builder.load(_at(builder, data(2), arguments[3], _floats(8)), align=4)
        pixels = []
        for k in range(4):
            share = _pick(builder, weights, weights, [k] * 4 + [k + 4] * 4)
            near, far = (two(begin[k], begin[k + 4], beyond) for beyond in (0, 3))
            pixels.append(_between(builder, near, far, share))
        for k, plane in enumerate(_planes(builder, pixels)):
            gain, shift = (_splat(builder, builder.extract_value(arguments[which], k), 8) for which in (4, 5))
            row = _at(builder, data(6 + k), arguments[3], _floats(8))
            builder.store(_fused(builder, plane, gain, shift), row, align=4)
        return context.get_dummy_value()

    return types.void(blended, first, weight, x, gains, shifts, row0, row1, row2), generate


_compiled = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


@_compiled
def blend_rows(upper, lower, share, blended):  # type: ignore[no-untyped-def]
    """``blended[i] = upper[i] + share * (lower[i] - upper[i])`` of uint8 [n], as float32 [n or more]."""
    size = upper.size
    if size >= 16:
        for i in range(0, size - 15, 16):
            _blend_sixteen(upper, lower, share, i, blended)  # type: ignore[call-arg]
        _blend_sixteen(upper, lower, share, size - 16, blended)  # type: ignore[call-arg]
    else:
        for i in range(size):
            near, far = np.float32(upper[i]), np.float32(lower[i])
            blended[i] = near + share * (far - near)


# Unsigned and 64 bits wide, or numba looks at every index for a negative one and LLVM for an overflow.
_1, _2, _3, _4, _5 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5)


@_compiled
def blend_columns(blended, first, weight, gains, shifts, row0, row1, row2):  # type: ignore[no-untyped-def]
    """``row[x] = (p + weight[x] * (q - p)) * gain + shift`` in each plane, of numbers ``p`` and ``q`` a pixel apart.

    ``blended`` is float32 [3 W + SPARE], ``first`` uint32 [w] says where a pixel begins in it, ``weight`` is
    float32 [w], ``gains`` and ``shifts`` are tuples of three float32, the rows float32 [w].
    """
    size = first.size
    if size >= 8:
        for x in range(0, size - 7, 8):
            _blend_eight(blended, first, weight, x, gains, shifts, row0, row1, row2)  # type: ignore[call-arg]
        _blend_eight(blended, first, weight, size - 8, gains, shifts, row0, row1, row2)  # type: ignore[call-arg]
    else:
        (g0, g1, g2), (s0, s1, s2) = gains, shifts
        for x in range(size):
            i, t = np.uint64(first[x]), weight[x]
            p0, p1, p2 = blended[i], blended[i + _1], blended[i + _2]
            q0, q1, q2 = blended[i + _3], blended[i + _4], blended[i + _5]
            row0[x] = (p0 + t * (q0 - p0)) * g0 + s0
            row1[x] = (p1 + t * (q1 - p1)) * g1 + s1
            row2[x] = (p2 + t * (q2 - p2)) * g2 + s2
