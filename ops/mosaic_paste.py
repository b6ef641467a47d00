"""Paste a resized picture into a region of a canvas: the step that mosaics and zooms are made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._check import host_array, output_array
from ops._kernel import kernel


@kernel(
    "void(Array(uint8, 3, 'C', readonly=True), uint8[:,:,::1], float64, float64, float64, float64,"
    " int64, int64, int64, int64)",
    fastmath=True,
)
def _paste(image, canvas, scale_y, scale_x, top, left, y0, x0, y1, x1):  # type: ignore[no-untyped-def]
    height, width = image.shape[0], image.shape[1]
    first = np.empty(x1 - x0, np.uint32)
    second = np.empty(x1 - x0, np.uint32)
    weight = np.empty(x1 - x0, np.float32)
    for x in range(x0, x1):
        at = min(max((x + 0.5 - left) / scale_x - 0.5, 0.0), width - 1.0)
        first[x - x0] = 3 * int(at)
        second[x - x0] = 3 * min(int(at) + 1, width - 1)
        weight[x - x0] = at - int(at)
    for y in range(y0, y1):
        at = min(max((y + 0.5 - top) / scale_y - 0.5, 0.0), height - 1.0)
        upper = image[int(at)].reshape(width * 3)
        lower = image[min(int(at) + 1, height - 1)].reshape(width * 3)
        wy = np.float32(at - int(at))
        row = canvas[y].reshape(canvas.shape[1] * 3)
        for x in range(x1 - x0):
            for c in range(3):
                i, j = first[x] + np.uint32(c), second[x] + np.uint32(c)
                a = upper[i] + wy * (np.float32(lower[i]) - np.float32(upper[i]))
                b = upper[j] + wy * (np.float32(lower[j]) - np.float32(upper[j]))
                row[3 * (x0 + x) + c] = np.uint8(a + weight[x] * (b - a) + np.float32(0.5))


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
    """
    picture = host_array(image, "image", np.uint8, ("H", "W", 3))
    target = output_array(canvas, np.uint8, np.shape(canvas), "canvas")
    if 0 in picture.shape or target.ndim != 3 or target.shape[2] != 3:
        raise ValueError(f"expected uint8 [H, W, 3] with pixels, got image {picture.shape} and canvas {target.shape}")
    if np.may_share_memory(picture, target):  # exact here: both are contiguous
        raise ValueError("canvas: expected memory of its own, got one that shares memory with the image")
    if not all(math.isfinite(s) and s > 0 for s in scale):
        raise ValueError(f"scale: expected two positive numbers, got {scale!r}")
    if not all(map(math.isfinite, offset)):
        raise ValueError(f"offset: expected two finite numbers, got {offset!r}")
    top, left = offset
    y0, x0, y1, x1 = region or (0, 0, target.shape[0], target.shape[1])
    y0, x0 = max(y0, 0, round(top)), max(x0, 0, round(left))
    y1 = min(y1, target.shape[0], round(top + picture.shape[0] * scale[0]))
    x1 = min(x1, target.shape[1], round(left + picture.shape[1] * scale[1]))
    if y1 <= y0 or x1 <= x0:
        return y0, x0, y0, x0
    _paste(picture, target, float(scale[0]), float(scale[1]), float(top), float(left), y0, x0, y1, x1)
    return y0, x0, y1, x1
