"""SimOTA: decide which cells of a detection head learn which box, by the cost of the present prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._check import host_array, same_length
from ops._kernel import kernel, lone_caller
from ops.box_iou import iou_of
from ops.decode_detections import anchor_count

# Ge et al. 2021: candidates lie in the box or within 2.5 strides of its centre; k is the sum of the best 10 IoUs;
# the IoU term weighs 3, and a cell that is not both in the box and near the centre comes after all that are.
_RADIUS, _BEST, _IOU_WEIGHT, _OUTSIDE = 2.5, 10, 3.0, 1e5


@njit(nogil=True, cache=True, inline="always")
def _log_sigmoid(x):  # type: ignore[no-untyped-def]
    return min(x, 0.0) - math.log1p(math.exp(-abs(x)))


@njit(nogil=True, cache=True)
def _class_cost(row, truth_class):  # type: ignore[no-untyped-def]
    """Binary cross-entropy of sqrt(objectness * class probability) against the one-hot class, summed over classes."""
    cost = 0.0
    objectness = _log_sigmoid(row[4])
    for c in range(row.size - 5):
        log_p = 0.5 * (objectness + _log_sigmoid(row[5 + c]))
        cost -= max(log_p, -100.0) if c == truth_class else max(math.log(max(-math.expm1(log_p), 1e-38)), -100.0)
    return cost


@njit(nogil=True, cache=True)
def _assign_picture(raw, cells, boxes, classes, matched, ious, best_cost):  # type: ignore[no-untyped-def]
    total = raw.shape[0]
    candidate = np.empty(total, np.int64)
    iou = np.empty(total, np.float32)
    cost = np.empty(total, np.float64)
    for t in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3]
        mid_x, mid_y = (x1 + x2) * 0.5, (y1 + y2) * 0.5
        count = 0
        for a in range(total):
            x, y, stride = cells[a, 0], cells[a, 1], cells[a, 2]
            inside = x1 < x < x2 and y1 < y < y2
            near = abs(x - mid_x) < _RADIUS * stride and abs(y - mid_y) < _RADIUS * stride
            if not (inside or near):
                continue
            row = raw[a]
            cx, cy = x + (row[0] - 0.5) * stride, y + (row[1] - 0.5) * stride
            half_w = math.exp(min(row[2], 20.0)) * stride * 0.5
            half_h = math.exp(min(row[3], 20.0)) * stride * 0.5
            iou[count] = iou_of(
                np.float32(cx - half_w), np.float32(cy - half_h), np.float32(cx + half_w), np.float32(cy + half_h),
                x1, y1, x2, y2,
            )  # fmt: skip
            cost[count] = _class_cost(row, classes[t]) - _IOU_WEIGHT * math.log(iou[count] + 1e-8)
            if not (inside and near):
                cost[count] += _OUTSIDE
            candidate[count] = a
            count += 1
        falling = np.sort(-iou[:count])
        k = max(int(-falling[:_BEST].sum()), 1)
        order = np.argsort(cost[:count], kind="mergesort")
        for position in order[:k]:
            a = candidate[position]
            if cost[position] < best_cost[a]:  # a cell wanted by two boxes learns the cheaper one
                best_cost[a] = cost[position]
                matched[a] = t
                ious[a] = iou[position]


@njit(nogil=True, cache=True)
def _cells(in_h, in_w, strides, total):  # type: ignore[no-untyped-def]
    cells = np.empty((total, 3), np.float64)
    index = 0
    for stride in strides:
        for gy in range(in_h // stride):
            for gx in range(in_w // stride):
                cells[index, 0] = (gx + 0.5) * stride
                cells[index, 1] = (gy + 0.5) * stride
                cells[index, 2] = stride
                index += 1
    return cells


_SIGNATURE = (
    "void(Array(float32, 3, 'C', readonly=True), int64, int64, Array(int64, 1, 'C', readonly=True),"
    " Array(float32, 2, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), int64[:,::1], float32[:,::1])"
)


@kernel(_SIGNATURE)
def _serial(raw, in_h, in_w, strides, boxes, classes, starts, matched, ious):  # type: ignore[no-untyped-def]
    cells = _cells(in_h, in_w, strides, raw.shape[1])
    for b in range(raw.shape[0]):
        part = slice(starts[b], starts[b + 1])
        _assign_picture(raw[b], cells, boxes[part], classes[part], matched[b], ious[b], np.full(raw.shape[1], np.inf))


@kernel(_SIGNATURE, parallel=True)
def _parallel(raw, in_h, in_w, strides, boxes, classes, starts, matched, ious):  # type: ignore[no-untyped-def]
    cells = _cells(in_h, in_w, strides, raw.shape[1])
    for b in prange(raw.shape[0]):
        part = slice(starts[b], starts[b + 1])
        _assign_picture(raw[b], cells, boxes[part], classes[part], matched[b], ious[b], np.full(raw.shape[1], np.inf))


def simota_assign(
    raw: Any,
    boxes: Any,
    class_ids: Any,
    counts: Sequence[int],
    *,
    input_size: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Assign cells of a YOLOX-type head to true boxes, for a batch.

    Args:
        raw: float32 [B, A, 5 + C], the head's raw output (see `decode_detections`).
        boxes: float32 [M, 4], xyxy in input pixels: the true boxes of all pictures, one picture after another.
        class_ids: int64 [M].
        counts: how many boxes each of the B pictures has.
        input_size: (height, width) of the input.
        strides: of the head's levels.

    Returns:
        matched int64 [B, A]: for each cell the index of its box among its picture's boxes, or -1; and the IoU float32
        [B, A] of the cell's prediction with it (0 where unmatched). Equal costs: lower cell first.
        Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2, and OTA (Ge et al. 2021).
    """
    array = host_array(raw, "raw", np.float32, ("B", "A", "5 + C"))
    cells = anchor_count(input_size, strides)
    if array.shape[1] != cells or array.shape[2] < 6:
        raise ValueError(
            f"raw: expected shape [B, {cells}, 5 + C] for input {tuple(input_size)} and strides {tuple(strides)},"
            f" got {array.shape}"
        )
    box_array = host_array(boxes, "boxes", np.float32, ("M", 4))
    class_array = host_array(class_ids, "class_ids", np.int64, ("M",))
    same_length(boxes=box_array, class_ids=class_array)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if len(counts) != len(array) or starts[-1] != len(box_array) or min(counts, default=0) < 0:
        raise ValueError(f"counts: expected {len(array)} counts that sum to {len(box_array)}, got {list(counts)}")
    if len(class_array) and not (class_array.min() >= 0 and class_array.max() < array.shape[2] - 5):
        raise ValueError(f"class_ids: expected 0..{array.shape[2] - 6}, got {class_array.min()}..{class_array.max()}")
    matched = np.full(array.shape[:2], -1, np.int64)
    ious = np.zeros(array.shape[:2], np.float32)
    run = _parallel if len(array) > 1 and lone_caller() else _serial
    run(
        array, int(input_size[0]), int(input_size[1]), np.asarray(strides, np.int64),
        box_array, class_array, starts, matched, ious,
    )  # fmt: skip
    return matched, ious
