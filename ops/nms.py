"""Greedy non-maximum suppression, of one class or of many at once (no coordinate-offset trick)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import host_array, same_length, unit_interval
from ops._kernel import kernel


@njit(nogil=True, cache=True, inline="always")
def overlaps(boxes, i, j, threshold):  # type: ignore[no-untyped-def]
    """Whether the IoU of boxes i and j is above the threshold, without a division."""
    width = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
    height = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
    if width <= 0 or height <= 0:
        return False
    # In float64 like the threshold, so that an IoU of exactly 0.7 is not above 0.7.
    intersection = np.float64(width) * np.float64(height)
    area_i = np.float64(boxes[i, 2] - boxes[i, 0]) * np.float64(boxes[i, 3] - boxes[i, 1])
    area_j = np.float64(boxes[j, 2] - boxes[j, 0]) * np.float64(boxes[j, 3] - boxes[j, 1])
    return intersection > threshold * (area_i + area_j - intersection)


@njit(nogil=True, cache=True)
def suppress(boxes, class_ids, order, threshold, limit):  # type: ignore[no-untyped-def]
    """Walk the candidates in ``order`` and keep each that no kept box of its class overlaps; at most ``limit``."""
    kept = np.empty(min(order.size, limit), np.int64)
    count = 0
    for candidate in order:
        if count == limit:
            break
        free = True
        for k in range(count):
            other = kept[k]
            if class_ids[other] == class_ids[candidate] and overlaps(boxes, other, candidate, threshold):
                free = False
                break
        if free:
            kept[count] = candidate
            count += 1
    return kept[:count]


@kernel(
    "int64[::1](Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), float64)"
)
def _nms(boxes, scores, class_ids, threshold):  # type: ignore[no-untyped-def]
    order = np.argsort(-scores, kind="mergesort")  # stable: equal scores keep the lower index first
    return suppress(boxes, class_ids, order, threshold, scores.size)


def batched_nms(boxes: Any, scores: Any, class_ids: Any, iou_threshold: float) -> NDArray[np.int64]:
    """Suppress boxes that overlap a better one of the same class.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N]; NaN sorts last.
        class_ids: int64 [N].
        iou_threshold: a box is dropped when its IoU with a kept one is above this.

    Returns:
        int64 [K], indices of the kept boxes by falling score; equal scores keep the lower index first.
        Complexity O(N log N + N K).
    """
    box_array = host_array(boxes, "boxes", np.float32, ("N", 4))
    score_array = host_array(scores, "scores", np.float32, ("N",))
    class_array = host_array(class_ids, "class_ids", np.int64, ("N",))
    same_length(boxes=box_array, scores=score_array, class_ids=class_array)
    kept: NDArray[np.int64] = _nms(box_array, score_array, class_array, unit_interval(iou_threshold, "iou_threshold"))
    return kept


def nms(boxes: Any, scores: Any, iou_threshold: float) -> NDArray[np.int64]:
    """Suppress boxes that overlap a better one: `batched_nms` with a single class."""
    return batched_nms(boxes, scores, np.zeros(len(scores), np.int64), iou_threshold)
