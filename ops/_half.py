"""float16 on the CPU, by bits: numba writes none there, and NumPy's own conversion takes one number at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._kernel import kernel

_U = np.uint32


@njit(nogil=True, cache=True)
def _half_bits(bits):  # type: ignore[no-untyped-def]
    """The bits of the float16 nearest to a float32 (given as bits), the even one of two; too large is infinite."""
    size = bits & _U(0x7FFFFFFF)
    normal = (size - _U(0x38000000) + _U(0xFFF) + ((size >> _U(13)) & _U(1))) >> _U(13)
    # Below 2**-14 float16 counts in steps of 2**-24.
    shift = min(_U(126) - min(size >> _U(23), _U(112)), _U(31))
    whole = (size & _U(0x7FFFFF)) | _U(0x800000)
    small = (whole + (_U(1) << (shift - _U(1))) - _U(1) + ((whole >> shift) & _U(1))) >> shift
    large = _U(0x7E00) if size > _U(0x7F800000) else _U(0x7C00)
    found = large if size >= _U(0x47800000) else (small if size < _U(0x38800000) else normal)
    return np.uint16(((bits >> _U(16)) & _U(0x8000)) | found)


@kernel("void(Array(uint32, 3, 'C', readonly=True), uint16[:,:,::1], int64, int64, int64, int64)")
def _convert(bits, out, y0, y1, x0, x1):  # type: ignore[no-untyped-def]
    for plane in range(out.shape[0]):
        for y in range(y0, y1):
            source, target = bits[plane, y, x0:x1], out[plane, y, x0:x1]
            for x in range(target.size):
                target[x] = _half_bits(source[x])


def to_half(
    values: NDArray[np.float32], out: NDArray[np.float16], region: tuple[int, int, int, int] | None = None
) -> None:
    """Write float32 [P, H, W] as float16 [P, H, W], C-contiguous both; of each plane only (y0, x0, y1, x1) if given."""
    y0, x0, y1, x1 = region or (0, 0, *out.shape[1:])
    _convert(values.view(np.uint32), out.view(np.uint16), y0, y1, x0, x1)


def float_dtype(dtype: Any) -> Any:
    """Return float32 or float16 as NumPy's dtype, or raise ``TypeError``."""
    found = np.dtype(dtype)
    if found not in (np.float32, np.float16):
        raise TypeError(f"dtype: expected float32 or float16, got {found}")
    return found
