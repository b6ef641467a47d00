"""Arithmetic that is the same to the bit on every device."""

from __future__ import annotations

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
