"""IoU of box i of one set with box i of another, and its gradient: what a box-regression loss needs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import same_length
from ops._cuda import cuda, cuda_kernel
from ops._device import Memory, memory_of
from ops._iou_kinds import CIOU, DIOU, GIOU, IOU, angle_of, slopes_of
from ops._kernel import kernel
from ops.box_iou import kind_of

IoUKind = Literal["iou", "giou", "diou", "ciou"]

_KINDS: dict[str, int] = {"iou": IOU, "giou": GIOU, "diou": DIOU, "ciou": CIOU}

_BOXES = "void(int64, Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True)"
_FORWARD = f"{_BOXES}, float32[::1])"
_BACKWARD = f"{_BOXES}, Array(float32, 1, 'C', readonly=True), float32[:,::1])"


@njit(nogil=True, cache=True)
def _value(kind, i, a, b):  # type: ignore[no-untyped-def]
    ax1, ay1, ax2, ay2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
    bx1, by1, bx2, by2 = b[i, 0], b[i, 1], b[i, 2], b[i, 3]
    angle_a, angle_b = 0.0, 0.0
    if kind == CIOU:
        angle_a, angle_b = angle_of(ax1, ay1, ax2, ay2), angle_of(bx1, by1, bx2, by2)
    return kind_of(kind, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, angle_a, angle_b)


@kernel(_FORWARD)
def _forward(kind, a, b, out):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        out[i] = _value(kind, i, a, b)


@cuda_kernel(_FORWARD)
def _forward_twin(kind, a, b, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), a.shape[0], cuda.gridsize(1)):
        out[i] = _value(kind, i, a, b)


@njit(nogil=True, cache=True)
def _gradient(kind, i, a, b, upstream, grad):  # type: ignore[no-untyped-def]
    # In float64: the square of a float32 area overflows for a box of 1e10 pixels, which a young network predicts.
    ax1, ay1, ax2, ay2 = np.float64(a[i, 0]), np.float64(a[i, 1]), np.float64(a[i, 2]), np.float64(a[i, 3])
    bx1, by1, bx2, by2 = np.float64(b[i, 0]), np.float64(b[i, 1]), np.float64(b[i, 2]), np.float64(b[i, 3])
    s1, s2, s3, s4 = slopes_of(kind, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)
    weight = np.float64(upstream[i])
    grad[i, 0], grad[i, 1], grad[i, 2], grad[i, 3] = s1 * weight, s2 * weight, s3 * weight, s4 * weight


@kernel(_BACKWARD)
def _backward(kind, a, b, upstream, grad):  # type: ignore[no-untyped-def]
    for i in range(a.shape[0]):
        _gradient(kind, i, a, b, upstream, grad)


@cuda_kernel(_BACKWARD)
def _backward_twin(kind, a, b, upstream, grad):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), a.shape[0], cuda.gridsize(1)):
        _gradient(kind, i, a, b, upstream, grad)


def _number(kind: str) -> int:
    if kind not in _KINDS:
        raise ValueError(f"kind: expected {', '.join(_KINDS)}, got {kind!r}")
    return _KINDS[kind]


def _pair(memory: Memory, a: Any, b: Any) -> tuple[Any, Any]:
    left, right = memory.array(a, "a", np.float32, ("N", 4)), memory.array(b, "b", np.float32, ("N", 4))
    same_length(a=left, b=right)
    return left, right


def paired_box_iou(a: Any, b: Any, *, kind: IoUKind = "iou") -> NDArray[np.float32]:
    """Return the IoU of ``a[i]`` with ``b[i]``, or one with a penalty.

    Args:
        a, b: float32 [N, 4], xyxy, the same unit.
        kind: ``iou``, or ``giou``, ``diou``, ``ciou``: what `generalized_box_iou`, `distance_box_iou` and
            `complete_box_iou` give for all pairs.

    Returns:
        float32 [N]: as `box_iou` and those say. Takes device arrays too.
    """
    number = _number(kind)
    memory = memory_of(a=a, b=b)
    left, right = _pair(memory, a, b)
    out: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0],))
    if memory.on_device:
        memory.launch(_forward_twin, left.shape[0], number, left, right, out)
    else:
        _forward(number, left, right, out)
    return out


def paired_box_iou_backward(a: Any, b: Any, upstream: Any, *, kind: IoUKind = "iou") -> NDArray[np.float32]:
    """Return the gradient of ``sum(upstream * paired_box_iou(a, b, kind=kind))`` with respect to ``a``.

    Args:
        a, b: float32 [N, 4], xyxy.
        upstream: float32 [N].
        kind: see `paired_box_iou`.

    Returns:
        float32 [N, 4]; of the plain IoU 0 where the boxes do not meet. Where two edges coincide the one-sided
        derivative of the shrinking box is not taken: the moving edge is treated as lying inside, and as not moving the
        box around both. Of CIoU alpha is held constant, as its paper does. Takes device arrays too.
    """
    number = _number(kind)
    memory = memory_of(a=a, b=b, upstream=upstream)
    left, right = _pair(memory, a, b)
    weights = memory.array(upstream, "upstream", np.float32, ("N",))
    same_length(a=left, upstream=weights)
    grad: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0], 4))
    if memory.on_device:
        memory.launch(_backward_twin, left.shape[0], number, left, right, weights, grad)
    else:
        _backward(number, left, right, weights, grad)
    return grad
