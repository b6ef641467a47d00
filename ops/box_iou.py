"""Intersection over union of every box of one set with every box of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel, lone_caller


@njit(nogil=True, cache=True, inline="always")
def iou_of(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """IoU of two boxes of one float type; a box that is empty or inverted has IoU 0 with every other."""
    width = lower_of(ax2, bx2) - higher_of(ax1, bx1)
    height = lower_of(ay2, by2) - higher_of(ay1, by1)
    if width <= 0 or height <= 0:
        return np.float32(0.0)
    # In float64, as an area of float32 sides can overflow and, of two tiny boxes, vanish. Few pairs get here.
    intersection = np.float64(width) * np.float64(height)
    area_a = np.float64(ax2 - ax1) * np.float64(ay2 - ay1)
    area_b = np.float64(bx2 - bx1) * np.float64(by2 - by1)
    return np.float32(intersection / (area_a + area_b - intersection))


_SIGNATURE = "void(Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), float32[:,::1])"


@kernel(_SIGNATURE)
def _serial(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = iou_of(a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[j, 0], b[j, 1], b[j, 2], b[j, 3])


@kernel(_SIGNATURE, parallel=True)
def _parallel(a, b, out):  # type: ignore[no-untyped-def]
    for i in prange(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = iou_of(a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[j, 0], b[j, 1], b[j, 2], b[j, 3])


@cuda_kernel(_SIGNATURE, block=(128, 1))
def _twin(a, b, out):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for i in range(y, a.shape[0], step_y):
        for j in range(x, b.shape[0], step_x):
            out[i, j] = iou_of(a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[j, 0], b[j, 1], b[j, 2], b[j, 3])


def box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the IoU of each pair of boxes.

    Args:
        a: float32 [N, 4], xyxy, any unit.
        b: float32 [M, 4], xyxy, the same unit.

    Returns:
        float32 [N, M] in 0..1. A box without area has IoU 0 with everything; coordinates that are not
        finite give 0 or NaN. Takes device arrays too.
    """
    memory = memory_of(a=a, b=b)
    left = memory.array(a, "a", np.float32, ("N", 4))
    right = memory.array(b, "b", np.float32, ("M", 4))
    shape = left.shape[0], right.shape[0]
    out: NDArray[np.float32] = memory.output(None, np.float32, shape)
    if memory.on_device:
        memory.launch(_twin, (shape[1], shape[0]), left, right, out)
    else:
        # 65536 pairs take about 0.1 ms on one core: below that a team of threads does not pay.
        (_parallel if out.size > 65536 and lone_caller() else _serial)(left, right, out)
    return out
