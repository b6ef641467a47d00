"""Stretch a picture, or a region of it, to a size, normalise it and lay it out for a network, in one pass.

`letterbox` keeps the ratio and pads; this fills the whole size, and averages what it shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._blending import SPARE, blend_columns
from ops._check import height_and_width
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller
from ops.letterbox import _KEPT, _PARALLEL_PIXELS, _REVERSED, Placement, _normalisation

_compiled = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


@_compiled
def _support(ratio, antialias):  # type: ignore[no-untyped-def]
    """Half the width of an output pixel's triangle, in source pixels."""
    return max(ratio, 1.0) if antialias else 1.0


@_compiled
def _window_size(ratio, size, antialias):  # type: ignore[no-untyped-def]
    return min(size, math.ceil(2.0 * _support(ratio, antialias)))


@_compiled
def _window(centre, support, size, count):  # type: ignore[no-untyped-def]
    """The first source pixel of an output pixel's window, and what its weights add up to."""
    low = max(0, min(math.floor(centre - support - 0.5) + 1, size - count))
    total = 0.0
    for k in range(count):
        total += _triangle(low + k, centre, support)
    return low, total


@_compiled
def _triangle(pixel, centre, support):  # type: ignore[no-untyped-def]
    return max(0.0, 1.0 - abs(pixel + 0.5 - centre) / support)


@_compiled
def _taps(start, extent, out_size, size, antialias):  # type: ignore[no-untyped-def]
    """Along one axis: the first source pixel of each output pixel, and the weights of it and those after it.

    A triangle around the output pixel's centre, two output pixels wide (two source pixels where it magnifies or is not
    to average), cut at the picture's border and brought to the sum of 1. All windows have one length and lie within
    the picture; what the triangle does not reach has weight 0.
    """
    ratio = extent / out_size
    support, count = _support(ratio, antialias), _window_size(ratio, size, antialias)
    first, weight = np.empty(out_size, np.int64), np.empty((out_size, count), np.float32)
    for position in range(out_size):
        centre = start + (position + 0.5) * ratio
        low, total = _window(centre, support, size, count)
        for k in range(count):
            weight[position, k] = _triangle(low + k, centre, support) / total
        first[position] = low
    return first, weight


@_compiled
def _line(image, y, begin, end):  # type: ignore[no-untyped-def]
    """Bytes ``begin`` to ``end`` of a row, which is three to a pixel."""
    return image[y].reshape(image.shape[1] * 3)[begin:end]


@_compiled
def _blend_rows(image, top, weight, begin, end, blended):  # type: ignore[no-untyped-def]
    """Write the weighted sum of neighbouring rows. Up to four rows at a time, so that the sum is loaded seldom."""
    taps = weight.size
    a, b = _line(image, top, begin, end), _line(image, top + min(1, taps - 1), begin, end)
    wa, wb = weight[0], weight[1] if taps > 1 else np.float32(0.0)
    for i in range(blended.size):
        blended[i] = wa * np.float32(a[i]) + wb * np.float32(b[i])
    k = 2
    while k + 4 <= taps:
        a, b = _line(image, top + k, begin, end), _line(image, top + k + 1, begin, end)
        c, d = _line(image, top + k + 2, begin, end), _line(image, top + k + 3, begin, end)
        wa, wb, wc, wd = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        for i in range(blended.size):
            upper = wa * np.float32(a[i]) + wb * np.float32(b[i])
            blended[i] += upper + (wc * np.float32(c[i]) + wd * np.float32(d[i]))
        k += 4
    for last in range(k, taps):
        a, wa = _line(image, top + last, begin, end), weight[last]
        for i in range(blended.size):
            blended[i] += wa * np.float32(a[i])


# Unsigned and 64 bits wide, or numba looks at every index for a negative one and LLVM for an overflow.
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@_compiled
def _blend_columns(blended, first, weight, gains, shifts, row0, row1, row2):  # type: ignore[no-untyped-def]
    (g0, g1, g2), (s0, s1, s2) = gains, shifts
    for x in range(first.size):
        i = np.uint64(first[x])
        v0 = v1 = v2 = np.float32(0.0)
        for k in range(weight.shape[1]):
            w = weight[x, k]
            v0 += w * blended[i]
            v1 += w * blended[i + _1]
            v2 += w * blended[i + _2]
            i += _3
        row0[x], row1[x], row2[x] = v0 * g0 + s0, v1 * g1 + s1, v2 * g2 + s2


