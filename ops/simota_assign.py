"""SimOTA: decide which cells of a detection head learn which box, by the cost of the present prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._check import height_and_width, same_length
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import CHOOSERS, first_after, next_of
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller
from ops._truths import check_classes, picture_starts
from ops.box_iou import iou_of
from ops.decode_detections import anchor_count, head_strides

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
        if c == truth_class:
            cost -= higher_of(log_p, -100.0)
        else:
            cost -= higher_of(math.log(higher_of(-math.expm1(log_p), 1e-38)), -100.0)
    return cost


_NO_CANDIDATE = np.float32(-1.0)


@njit(nogil=True, cache=True)
def _candidate(row, x, y, stride, x1, y1, x2, y2, truth_class):  # type: ignore[no-untyped-def]
    """IoU of a cell's prediction with a true box, and what it would cost to learn it; no IoU if it is too far off."""
    inside = x1 < x < x2 and y1 < y < y2
    mid_x, mid_y = np.float64((x1 + x2) * np.float32(0.5)), np.float64((y1 + y2) * np.float32(0.5))
    near = abs(x - mid_x) < _RADIUS * stride and abs(y - mid_y) < _RADIUS * stride
    if not (inside or near):
        return _NO_CANDIDATE, 0.0
    cx, cy = x + (np.float64(row[0]) - 0.5) * stride, y + (np.float64(row[1]) - 0.5) * stride
    half_w = math.exp(lower_of(np.float64(row[2]), 20.0)) * stride * 0.5
    half_h = math.exp(lower_of(np.float64(row[3]), 20.0)) * stride * 0.5
    iou = iou_of(
        np.float32(cx - half_w), np.float32(cy - half_h), np.float32(cx + half_w), np.float32(cy + half_h),
        x1, y1, x2, y2,
    )  # fmt: skip
    cost = _class_cost(row, truth_class) - _IOU_WEIGHT * math.log(np.float64(iou) + 1e-8)
    return iou, cost if inside and near else cost + _OUTSIDE


@njit(nogil=True, cache=True)
def _insert(key, place, count, keys, places):  # type: ignore[no-untyped-def]
    """Put a key among the lowest so far, after those that equal it, NaN last; return how many there are then."""
    k = count
    while k > 0 and key == key and not keys[k - 1] <= key:
        k -= 1
    if k == keys.size:
        return count
    last = min(count, keys.size - 1)
    for j in range(last, k, -1):
        keys[j], places[j] = keys[j - 1], places[j - 1]
    keys[k], places[k] = key, place
    return last + 1


@njit(nogil=True, cache=True)
def _assign_picture(raw, cells, boxes, classes, matched, ious, best_cost):  # type: ignore[no-untyped-def]
    total = raw.shape[0]
    iou, highest, cheapest = np.empty(total, np.float32), np.empty(_BEST, np.float32), np.empty(_BEST, np.float64)
    of_highest, of_cheapest = np.empty(_BEST, np.int64), np.empty(_BEST, np.int64)
    for t in range(boxes.shape[0]):
        count = 0
        for a in range(total):
            x, y, stride = cells[a, 0], cells[a, 1], cells[a, 2]
            iou[a], cost = _candidate(
                raw[a], x, y, stride, boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3], classes[t]
            )
            if iou[a] != _NO_CANDIDATE:
                _insert(-iou[a], a, count, highest, of_highest)
                count = _insert(cost, a, count, cheapest, of_cheapest)
        best = np.float32(0.0)
        for k in range(count):
            best -= highest[k]
        for k in range(min(count, int(best) if best >= 1 else 1)):
            a = of_cheapest[k]
            if cheapest[k] < best_cost[a]:  # a cell wanted by two boxes learns the cheaper one
                best_cost[a], matched[a], ious[a] = cheapest[k], t, iou[a]


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


@cuda_kernel(
    "void(Array(float32, 3, 'C', readonly=True), int64, int64, int64, int64, Array(float32, 2, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), int64[::1], int64, float32[:,::1], float64[:,::1])",
    block=(64, 1),
)
def _cost_twin(raw, start, stride, rows, columns, boxes, classes, starts, first, iou, cost):  # type: ignore[no-untyped-def]
    """One level's cells against the true boxes from ``first`` on, one thread a pair."""
    from_cell, from_row = cuda.grid(2)
    step_cell, step_row = cuda.gridsize(2)
    for row in range(from_row, iou.shape[0], step_row):
        t = first + row
        picture = first_after(starts, 0, starts.size, t) - 1
        for cell in range(from_cell, rows * columns, step_cell):
            x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
            a = start + cell
            iou[row, a], cost[row, a] = _candidate(
                raw[picture, a], x, y, np.float64(stride),
                boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3], classes[t],
            )  # fmt: skip


