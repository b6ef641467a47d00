"""Boxes from one of the three usual formats to another."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]

_FORMATS = get_args(BoxFormat)
_XYXY, _XYWH, _CXCYWH = range(3)


@njit(nogil=True, cache=True, inline="always")
def _along_one_axis(source, target, p, q):  # type: ignore[no-untyped-def]
    """Convert a box's two numbers along x or along y, in float64: neither a sum nor a half is lost in float32."""
    first, second = np.float64(p), np.float64(q)
    if source == _XYXY:
        if target == _XYWH:
            second = second - first
        elif target == _CXCYWH:
            first, second = (first + second) * 0.5, second - first
    elif source == _XYWH:
        if target == _XYXY:
            second = first + second
        elif target == _CXCYWH:
            first = first + second * 0.5
    elif target == _XYXY:
        first, second = first - second * 0.5, first + second * 0.5
    elif target == _XYWH:
        first = first - second * 0.5
    return np.float32(first), np.float32(second)


_SIGNATURE = "void(Array(float32, 2, 'C', readonly=True), int64, int64, float32[:,::1])"


@kernel(_SIGNATURE)
def _convert(boxes, source, target, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        x, w = _along_one_axis(source, target, boxes[i, 0], boxes[i, 2])
        y, h = _along_one_axis(source, target, boxes[i, 1], boxes[i, 3])
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = x, y, w, h


@cuda_kernel(_SIGNATURE)
def _twin(boxes, source, target, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), boxes.shape[0], cuda.gridsize(1)):
        x, w = _along_one_axis(source, target, boxes[i, 0], boxes[i, 2])
        y, h = _along_one_axis(source, target, boxes[i, 1], boxes[i, 3])
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = x, y, w, h


def _number(name: str, argument: str) -> int:
    if name not in _FORMATS:
        raise ValueError(f"{argument}: expected {', '.join(_FORMATS)}, got {name!r}")
    return _FORMATS.index(name)


def box_convert(boxes: Any, source: BoxFormat, target: BoxFormat, *, out: Any = None) -> NDArray[np.float32]:
    """Convert boxes from one format to another.

    Args:
        boxes: float32 [N, 4].
        source: the format that they are in: ``xyxy`` (left, top, right, bottom), ``xywh`` (left, top, width, height)
            or ``cxcywh`` (centre, width, height).
        target: the format that is wanted.
        out: float32 [N, 4] to write into; may be ``boxes`` itself.

    Returns:
        float32 [N, 4]. Computed in float64 and rounded once; nothing is checked or mended: an inverted box has
        negative sizes, and what is not finite goes through. Takes device arrays too.
    """
    codes = _number(source, "source"), _number(target, "target")
    memory = memory_of(boxes=boxes, out=out)
    array = memory.array(boxes, "boxes", np.float32, ("N", 4))
    result: NDArray[np.float32] = memory.output(out, np.float32, tuple(array.shape))
    if memory.on_device:
        memory.launch(_twin, array.shape[0], array, *codes, result)
    else:
        _convert(array, *codes, result)
    return result
