"""Sixty-four bytes of a row as the bits of a word: packed, counted and found by the processor's own instructions.

numba has no functions for them; they are LLVM's, so whatever processor numba compiles for has its own form of them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BYTES = ir.VectorType(ir.IntType(8), 64)


def _packed(context, row, start):  # type: ignore[no-untyped-def]
    """Bit ``k`` is set where ``row[start + k]`` is not zero; all 64 bytes must be the row's."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place: Any = builder.bitcast(builder.gep(data, [arguments[1]]), _BYTES.as_pointer())
        zero = ir.Constant(_BYTES, [0] * 64)
        return builder.bitcast(builder.icmp_unsigned("!=", builder.load(place, align=1), zero), ir.IntType(64))

    return types.uint64(row, start), generate


def _ones(context, word):  # type: ignore[no-untyped-def]
    """How many bits of an uint64 are set."""
    return types.int64(types.uint64), lambda _context, builder, _signature, arguments: builder.ctpop(arguments[0])


def _lowest(context, word):  # type: ignore[no-untyped-def]
    """The index of the lowest bit that is set of an uint64, which must not be 0."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


packed: Any = intrinsic(_packed)
ones: Any = intrinsic(_ones)
lowest: Any = intrinsic(_lowest)
