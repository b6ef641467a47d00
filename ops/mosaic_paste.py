"""Paste a resized picture into a region of a canvas: the step that mosaics and zooms are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import clamped
from ops._check import describe
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel


@njit(nogil=True, cache=True)
def _between(position, start, scale, size):  # type: ignore[no-untyped-def]
    """The two neighbours of an output pixel's centre and the weight of the second."""
    at = clamped((position + 0.5 - start) / scale - 0.5, 0.0, size - 1.0)
    return int(at), min(int(at) + 1, size - 1), np.float32(at - int(at))


_SIGNATURE = (
    "void(Array(uint8, 3, 'C', readonly=True), uint8[:,:,::1], float64, float64, float64, float64,"
    " int64, int64, int64, int64)"
)


@kernel(_SIGNATURE, fastmath=True)
def _paste(image, canvas, scale_y, scale_x, top, left, y0, x0, y1, x1):  # type: ignore[no-untyped-def]
    height, width = image.shape[0], image.shape[1]
    first = np.empty(x1 - x0, np.uint32)
    second = np.empty(x1 - x0, np.uint32)
    weight = np.empty(x1 - x0, np.float32)
    for x in range(x0, x1):
        i, j, weight[x - x0] = _between(x, left, scale_x, width)
        first[x - x0], second[x - x0] = 3 * i, 3 * j
    for y in range(y0, y1):
        a, b, wy = _between(y, top, scale_y, height)
        upper, lower = image[a].reshape(width * 3), image[b].reshape(width * 3)
        row = canvas[y].reshape(canvas.shape[1] * 3)
        for x in range(x1 - x0):
            for c in range(3):
                i, j = first[x] + np.uint32(c), second[x] + np.uint32(c)
                p = upper[i] + wy * (np.float32(lower[i]) - np.float32(upper[i]))
                q = upper[j] + wy * (np.float32(lower[j]) - np.float32(upper[j]))
                row[3 * (x0 + x) + c] = np.uint8(p + weight[x] * (q - p) + np.float32(0.5))


@cuda_kernel(_SIGNATURE, block=(32, 8))
def _twin(image, canvas, scale_y, scale_x, top, left, y0, x0, y1, x1):  # type: ignore[no-untyped-def]
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for y in range(y0 + from_y, y1, step_y):
        a, b, wy = _between(y, top, scale_y, image.shape[0])
        for x in range(x0 + from_x, x1, step_x):
            i, j, wx = _between(x, left, scale_x, image.shape[1])
            for c in range(3):
                upper, right = np.float32(image[a, i, c]), np.float32(image[a, j, c])
                p = upper + wy * (np.float32(image[b, i, c]) - upper)
                q = right + wy * (np.float32(image[b, j, c]) - right)
                canvas[y, x, c] = np.uint8(p + wx * (q - p) + np.float32(0.5))


def _two(values: Any, name: str, expected: str, least: float) -> tuple[float, float]:
    try:
        y, x = map(float, values)
    except (TypeError, ValueError):
        y = x = math.nan
    if not (math.isfinite(y) and math.isfinite(x) and min(y, x) >= least):
        raise ValueError(f"{name}: expected {expected}, got {values!r}")
    return y, x


def mosaic_paste(
    image: Any,
    canvas: NDArray[np.uint8],
    *,
    scale: tuple[float, float],
    offset: tuple[float, float],
    region: tuple[int, int, int, int] | None = None,
) -> tuple[int, int, int, int]:
    """Resize a picture bilinearly and write it into a canvas, in place.

    Args:
        image: uint8 [H, W, 3].
        canvas: uint8 [h, w, 3], written in place.
        scale: (y, x) canvas pixels per picture pixel.
        offset: (top, left) of the picture's corner on the canvas, in canvas pixels; may lie outside.
        region: (y0, x0, y1, x1) of the canvas that may be written; the whole canvas if not given.

    Returns:
        (y0, x0, y1, x1) of what was written: the picture clipped to the region; the rest is left as it was.

    Takes device arrays too; a value that lies half-way between two grey levels may be rounded the other way there.
    """
    memory = memory_of(image=image, canvas=canvas)
    picture = memory.array(image, "image", np.uint8, ("H", "W", 3))
    if 0 in picture.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {tuple(picture.shape)}")
    if len(np.shape(canvas)) != 3 or np.shape(canvas)[2] != 3:
        raise ValueError(f"canvas: expected a uint8 array of shape [h, w, 3], got {describe(canvas)}")
    target = memory.output(canvas, np.uint8, tuple(np.shape(canvas)), "canvas")
    if memory.shared(picture, target):
        raise ValueError("canvas: expected memory of its own, got one that shares memory with the image")
    high, wide = _two(scale, "scale", "two positive numbers", least=math.ulp(0))
    top, left = _two(offset, "offset", "two finite numbers", least=-math.inf)
    y0, x0, y1, x1 = region or (0, 0, target.shape[0], target.shape[1])
    y0, x0 = max(y0, 0, round(top)), max(x0, 0, round(left))
    y1 = min(y1, target.shape[0], round(top + picture.shape[0] * high))
    x1 = min(x1, target.shape[1], round(left + picture.shape[1] * wide))
    if y1 <= y0 or x1 <= x0:
        return y0, x0, y0, x0
    settings = high, wide, top, left, y0, x0, y1, x1
    if memory.on_device:
        memory.launch(_twin, (x1 - x0, y1 - y0), picture, target, *settings)
    else:
        _paste(picture, target, *settings)
    return y0, x0, y1, x1