@_compiled
def _rows(image, from_y, to_y, first_y, weight_y, first_x, weight_x, order, gain, shift, out):  # type: ignore[no-untyped-def]
    """Write some rows of the result: rows are blended first, as they vectorise and leave fewer columns to blend."""
    begin, end = 3 * first_x[0], 3 * (first_x[-1] + weight_x.shape[1])
    at = np.empty(first_x.size, np.uint32)
    for x in range(at.size):
        at[x] = 3 * first_x[x] - begin
    blended = np.zeros(end - begin + SPARE, np.float32)
    second = weight_x[:, -1].copy()
    c0, c1, c2 = order[0], order[1], order[2]
    gains, shifts = (gain[c0], gain[c1], gain[c2]), (shift[c0], shift[c1], shift[c2])
    for y in range(from_y, to_y):
        _blend_rows(image, first_y[y], weight_y[y], begin, end, blended[: end - begin])
        if weight_x.shape[1] == 2:
            blend_columns(blended, at, second, gains, shifts, out[c0, y], out[c1, y], out[c2, y])
        else:
            _blend_columns(blended, at, weight_x, gains, shifts, out[c0, y], out[c1, y], out[c2, y])


_SIGNATURE = (
    "void(Array(uint8, 3, 'C', readonly=True), float64, float64, float64, float64, boolean,"
    " int64[::1], float32[::1], float32[::1], float32[:,:,::1])"
)


@kernel(_SIGNATURE, fastmath=True)
def _serial(image, top, left, height, width, antialias, order, gain, shift, out):  # type: ignore[no-untyped-def]
    first_y, weight_y = _taps(top, height, out.shape[1], image.shape[0], antialias)
    first_x, weight_x = _taps(left, width, out.shape[2], image.shape[1], antialias)
    _rows(image, 0, out.shape[1], first_y, weight_y, first_x, weight_x, order, gain, shift, out)


