"""Intersection over union of every box of one set with every box of another, plain and with a penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._iou_kinds import CIOU, DIOU, GIOU, IOU, angle_of, penalty_of
from ops._kernel import kernel, lone_caller


@njit(nogil=True, cache=True, inline="always")
def wide_iou_of(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """IoU of two boxes as float64; a box that is empty or inverted has IoU 0 with every other."""
    width = lower_of(ax2, bx2) - higher_of(ax1, bx1)
    height = lower_of(ay2, by2) - higher_of(ay1, by1)
    if width <= 0 or height <= 0:
        return 0.0
    # In float64, as an area of float32 sides can overflow and, of two tiny boxes, vanish. Few pairs get here.
    intersection = np.float64(width) * np.float64(height)
    area_a = np.float64(ax2 - ax1) * np.float64(ay2 - ay1)
    area_b = np.float64(bx2 - bx1) * np.float64(by2 - by1)
    return intersection / (area_a + area_b - intersection)


@njit(nogil=True, cache=True, inline="always")
def iou_of(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """IoU of two boxes as float32."""
    return np.float32(wide_iou_of(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2))


@njit(nogil=True, cache=True, inline="always")
def kind_of(kind, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, angle_a, angle_b):  # type: ignore[no-untyped-def]
    """The IoU of two float32 boxes less what the kind takes off it."""
    iou = iou_of(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)
    return np.float32(iou - penalty_of(kind, iou, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, angle_a, angle_b))


@njit(nogil=True, cache=True)
def _angles(boxes, kind):  # type: ignore[no-untyped-def]
    """Of each box once, as an arc tangent takes longer than all the rest of a pair."""
    angles = np.zeros(boxes.shape[0], np.float64)
    if kind == CIOU:
        for i in range(boxes.shape[0]):
            angles[i] = angle_of(boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3])
    return angles


@njit(nogil=True, cache=True)
def _row(kind, i, a, b, angle, angles, out):  # type: ignore[no-untyped-def]
    x1, y1, x2, y2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
    if kind == IOU:
        for j in range(b.shape[0]):
            out[i, j] = iou_of(x1, y1, x2, y2, b[j, 0], b[j, 1], b[j, 2], b[j, 3])
    else:
        for j in range(b.shape[0]):
            out[i, j] = kind_of(kind, x1, y1, x2, y2, b[j, 0], b[j, 1], b[j, 2], b[j, 3], angle, angles[j])


_SIGNATURE = "void(int64, Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), float32[:,::1])"


@kernel(_SIGNATURE)
def _serial(kind, a, b, out):  # type: ignore[no-untyped-def]
    angles_a, angles_b = _angles(a, kind), _angles(b, kind)
    for i in range(a.shape[0]):
        _row(kind, i, a, b, angles_a[i], angles_b, out)


@kernel(_SIGNATURE, parallel=True)
def _parallel(kind, a, b, out):  # type: ignore[no-untyped-def]
    angles_a, angles_b = _angles(a, kind), _angles(b, kind)
    for i in prange(a.shape[0]):
        _row(kind, i, a, b, angles_a[i], angles_b, out)


@cuda_kernel("void(Array(float32, 2, 'C', readonly=True), float64[::1])")
def _angles_twin(boxes, angles):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), angles.size, cuda.gridsize(1)):
        angles[i] = angle_of(boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3])


@cuda_kernel(_SIGNATURE.replace("void(int64", "void(int64, float64[::1], float64[::1]"), block=(128, 1))
def _twin(kind, angles_a, angles_b, a, b, out):  # type: ignore[no-untyped-def]
    x, y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for i in range(y, a.shape[0], step_y):
        for j in range(x, b.shape[0], step_x):
            angle_a, angle_b = (angles_a[i], angles_b[j]) if kind == CIOU else (0.0, 0.0)
            out[i, j] = kind_of(
                kind, a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[j, 0], b[j, 1], b[j, 2], b[j, 3], angle_a, angle_b
            )


def _on_device(memory: DeviceMemory, kind: int, a: Any, b: Any, out: Any) -> None:
    angles = [memory.empty(boxes.shape[0] if kind == CIOU else 0, np.float64) for boxes in (a, b)]
    for boxes, its in zip((a, b), angles, strict=True):
        memory.launch(_angles_twin, its.size, boxes, its)
    memory.launch(_twin, (out.shape[1], out.shape[0]), kind, *angles, a, b, out)


# Pairs that take one core about 0.1 ms: below that a team of threads does not pay.
_PARALLEL_PAIRS = {IOU: 65536, GIOU: 32768, DIOU: 32768, CIOU: 32768}


def _of_all_pairs(kind: int, a: Any, b: Any) -> NDArray[np.float32]:
    memory = memory_of(a=a, b=b)
    left = memory.array(a, "a", np.float32, ("N", 4))
    right = memory.array(b, "b", np.float32, ("M", 4))
    out: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0], right.shape[0]))
    if memory.on_device:
        _on_device(memory, kind, left, right, out)
    else:
        (_parallel if out.size > _PARALLEL_PAIRS[kind] and lone_caller() else _serial)(kind, left, right, out)
    return out


def box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the IoU of each pair of boxes.

    Args:
        a: float32 [N, 4], xyxy, any unit.
        b: float32 [M, 4], xyxy, the same unit.

    Returns:
        float32 [N, M] in 0..1. A box without area has IoU 0 with everything; coordinates that are not
        finite give 0 or NaN. Takes device arrays too.
    """
    return _of_all_pairs(IOU, a, b)


