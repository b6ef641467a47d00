"""IoU of box i of one set with box i of another, and its gradient: what a box-regression loss needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._check import same_length
from ops._cuda import cuda, cuda_kernel
from ops._device import Memory, memory_of
from ops._kernel import kernel
from ops.box_iou import iou_of

_BOXES = "void(Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True)"
_FORWARD = f"{_BOXES}, float32[::1])"
_BACKWARD = f"{_BOXES}, Array(float32, 1, 'C', readonly=True), float32[:,::1])"


@kernel(_FORWARD)
def _forward(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        out[i] = iou_of(a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[i, 0], b[i, 1], b[i, 2], b[i, 3])


@cuda_kernel(_FORWARD)
def _forward_twin(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), a.shape[0], cuda.gridsize(1)):
        out[i] = iou_of(a[i, 0], a[i, 1], a[i, 2], a[i, 3], b[i, 0], b[i, 1], b[i, 2], b[i, 3])


@njit(nogil=True, cache=True)
def _gradient(i, a, b, upstream, grad):  # type: ignore[no-untyped-def]
    # In float64: the square of a float32 area overflows for a box of 1e10 pixels, which a young network predicts.
    ax1, ay1, ax2, ay2 = np.float64(a[i, 0]), np.float64(a[i, 1]), np.float64(a[i, 2]), np.float64(a[i, 3])
    bx1, by1, bx2, by2 = np.float64(b[i, 0]), np.float64(b[i, 1]), np.float64(b[i, 2]), np.float64(b[i, 3])
    width = lower_of(ax2, bx2) - higher_of(ax1, bx1)
    height = lower_of(ay2, by2) - higher_of(ay1, by1)
    if width <= 0 or height <= 0:  # the IoU is constant 0 there
        grad[i, 0] = grad[i, 1] = grad[i, 2] = grad[i, 3] = 0
        return
    intersection = width * height
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - intersection
    # iou = I / U with U = A + B - I:  d iou = ((U + I) dI - I dA) / U^2
    by_intersection = (union + intersection) / (union * union) * upstream[i]
    by_area = intersection / (union * union) * upstream[i]
    grad[i, 0] = -by_intersection * height * (ax1 > bx1) + by_area * (ay2 - ay1)
    grad[i, 1] = -by_intersection * width * (ay1 > by1) + by_area * (ax2 - ax1)
    grad[i, 2] = by_intersection * height * (ax2 < bx2) - by_area * (ay2 - ay1)
    grad[i, 3] = by_intersection * width * (ay2 < by2) - by_area * (ax2 - ax1)


@kernel(_BACKWARD)
def _backward(a, b, upstream, grad):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        _gradient(i, a, b, upstream, grad)


@cuda_kernel(_BACKWARD)
def _backward_twin(a, b, upstream, grad):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), a.shape[0], cuda.gridsize(1)):
        _gradient(i, a, b, upstream, grad)


def _pair(memory: Memory, a: Any, b: Any) -> tuple[Any, Any]:
    left, right = memory.array(a, "a", np.float32, ("N", 4)), memory.array(b, "b", np.float32, ("N", 4))
    same_length(a=left, b=right)
    return left, right


def paired_box_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the IoU of ``a[i]`` with ``b[i]``.

    Args:
        a, b: float32 [N, 4], xyxy, the same unit.

    Returns:
        float32 [N] in 0..1; 0 where a box has no area. Takes device arrays too.
    """
    memory = memory_of(a=a, b=b)
    left, right = _pair(memory, a, b)
    out: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0],))
    if memory.on_device:
        memory.launch(_forward_twin, left.shape[0], left, right, out)
    else:
        _forward(left, right, out)
    return out


def paired_box_iou_backward(a: Any, b: Any, upstream: Any) -> NDArray[np.float32]:
    """Return the gradient of ``sum(upstream * paired_box_iou(a, b))`` with respect to ``a``.

    Args:
        a, b: float32 [N, 4], xyxy.
        upstream: float32 [N].

    Returns:
        float32 [N, 4]; 0 where the boxes do not meet. Where two edges coincide the one-sided derivative of the
        shrinking box is not taken: the moving edge is treated as lying inside. Takes device arrays too.
    """
    memory = memory_of(a=a, b=b, upstream=upstream)
    left, right = _pair(memory, a, b)
    weights = memory.array(upstream, "upstream", np.float32, ("N",))
    same_length(a=left, upstream=weights)
    grad: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0], 4))
    if memory.on_device:
        memory.launch(_backward_twin, left.shape[0], left, right, weights, grad)
    else:
        _backward(left, right, weights, grad)
    return grad
