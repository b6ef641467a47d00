"""Boxes cut to their picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._arith import clamped
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel

_SIGNATURE = "void(Array(float32, 2, 'C', readonly=True), float32, float32, float32[:,::1])"


@kernel(_SIGNATURE)
def _clip(boxes, height, width, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        for side in range(4):
            limit = height if side & 1 else width
            out[i, side] = clamped(boxes[i, side], np.float32(0.0), limit)


@cuda_kernel(_SIGNATURE)
def _twin(boxes, height, width, out):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), 4 * boxes.shape[0], cuda.gridsize(1)):
        i, side = k // 4, k % 4
        limit = height if side & 1 else width
        out[i, side] = clamped(boxes[i, side], np.float32(0.0), limit)


def clip_boxes(boxes: Any, image_size: tuple[float, float], *, out: Any = None) -> NDArray[np.float32]:
    """Clip boxes to a picture.

    Args:
        boxes: float32 [N, 4], xyxy, pixels.
        image_size: (height, width) of the picture, at least 0.
        out: float32 [N, 4] to write into; may be ``boxes`` itself.

    Returns:
        float32 [N, 4]: x in 0..width, y in 0..height. A box that lies wholly beside the picture loses its area and
        stays, so that rows keep their places; NaN stays NaN. Takes device arrays too.
    """
    try:
        height, width = map(float, image_size)
    except (TypeError, ValueError):
        height = width = math.nan
    if not (0 <= height < math.inf and 0 <= width < math.inf):
        raise ValueError(f"image_size: expected (height, width), finite and at least 0, got {image_size!r}")
    memory = memory_of(boxes=boxes, out=out)
    array = memory.array(boxes, "boxes", np.float32, ("N", 4))
    result: NDArray[np.float32] = memory.output(out, np.float32, tuple(array.shape))
    limits = np.float32(height), np.float32(width)
    if memory.on_device:
        memory.launch(_twin, 4 * array.shape[0], array, *limits, result)
    else:
        _clip(array, *limits, result)
    return result
