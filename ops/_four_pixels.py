"""Blending columns of a row of pixels, three numbers to each, and laying them out in planes: four pixels at a time.

LLVM's loop vectoriser makes scalar code of it, as a pixel's three numbers and its neighbour's lie together. Here a
pixel is one vector of four numbers, of which the last is ignored, and four of them are turned into a vector for each
plane. The instructions are LLVM's own vectors, so they are those of whatever processor numba compiles for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# A row handed to `blend_columns` has so many numbers more than its pixels: the right neighbour of the last one, and
# the fourth number of that.
SPARE = 4

_LANES = ir.VectorType(ir.FloatType(), 4)
_FUSED = ("contract",)


def _splat(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_LANES, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return _pick(builder, one, one, (0, 0, 0, 0))


def _pick(builder: Any, a: Any, b: Any, lanes: tuple[int, ...]) -> Any:
    """Lanes 0 to 3 are those of ``a``, 4 to 7 those of ``b``."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), 4), list(lanes)))


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)


def _at(builder: Any, pointer: Any, index: Any) -> Any:
    """Four numbers from an index on, wherever that lies."""
    return builder.bitcast(builder.gep(pointer, [index]), _LANES.as_pointer())


@intrinsic  # type: ignore[misc]
def _blend_four(context, blended, first, weight, x, gains, shifts, row0, row1, row2):  # type: ignore[no-untyped-def]
    """Write pixels ``x`` to ``x + 3`` of the three rows, as `blend_columns` defines them."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def data(k: int) -> Any:
            return context.make_array(signature.args[k])(context, builder, arguments[k]).data

        pixels = []
        for k in range(4):
            here = builder.add(arguments[3], ir.Constant(arguments[3].type, k))
            index = builder.load(builder.gep(data(1), [here]))
            near = builder.load(_at(builder, data(0), index), align=4)
            beyond = builder.add(index, ir.Constant(index.type, 3))
            far = builder.load(_at(builder, data(0), beyond), align=4)
            share = _splat(builder, builder.load(builder.gep(data(2), [here])))
            pixels.append(_fused(builder, share, builder.fsub(far, near, flags=_FUSED), near))
        a, b, c, d = pixels
        ab, cd = _pick(builder, a, b, (0, 4, 1, 5)), _pick(builder, c, d, (0, 4, 1, 5))
        last_ab, last_cd = _pick(builder, a, b, (2, 6, 2, 6)), _pick(builder, c, d, (2, 6, 2, 6))
        planes = (
            _pick(builder, ab, cd, (0, 1, 4, 5)), _pick(builder, ab, cd, (2, 3, 6, 7)),
            _pick(builder, last_ab, last_cd, (0, 1, 4, 5)),
        )  # fmt: skip
        for k, plane in enumerate(planes):
            gain, shift = (_splat(builder, builder.extract_value(arguments[which], k)) for which in (4, 5))
            builder.store(_fused(builder, plane, gain, shift), _at(builder, data(6 + k), arguments[3]), align=4)
        return context.get_dummy_value()

    return types.void(blended, first, weight, x, gains, shifts, row0, row1, row2), generate


# Unsigned and 64 bits wide, or numba looks at every index for a negative one and LLVM for an overflow.
_1, _2, _3, _4, _5 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5)


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def blend_columns(blended, first, weight, gains, shifts, row0, row1, row2):  # type: ignore[no-untyped-def]
    """``row[x] = (p + weight[x] * (q - p)) * gain + shift`` in each plane, of numbers ``p`` and ``q`` a pixel apart.

    ``blended`` is float32 [3 W + SPARE], ``first`` uint64 [w] says where a pixel begins in it, ``weight`` is
    float32 [w], ``gains`` and ``shifts`` are tuples of three float32, the rows float32 [w].
    """
    fours = first.size - first.size % 4
    for x in range(0, fours, 4):
        _blend_four(blended, first, weight, x, gains, shifts, row0, row1, row2)  # type: ignore[call-arg]
    (g0, g1, g2), (s0, s1, s2) = gains, shifts
    for x in range(fours, first.size):
        i, t = first[x], weight[x]
        p0, p1, p2 = blended[i], blended[i + _1], blended[i + _2]
        q0, q1, q2 = blended[i + _3], blended[i + _4], blended[i + _5]
        row0[x] = (p0 + t * (q0 - p0)) * g0 + s0
        row1[x] = (p1 + t * (q1 - p1)) * g1 + s1
        row2[x] = (p2 + t * (q2 - p2)) * g2 + s2
