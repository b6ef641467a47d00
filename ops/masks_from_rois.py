"""Small masks of regions, as an instance segmenter has them, pasted into masks of the picture's size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import blend
from ops._check import height_and_width, same_length
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for

_compiled = njit(nogil=True, cache=True)


@_compiled
def _sample(pixel, start, stop, size):  # type: ignore[no-untyped-def]
    """The sample below a pixel's centre, -1 if it is the first one's neighbour outside, and the weight of the next.

    -2 for a pixel that no sample reaches: further than one from all, or of a box that has no extent.
    """
    at = (pixel + 0.5 - start) * (size / (stop - start)) - 0.5 if 0 < stop - start < np.inf else -1.0
    if not -1.0 < at < size:
        return -2, np.float32(0.0)
    below = math.floor(at)
    return int(below), np.float32(at - below)


@_compiled
def _value(roi, y, x):  # type: ignore[no-untyped-def]
    """A sample, 0 outside."""
    return roi[y, x] if 0 <= y < roi.shape[0] and 0 <= x < roi.shape[1] else np.float32(0.0)


@_compiled
def _columns(box, place, weight, columns):  # type: ignore[no-untyped-def]
    """Place the pixels of a row among ``columns`` samples and a 0 before them; from which to which there are any."""
    begin, end = 0, 0
    for x in range(place.size):
        below, weight[x] = _sample(x, np.float64(box[0]), np.float64(box[2]), columns)
        if below >= -1:
            place[x] = below + 1
            if end == 0:
                begin = x
            end = x + 1
    return begin, end


_1 = np.uint64(1)  # unsigned, or every index is looked at for a negative one


@_compiled
def _blend_rows(roi, above, weight, row):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of samples, of which one may lie outside; ``row`` has a 0 at both ends."""
    first, last = above >= 0, above + 1 < roi.shape[0]
    for x in range(roi.shape[1]):
        a = roi[above, x] if first else np.float32(0.0)
        b = roi[above + 1, x] if last else np.float32(0.0)
        row[x + 1] = blend(a, b, weight)


_ARRAYS = "Array(float32, 3, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), float32, uint8[:,:,::1]"


@kernel(f"void(int64, int64, {_ARRAYS})")
def _paste(lane, lanes, rois, boxes, threshold, out):  # type: ignore[no-untyped-def]
    count, height, width = out.shape
    rows, columns = rois.shape[1], rois.shape[2]
    place, weight = np.empty(width, np.uint64), np.empty(width, np.float32)
    row = np.zeros(columns + 2, np.float32)
    of, begin, end = -1, 0, 0
    for r in range(count * height * lane // lanes, count * height * (lane + 1) // lanes):
        n, y = r // height, r % height
        if n != of:
            begin, end = _columns(boxes[n], place, weight, columns)
            of = n
        target = out[n, y]
        target[:] = 0
        above, weight_y = _sample(y, np.float64(boxes[n, 1]), np.float64(boxes[n, 3]), rows)
        if above == -2:
            continue
        _blend_rows(rois[n], above, weight_y, row)
        inside, after, share = target[begin:end], place[begin:end], weight[begin:end]
        for x in range(inside.size):
            inside[x] = blend(row[after[x]], row[after[x] + _1], share[x]) >= threshold


@cuda_kernel(f"void({_ARRAYS})", block=(32, 4, 1))
def _paste_twin(rois, boxes, threshold, out):  # type: ignore[no-untyped-def]
    """One thread a pixel; blends rows first, as the kernel for the CPU."""
    from_x, from_y, from_n = cuda.grid(3)
    step_x, step_y, step_n = cuda.gridsize(3)
    for n in range(from_n, out.shape[0], step_n):
        roi, box = rois[n], boxes[n]
        for y in range(from_y, out.shape[1], step_y):
            above, weight_y = _sample(y, np.float64(box[1]), np.float64(box[3]), rois.shape[1])
            for x in range(from_x, out.shape[2], step_x):
                left, weight_x = _sample(x, np.float64(box[0]), np.float64(box[2]), rois.shape[2])
                inside = above != -2 and left != -2
                if inside:
                    a = blend(_value(roi, above, left), _value(roi, above + 1, left), weight_y)
                    b = blend(_value(roi, above, left + 1), _value(roi, above + 1, left + 1), weight_y)
                    inside = blend(a, b, weight_x) >= threshold
                out[n, y, x] = inside


# Pixels from which on threads pay: one writes about as many in 0.2 ms.
_PARALLEL_PIXELS = 1_000_000


def masks_from_rois(
    rois: Any, boxes: Any, size: tuple[int, int], *, threshold: float = 0.5, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Paste the mask of each box into a mask of the picture's size.

    Args:
        rois: float32 [N, h, w], at least one value each: how likely each part of the box is foreground, 0..1.
        boxes: float32 [N, 4] xyxy in pixels of the picture; they may reach beyond it.
        size: (height, width) of the picture.
        threshold: what is at least this, above 0, becomes foreground.
        out: uint8 [N, height, width] to write into.

    Returns:
        uint8 [N, height, width], 0 and 1. A pixel's value is read at its centre, bilinearly among the centres of the
        h x w parts of the box, with zeros around them: within half a part of the box's border it fades to 0, as
        detectron2 pastes (``grid_sample`` without ``align_corners``). NaN is background; a box without extent, or with
        corners that are not finite, has an empty mask. Cost: one write of the masks, and a few steps for each pixel of
        the boxes. Takes device arrays too; a value that is the threshold but for rounding may differ there.
    """
    memory = memory_of(rois=rois, boxes=boxes, out=out)
    values = memory.array(rois, "rois", np.float32, ("N", "h", "w"))
    corners = memory.array(boxes, "boxes", np.float32, ("N", 4))
    same_length(rois=values, boxes=corners)
    if 0 in values.shape[1:]:
        raise ValueError(f"rois: expected at least one value for each box, got shape {tuple(values.shape)}")
    height, width = height_and_width(size, "size")
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold: expected a number above 0, got {threshold!r}")
    target: NDArray[np.uint8] = memory.output(out, np.uint8, (values.shape[0], height, width))
    limit = np.float32(threshold)
    if memory.on_device:
        memory.launch(_paste_twin, (width, height, values.shape[0]), values, corners, limit, target)
    else:
        lanes = lanes_for(target.size, _PARALLEL_PIXELS)
        in_lanes(_paste, lanes, lanes, values, corners, limit, target)
    return target
