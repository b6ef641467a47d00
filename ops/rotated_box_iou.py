"""Intersection over union of every rotated box of one set with every one of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller
from ops._rotated import CORNERS, SHAPE, both_areas, set_shape, shared_area


@njit(nogil=True, cache=True)
def shapes_of(boxes):  # type: ignore[no-untyped-def]
    """The shapes (float64 [N, SHAPE]) of boxes."""
    shapes = np.empty((boxes.shape[0], SHAPE), np.float64)
    for i in range(boxes.shape[0]):
        set_shape(boxes[i], shapes[i])
    return shapes


@njit(nogil=True, cache=True)
def _iou(a, b, points):  # type: ignore[no-untyped-def]
    shared = shared_area(a, b, points)
    return np.float32(shared / (both_areas(a, b) - shared)) if shared != 0 else np.float32(0.0)


_SIGNATURE = "void(Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), float32[:,::1])"


@kernel(_SIGNATURE)
def _serial(a, b, out):  # type: ignore[no-untyped-def]
    shapes_a, shapes_b = shapes_of(a), shapes_of(b)
    points = np.empty((4, CORNERS), np.float64)
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = _iou(shapes_a[i], shapes_b[j], points)


@kernel(_SIGNATURE, parallel=True)
def _parallel(a, b, out):  # type: ignore[no-untyped-def]
    shapes_a, shapes_b = shapes_of(a), shapes_of(b)
    for i in prange(a.shape[0]):
        points = np.empty((4, CORNERS), np.float64)
        for j in range(b.shape[0]):
            out[i, j] = _iou(shapes_a[i], shapes_b[j], points)


@cuda_kernel("void(Array(float32, 2, 'C', readonly=True), float64[:,::1])")
def _shapes_twin(boxes, shapes):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        set_shape(boxes[i], shapes[i])


@cuda_kernel("void(float64[:,::1], float64[:,::1], float32[:,::1])", block=(128, 1))
def _twin(a, b, out):  # type: ignore[no-untyped-def]
    points = cuda.local.array((4, CORNERS), np.float64)
    from_j, from_i = cuda.grid(2)
    step_j, step_i = cuda.gridsize(2)
    for i in range(from_i, out.shape[0], step_i):
        for j in range(from_j, out.shape[1], step_j):
            out[i, j] = _iou(a[i], b[j], points)


def shapes_on_device(memory: DeviceMemory, boxes: Any) -> Any:
    """`shapes_of` for device arrays."""
    shapes = memory.empty((boxes.shape[0], SHAPE), np.float64)
    memory.launch(_shapes_twin, boxes.shape[0], boxes, shapes)
    return shapes


def rotated_box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the IoU of each pair of rotated boxes.

    Args:
        a: float32 [N, 5]: centre x, centre y, width, height in any unit, and the angle in radians by which the box is
            turned from the x axis towards the y axis (clockwise in a picture, where y points down).
        b: float32 [M, 5], the same unit.

    Returns:
        float32 [N, M] in 0..1, to 1e-6; exactly 1 for equal boxes, 0 for boxes that touch only and where one has no
        area. Numbers that are not finite give 0 or NaN. Takes device arrays too; the sine differs there in its last
        digits.
    """
    memory = memory_of(a=a, b=b)
    left = memory.array(a, "a", np.float32, ("N", 5))
    right = memory.array(b, "b", np.float32, ("M", 5))
    out: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0], right.shape[0]))
    if memory.on_device:
        shapes = shapes_on_device(memory, left), shapes_on_device(memory, right)
        memory.launch(_twin, (out.shape[1], out.shape[0]), *shapes, out)
    else:
        # 2048 pairs that all meet take about 0.2 ms on one core: below that a team of threads does not pay.
        (_parallel if out.size > 2048 and lone_caller() else _serial)(left, right, out)
    return out