@cuda_kernel(
    "void(float32[:,::1], float64[:,::1], int64, int64[:,::1], float64[:,::1], float32[:,::1])",
    block=CHOOSERS,
    fixed=True,
)
def _choose_twin(iou, cost, first, chosen, chosen_cost, chosen_iou):  # type: ignore[no-untyped-def]
    """One block a true box: how many cells it gets by its best IoUs, and the cheapest so many; -1 in what is left."""
    keys = cuda.shared.array(CHOOSERS, np.float64)
    places = cuda.shared.array(CHOOSERS, np.int64)
    for row in range(cuda.blockIdx.x, iou.shape[0], cuda.gridDim.x):
        total, key, last = np.float32(0.0), 0.0, -1
        for _ in range(_BEST):
            key, last = next_of(iou[row], -1.0, iou[row], _NO_CANDIDATE, key, last, keys, places)
            if last < 0:
                break
            total += np.float32(-key)
        count = int(total) if total >= 1 else 1
        key, last = 0.0, -1
        for k in range(_BEST):
            if k == 0 or (k < count and last >= 0):
                key, last = next_of(cost[row], 1.0, iou[row], _NO_CANDIDATE, key, last, keys, places)
            else:
                last = -1
            if cuda.threadIdx.x == 0:
                chosen[first + row, k], chosen_cost[first + row, k] = last, key
                chosen_iou[first + row, k] = iou[row, max(last, 0)]


@cuda_kernel(
    "void(int64[::1], int64[:,::1], float64[:,::1], float32[:,::1], int64[:,::1], float32[:,::1])", block=(64, 1)
)
def _match_twin(starts, chosen, chosen_cost, chosen_iou, matched, ious):  # type: ignore[no-untyped-def]
    """One thread a cell: it learns the box that it costs least among those that chose it."""
    from_cell, from_picture = cuda.grid(2)
    step_cell, step_picture = cuda.gridsize(2)
    for b in range(from_picture, matched.shape[0], step_picture):
        for a in range(from_cell, matched.shape[1], step_cell):
            best, truth, iou = np.inf, -1, np.float32(0.0)
            for t in range(starts[b], starts[b + 1]):
                for k in range(_BEST):
                    if chosen[t, k] == a and chosen_cost[t, k] < best:
                        best, truth, iou = chosen_cost[t, k], t - starts[b], chosen_iou[t, k]
            matched[b, a], ious[b, a] = truth, iou


# Pairs of cells and boxes whose IoU and cost are held at once: 192 MiB.
_MOST_PAIRS = 2**24


def _on_device(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, raw, in_h, in_w, strides, boxes, classes, starts, matched, ious
) -> None:
    count, cells = boxes.shape[0], raw.shape[1]
    table = memory.table(starts, np.int64)
    chosen = memory.empty((count, _BEST), np.int64)
    chosen_cost, chosen_iou = memory.empty((count, _BEST), np.float64), memory.empty((count, _BEST), np.float32)
    part = max(1, _MOST_PAIRS // max(cells, 1))
    for first in range(0, count, part):
        size = min(part, count - first), cells
        iou, cost = memory.empty(size, np.float32), memory.empty(size, np.float64)
        start = 0
        for stride in map(int, strides):
            rows, columns = in_h // stride, in_w // stride
            level = start, stride, rows, columns
            memory.launch(_cost_twin, (rows * columns, size[0]), raw, *level, boxes, classes, table, first, iou, cost)
            start += rows * columns
        memory.launch(_choose_twin, size[0] * CHOOSERS, iou, cost, first, chosen, chosen_cost, chosen_iou)
    memory.launch(_match_twin, (cells, raw.shape[0]), table, chosen, chosen_cost, chosen_iou, matched, ious)


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
        Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", section 2, and OTA (Ge et al. 2021). Takes device
        arrays too (``counts`` stay on the host).
    """
    memory = memory_of(raw=raw, boxes=boxes, class_ids=class_ids)
    array = memory.array(raw, "raw", np.float32, ("B", "A", "5 + C"))
    pictures, cells, numbers = array.shape
    size, steps = height_and_width(input_size, "input_size"), head_strides(strides)
    expected = anchor_count(size, steps)
    if cells != expected or numbers < 6:
        raise ValueError(
            f"raw: expected shape [B, {expected}, 5 + C] for input {size} and strides {steps}, got {tuple(array.shape)}"
        )
    box_array = memory.array(boxes, "boxes", np.float32, ("M", 4))
    class_array = memory.array(class_ids, "class_ids", np.int64, ("M",))
    same_length(boxes=box_array, class_ids=class_array)
    starts = picture_starts(counts, pictures, box_array.shape[0])
    check_classes(memory, class_array, numbers - 5)
    matched: NDArray[np.int64] = memory.full((pictures, cells), np.int64, -1)
    ious: NDArray[np.float32] = memory.full((pictures, cells), np.float32, 0)
    head = array, *size, np.asarray(steps, np.int64)
    if memory.on_device:
        _on_device(memory, *head, box_array, class_array, starts, matched, ious)
    else:
        run = _parallel if pictures > 1 and lone_caller() else _serial
        run(*head, box_array, class_array, starts, matched, ious)
    return matched, ious
