"""Boxes found in a network's input, back in the pixels of the picture that it was made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import clamped
from ops._check import height_and_width
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel
from ops.letterbox import Placement


@njit(nogil=True, cache=True, inline="always")
def to_picture(value, offset, scale, size):  # type: ignore[no-untyped-def]
    """One coordinate of the input as one of the picture, clipped to it; the inverse of `Placement`."""
    return clamped((value - offset) / scale, 0.0, size)


_SIGNATURE = (
    "void(Array(float32, 2, 'C', readonly=True), float64, float64, float64, float64, float64, float64, float32[:,::1])"
)


@kernel(_SIGNATURE)
def _serial(boxes, scale_y, scale_x, top, left, height, width, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        for k in range(0, 4, 2):
            out[i, k] = to_picture(boxes[i, k], left, scale_x, width)
            out[i, k + 1] = to_picture(boxes[i, k + 1], top, scale_y, height)


@cuda_kernel(_SIGNATURE)
def _twin(boxes, scale_y, scale_x, top, left, height, width, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        for k in range(0, 4, 2):
            out[i, k] = to_picture(boxes[i, k], left, scale_x, width)
            out[i, k + 1] = to_picture(boxes[i, k + 1], top, scale_y, height)


def boxes_to_picture(
    boxes: Any, placement: Placement, image_size: tuple[int, int], *, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Map boxes of a network's input to the picture, and clip them to it.

    Args:
        boxes: float32 [N, 4], xyxy in pixels of the input.
        placement: where `letterbox` or `resize_normalize` put the picture.
        image_size: (height, width) of the picture.
        out: float32 [N, 4] to write into; may be ``boxes``.

    Returns:
        float32 [N, 4], xyxy in pixels of the picture: ``(x - left) / scale_x`` brought into 0 to its width, likewise
        for y. NaN stays NaN. `decode_detections` does the same to each box. Takes device arrays too.
    """
    memory = memory_of(boxes=boxes, out=out)
    inputs = memory.array(boxes, "boxes", np.float32, ("N", 4))
    scale_y, scale_x, top, left = map(float, placement)
    if not all(map(math.isfinite, (scale_y, scale_x, top, left))) or min(scale_y, scale_x) <= 0:
        raise ValueError(f"placement: expected finite numbers, the scales positive, got {placement!r}")
    height, width = height_and_width(image_size, "image_size")
    target: NDArray[np.float32] = memory.output(out, np.float32, tuple(inputs.shape))
    settings = scale_y, scale_x, top, left, float(height), float(width)
    if memory.on_device:
        memory.launch(_twin, inputs.shape[0], inputs, *settings, target)
    else:
        _serial(inputs, *settings, target)
    return target