@kernel(_SIGNATURE, parallel=True, fastmath=True)
def _parallel(image, top, left, height, width, antialias, order, gain, shift, out):  # type: ignore[no-untyped-def]
    first_y, weight_y = _taps(top, height, out.shape[1], image.shape[0], antialias)
    first_x, weight_x = _taps(left, width, out.shape[2], image.shape[1], antialias)
    chunk = 16
    for part in prange((out.shape[1] + chunk - 1) // chunk):
        to_y = min(out.shape[1], (part + 1) * chunk)
        _rows(image, part * chunk, to_y, first_y, weight_y, first_x, weight_x, order, gain, shift, out)


@cuda_kernel("void(float64, float64, int64, boolean, int64[::1], float32[:,::1])", block=32)
def _taps_twin(start, extent, size, antialias, first, weight):  # type: ignore[no-untyped-def]
    ratio = extent / first.size
    support, count = _support(ratio, antialias), weight.shape[1]
    for position in range(cuda.grid(1), first.size, cuda.gridsize(1)):
        centre = start + (position + 0.5) * ratio
        low, total = _window(centre, support, size, count)
        for k in range(count):
            weight[position, k] = _triangle(low + k, centre, support) / total
        first[position] = low


@cuda_kernel(
    "void(Array(uint8, 3, 'C', readonly=True), int64[::1], float32[:,::1], int64[::1], float32[:,::1],"
    " boolean, UniTuple(float32, 3), UniTuple(float32, 3), float32[:,:,::1])",
    block=(32, 8),
)
def _twin(image, first_y, weight_y, first_x, weight_x, swap, gain, shift, out):  # type: ignore[no-untyped-def]
    """One thread a pixel of the result, all channels; sums down the columns first, as the kernels for the CPU."""
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for y in range(from_y, out.shape[1], step_y):
        for x in range(from_x, out.shape[2], step_x):
            v0 = v1 = v2 = np.float32(0.0)
            for i in range(weight_x.shape[1]):
                u0 = u1 = u2 = np.float32(0.0)
                column = first_x[x] + i
                for j in range(weight_y.shape[1]):
                    row, w = first_y[y] + j, weight_y[y, j]
                    u0 += w * np.float32(image[row, column, 0])
                    u1 += w * np.float32(image[row, column, 1])
                    u2 += w * np.float32(image[row, column, 2])
                w = weight_x[x, i]
                v0, v1, v2 = v0 + w * u0, v1 + w * u1, v2 + w * u2
            out[0, y, x] = (v2 if swap else v0) * gain[0] + shift[0]
            out[1, y, x] = v1 * gain[1] + shift[1]
            out[2, y, x] = (v0 if swap else v2) * gain[2] + shift[2]


def _launch(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, picture, top, left, high, wide, antialias, swap, gain, shift, target
) -> None:
    _, height, width = target.shape
    taps = []
    for start, extent, size, count in ((top, high, picture.shape[0], height), (left, wide, picture.shape[1], width)):
        first = memory.empty(count, np.int64)
        weight = memory.empty((count, _window_size(extent / count, size, antialias)), np.float32)
        memory.launch(_taps_twin, count, start, extent, size, antialias, first, weight)
        taps += [first, weight]
    memory.launch(_twin, (width, height), picture, *taps, swap, tuple(gain), tuple(shift), target)


# A region in float32 corners may stick out of its picture by their rounding.
_ROUNDING = 1e-3


def within(region: Sequence[float] | None, height: int, width: int) -> tuple[float, float, float, float]:
    """Return (top, left, height, width) of the region, or raise ``ValueError`` if the picture does not hold it."""
    if region is None:
        return 0.0, 0.0, float(height), float(width)
    numbers = tuple(map(float, region))
    if len(numbers) == 4 and all(map(math.isfinite, numbers)):
        top, left, high, wide = numbers
        inside = min(top, left, height - top - high, width - left - wide) >= -_ROUNDING
        if inside and min(high, wide) > 0:
            return top, left, high, wide
    raise ValueError(
        f"region: expected (top, left, height, width) within the picture of {height} x {width}, got {tuple(region)}"
    )


def resize_normalize(
    image: Any,
    size: tuple[int, int],
    *,
    region: Sequence[float] | None = None,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    swap_channels: bool = False,
    antialias: bool = True,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Placement]:
    """Stretch a picture, or a region of it, to ``size``: bilinear resize, normalise, HWC to CHW.

    Args:
        image: uint8 [H, W, 3], any channel order.
        size: (height, width) of the result.
        region: (top, left, height, width) in pixels of the picture, within it, whole or fractional; the whole picture
            if not given.
        mean, std: per output channel, in grey levels: ``(value - mean) / std``.
        swap_channels: write the channels in reverse order (RGB to BGR).
        antialias: where it shrinks, average all pixels under a triangle two output pixels wide, as Pillow's
            ``BILINEAR`` does; otherwise always blend the two nearest ones.
        out: float32 [3, h, w] to write into.

    Returns:
        float32 [3, h, w] and the `Placement` that maps picture coordinates to input coordinates.

    Pixel centres lie at half coordinates. Pixels beside the region but within the picture count; beyond the picture
    there are none. The result is not rounded to whole grey levels and stays within 1 of Pillow's. Cost: two reads of
    the rows under the region, and two multiplications per column of it, channel and output row. Takes device arrays
    too.
    """
    memory = memory_of(image=image, out=out)
    picture = memory.array(image, "image", np.uint8, ("H", "W", 3))
    if 0 in picture.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {picture.shape}")
    height, width = height_and_width(size, "size")
    top, left, high, wide = within(region, picture.shape[0], picture.shape[1])
    gain, shift, _ = _normalisation(tuple(mean), tuple(std), 0)
    target: NDArray[np.float32] = memory.output(out, np.float32, (3, height, width))
    settings = picture, top, left, high, wide, bool(antialias)
    if memory.on_device:
        _launch(memory, *settings, bool(swap_channels), gain, shift, target)
    else:
        large = high * wide + height * width > _PARALLEL_PIXELS
        run = _parallel if large and lone_caller() else _serial
        run(*settings, _REVERSED if swap_channels else _KEPT, gain, shift, target)
    scale_y, scale_x = height / high, width / wide
    return target, Placement(scale_y, scale_x, 0.0 - top * scale_y, 0.0 - left * scale_x)
