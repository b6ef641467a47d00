"""Greedy non-maximum suppression of rotated boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._check import same_length, unit_interval
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel
from ops._rotated import CORNERS, both_areas, shared_area
from ops._stable_sort import falling_order
from ops.nms import WORD, suppress_on_device
from ops.rotated_box_iou import shapes_of, shapes_on_device


@njit(nogil=True, cache=True)
def _overlap(a, b, threshold, points):  # type: ignore[no-untyped-def]
    """Whether the IoU of two shapes is above the threshold, without a division."""
    area_a, area_b = a[2] * a[3], b[2] * b[3]
    if lower_of(area_a, area_b) <= threshold * higher_of(area_a, area_b):  # not even if the one lies in the other
        return False
    shared = shared_area(a, b, points)
    return shared > 0 and shared > threshold * (both_areas(a, b) - shared)


@kernel(
    "int64[::1](Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), float64)"
)
def _nms(boxes, scores, class_ids, threshold):  # type: ignore[no-untyped-def]
    order = falling_order(scores)
    shapes, points = shapes_of(boxes), np.empty((4, CORNERS), np.float64)
    kept = np.empty(order.size, np.int64)
    count = 0
    for candidate in order:
        free = True
        for k in range(count):
            other = kept[k]
            if class_ids[other] == class_ids[candidate] and _overlap(
                shapes[other], shapes[candidate], threshold, points
            ):
                free = False
                break
        if free:
            kept[count] = candidate
            count += 1
    return kept[:count]


@cuda_kernel("void(float64[:,::1], int64[::1], int64[::1], uint64[::1], int64, float64, uint64[:,::1])", block=(64, 1))
def _overlap_twin(shapes, first, end, gone, begin, threshold, bits):  # type: ignore[no-untyped-def]
    """As `ops.nms` has it for upright boxes."""
    points = cuda.local.array((4, CORNERS), np.float64)
    from_row, from_word = cuda.grid(2)
    step_row, step_word = cuda.gridsize(2)
    for row in range(from_row, bits.shape[0], step_row):
        k = begin + row
        start, stop = first[k], end[k]
        own, bit = (k - start) // WORD, np.uint64((k - start) % WORD)
        if (gone[start + own] >> bit) & np.uint64(1):
            continue
        for word in range(own + from_word, (stop - start + WORD - 1) // WORD, step_word):
            found = np.uint64(0)
            for j in range(max(k + 1, start + WORD * word), min(stop, start + WORD * (word + 1))):
                if _overlap(shapes[k], shapes[j], threshold, points):
                    found |= np.uint64(1) << np.uint64(j - start - WORD * word)
            bits[row, word] = found


def rotated_nms(boxes: Any, scores: Any, iou_threshold: float, *, class_ids: Any = None) -> NDArray[np.int64]:
    """Suppress rotated boxes that overlap a better one, of the same class where classes are given.

    Args:
        boxes: float32 [N, 5]: centre x and y, width, height, angle in radians (see `rotated_box_iou`).
        scores: float32 [N]; NaN sorts last.
        iou_threshold: a box is dropped when its IoU with a kept one is above this.
        class_ids: int64 [N], any numbers; ``picture * C + class`` for many pictures at once.

    Returns:
        int64 [K], indices of the kept boxes by falling score; equal scores keep the lower index first. A box that is
        empty or not finite neither suppresses nor is suppressed. Complexity O(N log N + N K). Takes device arrays too.
    """
    memory = memory_of(boxes=boxes, scores=scores, class_ids=class_ids)
    box_array = memory.array(boxes, "boxes", np.float32, ("N", 5))
    score_array = memory.array(scores, "scores", np.float32, ("N",))
    class_array = None if class_ids is None else memory.array(class_ids, "class_ids", np.int64, ("N",))
    same_length(boxes=box_array, scores=score_array, **({} if class_array is None else {"class_ids": class_array}))
    threshold = unit_interval(iou_threshold, "iou_threshold")
    if memory.on_device:
        kept: NDArray[np.int64] = suppress_on_device(
            memory, box_array, score_array, class_array, threshold, shapes=shapes_on_device, overlap=_overlap_twin
        )
        return kept
    if class_array is None:
        class_array = np.zeros(len(score_array), np.int64)
    return _nms(box_array, score_array, class_array, threshold)  # type: ignore[no-any-return]