def generalized_box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the generalized IoU of each pair of boxes: what the smallest box around both has to spare is taken off.

    GIoU = IoU - (C - U) / C, with U the area of the union and C that of the smallest box around both.

    Args:
        a: float32 [N, 4], xyxy, any unit.
        b: float32 [M, 4], xyxy, the same unit.

    Returns:
        float32 [N, M] in -1..1. An empty or inverted box has area 0; where the box around both has no area nothing is
        taken off; coordinates that are not finite give NaN or a number of that range. Source: Rezatofighi et al.,
        "Generalized Intersection over Union", CVPR 2019. `paired_box_iou` has its gradient. Takes device arrays too.
    """
    return _of_all_pairs(GIOU, a, b)


def distance_box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the distance IoU of each pair of boxes: the distance of their centres is taken off.

    DIoU = IoU - d^2 / c^2, with d the distance of the centres and c the diagonal of the smallest box around both.

    Args:
        a: float32 [N, 4], xyxy, any unit.
        b: float32 [M, 4], xyxy, the same unit.

    Returns:
        float32 [N, M] in -1..1 (below for inverted boxes, whose diagonal is short). Where the box around both is a
        point nothing is taken off; coordinates that are not finite give NaN or a number. Source: Zheng et al.,
        "Distance-IoU Loss", AAAI 2020. `paired_box_iou` has its gradient. Takes device arrays too.
    """
    return _of_all_pairs(DIOU, a, b)


def complete_box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the complete IoU of each pair of boxes: the distance of their centres and of their aspects is taken off.

    CIoU = DIoU - alpha v, with v = 4/pi^2 (arctan(w_b / h_b) - arctan(w_a / h_a))^2 and alpha = v / (1 - IoU + v).

    Args:
        a: float32 [N, 4], xyxy, any unit.
        b: float32 [M, 4], xyxy, the same unit.

    Returns:
        float32 [N, M] in -2..1 (see `distance_box_iou`). A negative side counts as 0, and the arc tangent of a point is
        0. Source: Zheng et al., "Distance-IoU Loss", AAAI 2020. `paired_box_iou` has its gradient. Takes device arrays
        too; the arc tangent differs there in its last digits.
    """
    return _of_all_pairs(CIOU, a, b)
