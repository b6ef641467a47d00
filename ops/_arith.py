"""Arithmetic that is the same to the bit on every device."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, inline="always")
def lower_of(a, b):  # type: ignore[no-untyped-def]
    """The lower number, ``a`` unless ``b`` is below it: what `min` does on the CPU, where on a GPU it drops a NaN."""
    return b if b < a else a


@njit(nogil=True, cache=True, inline="always")
def higher_of(a, b):  # type: ignore[no-untyped-def]
    """The higher number, ``a`` unless ``b`` is above it."""
    return b if b > a else a


@njit(nogil=True, cache=True, inline="always")
def clamped(value, low, high):  # type: ignore[no-untyped-def]
    """``value`` brought into ``low`` to ``high``; a NaN stays one."""
    return lower_of(higher_of(value, low), high)


@njit(nogil=True, cache=True, inline="always")
def blend(a, b, weight):  # type: ignore[no-untyped-def]
    """``a`` moved towards ``b``; ``a`` itself where ``b`` has no weight, whatever ``b`` is."""
    return a + weight * (b - a) if weight != 0 else a


_WHOLE = np.float32(1.5 * 2**23)


@njit(nogil=True, cache=True, inline="always")
def whole_of(value):  # type: ignore[no-untyped-def]
    """The nearest whole number of a float32 below 2**22, halves to even: so far up there is no room for a fraction."""
    return (value + _WHOLE) - _WHOLE


@njit(nogil=True, cache=True)
def position_of(x, scale, offset, size):  # type: ignore[no-untyped-def]
    """The sample below a point's centre, on an axis of ``size`` samples at half coordinates, and the next one's weight.

    Outside the first and the last sample these two go on.
    """
    at = clamped((x + 0.5) * scale + offset - 0.5, 0.0, size - 1.0)
    return int(at), np.float32(at - int(at))


@njit(nogil=True, cache=True, inline="always")
def exp32(t):  # type: ignore[no-untyped-def]
    """exp of a float32 in -87..87 to 2e-7, as a polynomial: that the compiler vectorises, libm's it cannot."""
    # Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    shifted = t * np.float32(1.4426950408889634) + np.float32(12582912.0)
    whole = shifted - np.float32(12582912.0)
    # ln 2 in two pieces, the first exact in few bits; a minimax fit of exp on |r| <= ln(2) / 2.
    r = t - whole * np.float32(0.693359375)
    r = r + whole * np.float32(2.12194440e-4)
    p = np.float32(8.312501013e-3)
    p = p * r + np.float32(4.189033061e-2)
    p = p * r + np.float32(1.666711569e-1)
    p = p * r + np.float32(4.999923110e-1)
    p = p * (r * r) + r + np.float32(1.0)
    return p * np.int32((np.float32(shifted).view(np.int32) << 23) + 0x3F800000).view(np.float32)
