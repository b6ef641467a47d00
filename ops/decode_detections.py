"""Raw output of an anchor-free head to boxes of the picture: threshold, decode, suppress and map back in one call."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import higher_of
from ops._check import height_and_width, unit_interval, whole_number
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory, memory_of
from ops._highest import first_place, highest_number
from ops._kernel import kernel
from ops._stable_sort import by_leading_digit, falling_entry, place_of, sort_digit
from ops.boxes_to_picture import to_picture
from ops.letterbox import Placement
from ops.nms import mark_best, room_for, suppress_on_device

DetectionHead = Literal["yolox", "distances", "boxes"]
HeadLayout = Literal["cells_first", "channels_first"]

_HEADS, _LAYOUTS = get_args(DetectionHead), get_args(HeadLayout)
_YOLOX, _DISTANCES, _BOXES = range(3)

_AS_GIVEN = Placement(1.0, 1.0, 0, 0)

# Boxes that are decoded, then compared with the kept ones, at a time.
_AT_A_TIME = 64

Detections = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@njit(nogil=True, cache=True, inline="always")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return np.float32(1.0) / (np.float32(1.0) + math.exp(-x))


@njit(nogil=True, cache=True, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    return math.exp(x)


@njit(nogil=True, cache=True, inline="always")
def _number(raw, steps, cell, channel):  # type: ignore[no-untyped-def]
    """One of a cell's numbers; ``steps`` says how far apart cells, and the numbers of a cell, lie in memory."""
    return raw[cell * steps[0] + channel * steps[1]]


@njit(nogil=True, cache=True, inline="always")
def _best_class(raw, steps, cell, first, classes):  # type: ignore[no-untyped-def]
    """The class with the highest number, the lower of equals, and that number."""
    best, highest = 0, _number(raw, steps, cell, first)
    for c in range(1, classes):
        number = _number(raw, steps, cell, first + c)
        if number > highest:
            best, highest = c, number
    return best, highest


@njit(nogil=True, cache=True)
def _highest_of_columns(raw, first, classes, highest):  # type: ignore[no-untyped-def]
    """The highest class number of all cells of a head whose channels come first, row by row as they lie in memory."""
    cells = highest.size
    for cell in range(cells):
        highest[cell] = raw[first * cells + cell]
    for c in range(first + 1, first + classes):
        for cell in range(cells):
            number = raw[np.uint64(c * cells + cell)]  # unsigned, or numba looks whether it counts from the end
            highest[cell] = number if number > highest[cell] else highest[cell]


@njit(nogil=True, cache=True, inline="always")
def _score(kind, number, objectness):  # type: ignore[no-untyped-def]
    if kind == _BOXES:
        return number
    return _sigmoid(objectness) * _sigmoid(number) if kind == _YOLOX else _sigmoid(number)


@njit(nogil=True, cache=True)
def _distance(raw, steps, cell, first, bins):  # type: ignore[no-untyped-def]
    """The mean of a distribution over 0, 1, ... that is given as logits; the number itself where there is only one."""
    highest = np.float64(_number(raw, steps, cell, first))
    if bins == 1:
        return highest
    for k in range(1, bins):
        highest = higher_of(highest, np.float64(_number(raw, steps, cell, first + k)))
    total, mean = 0.0, 0.0
    for k in range(bins):
        part = math.exp(np.float64(_number(raw, steps, cell, first + k)) - highest)
        total += part
        mean += part * k
    return mean / total


@njit(nogil=True, cache=True)
def _decode_box(  # type: ignore[no-untyped-def]
    raw, steps, kind, bins, cell, gx, gy, stride, scale_y, scale_x, top, left, height, width
):
    """A cell's box in pixels of the picture, and whether any of it lies there."""
    if kind == _DISTANCES:
        x, y = (gx + 0.5) * stride, (gy + 0.5) * stride
        x1 = x - _distance(raw, steps, cell, 0, bins) * stride
        y1 = y - _distance(raw, steps, cell, bins, bins) * stride
        x2 = x + _distance(raw, steps, cell, 2 * bins, bins) * stride
        y2 = y + _distance(raw, steps, cell, 3 * bins, bins) * stride
    else:
        p, q = _number(raw, steps, cell, 0), _number(raw, steps, cell, 1)
        w, h = _number(raw, steps, cell, 2), _number(raw, steps, cell, 3)
        cx, cy, half_w, half_h = np.float64(p), np.float64(q), np.float64(w) * 0.5, np.float64(h) * 0.5
        if kind == _YOLOX:
            cx, cy = (cx + gx) * stride, (cy + gy) * stride
            half_w, half_h = np.float64(_exp(w)) * stride * 0.5, np.float64(_exp(h)) * stride * 0.5
        x1, y1, x2, y2 = cx - half_w, cy - half_h, cx + half_w, cy + half_h
    box = (
        np.float32(to_picture(x1, left, scale_x, width)), np.float32(to_picture(y1, top, scale_y, height)),
        np.float32(to_picture(x2, left, scale_x, width)), np.float32(to_picture(y2, top, scale_y, height)),
    )  # fmt: skip
    return box, box[2] > box[0] and box[3] > box[1]  # neither beside the picture, nor NaN


@njit(nogil=True, cache=True, error_model="numpy")
def _place_of(cell, levels):  # type: ignore[no-untyped-def]
    """The column, row and stride of a cell; a level's row says with which cell it ends, its columns, and its stride."""
    level, start = 0, 0
    while cell >= levels[level, 0]:
        start = levels[level, 0]
        level += 1
    row = (cell - start) // levels[level, 1]
    return cell - start - row * levels[level, 1], row, levels[level, 2]


@njit(nogil=True, cache=True, error_model="numpy")
def _candidates(raw, steps, kind, first, classes, score_threshold, gate):  # type: ignore[no-untyped-def]
    """The highest class number of each cell and its score, and the entries, to sort, of the cells that reach the least.

    The first two hold anything where a cell does not. No loop branches on what is in the head: when a processor learns
    that it foresaw this wrongly, a read from memory or two exponentials have been waited for.
    """
    cells = raw.size // (first + classes)
    highest_of, scores, entries = np.empty(cells, np.float32), np.empty(cells, np.float32), np.empty(cells, np.uint64)
    listed, count = np.empty(cells, np.int64), 0
    for cell in range(cells):  # a score's factors are at most 1: one alone cannot bring it to the threshold
        listed[count] = cell
        count += _number(raw, steps, cell, 4) >= gate if kind == _YOLOX else True
    if steps[1] != 1:
        _highest_of_columns(raw, first, classes, highest_of)
    else:
        for i in range(count):
            highest_of[listed[i]] = highest_number(raw, listed[i] * steps[0] + first, classes)
    found, count = count, 0
    for i in range(found):
        cell = listed[i]
        listed[count] = cell
        count += highest_of[cell] >= gate
    found, count = count, 0
    for i in range(found):
        cell = listed[i]
        objectness = _number(raw, steps, cell, 4) if kind == _YOLOX else np.float32(0.0)
        score, known = np.float32(_score(kind, highest_of[cell], objectness)), _number(raw, steps, cell, first)
        scores[cell] = score
        entries[count] = falling_entry(score.view(np.uint32), cell)  # of no cell where it stays the last
        # A NaN does not reach it; nor does a cell whose first class is NaN, as one of which all are.
        count += (score >= score_threshold) & (known == known)
    return highest_of, scores, entries[:count]


@njit(nogil=True, cache=True)
def _first_class(raw, steps, cell, first, classes, number):  # type: ignore[no-untyped-def]
    """The first class that has this number, which one of them has."""
    if steps[1] == 1:
        return first_place(raw, cell * steps[0] + first, classes, number)
    c = 0
    while _number(raw, steps, cell, first + c) != number:
        c += 1
    return c


@kernel(
    "int64(Array(float32, 1, 'C', readonly=True), UniTuple(int64, 2), int64, int64, int64, int64,"
    " Array(int64, 2, 'C', readonly=True), float64, float64, float64, float64, float64, float64, float32, float32,"
    " float64, float32[:,::1], float32[::1], int64[::1])"
)
def _decode(  # type: ignore[no-untyped-def]
    raw, steps, kind, bins, first, classes, levels, scale_y, scale_x, top, left, height, width, score_threshold, gate,
    iou_threshold, boxes, scores, class_ids,
):  # fmt: skip
    """Walk the candidates from the best on, some at a time; none is decoded after as many as there is room for."""
    highest_of, scores_of, entries = _candidates(raw, steps, kind, first, classes, score_threshold, gate)
    order, shift = by_leading_digit(entries, entries.size)
    sides, areas, kept_classes, chained, last = room_for(scores.size)
    found, ids, marks = (
        np.empty((_AT_A_TIME, 4), np.float32),
        np.empty(_AT_A_TIME, np.int64),
        np.empty(_AT_A_TIME, np.bool_),
    )
    cells, count, rank, ready = np.empty(_AT_A_TIME, np.int64), 0, 0, 0
    while rank < order.size and count < scores.size:
        size = 0
        while rank < order.size and size < _AT_A_TIME:
            if rank == ready:
                ready = sort_digit(order, rank, shift)
            cell = place_of(order[rank])
            rank += 1
            gx, gy, stride = _place_of(cell, levels)
            box, seen = _decode_box(
                raw, steps, kind, bins, cell, gx, gy, stride, scale_y, scale_x, top, left, height, width
            )
            if seen:
                found[size, 0], found[size, 1], found[size, 2], found[size, 3] = box
                ids[size] = _first_class(raw, steps, cell, first, classes, highest_of[cell])
                cells[size] = cell
                size += 1
        most = scores.size - count
        mark_best(found, ids, 0, size, iou_threshold, most, sides, areas, kept_classes, chained, last, marks)
        for i in range(size):
            if marks[i]:
                for side in range(4):
                    boxes[count, side] = found[i, side]
                scores[count], class_ids[count] = scores_of[cells[i]], ids[i]
                count += 1
    return count


@cuda_kernel(
    "void(Array(float32, 1, 'C', readonly=True), UniTuple(int64, 2), int64, int64, int64, int64, int64, int64, int64,"
    " int64, float64, float64, float64, float64, float64, float64, float32, float32, float32[:,::1], float32[::1],"
    " int64[::1], uint8[::1])"
)
def _decode_twin(  # type: ignore[no-untyped-def]
    raw, steps, kind, bins, first, classes, start, stride, rows, columns, scale_y, scale_x, top, left, height, width,
    score_threshold, gate, boxes, scores, class_ids, found,
):  # fmt: skip
    """One level of the head, one thread a cell."""
    for index in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
        cell = start + index
        found[cell] = 0
        objectness = _number(raw, steps, cell, 4) if kind == _YOLOX else np.float32(0.0)
        if kind == _YOLOX and objectness < gate:
            continue
        best, highest = _best_class(raw, steps, cell, first, classes)
        score = _score(kind, highest, objectness)
        if score >= score_threshold:
            scores[cell], class_ids[cell] = score, best
            box, found[cell] = _decode_box(
                raw, steps, kind, bins, cell, index % columns, index // columns, stride, scale_y, scale_x,
                top, left, height, width,
            )  # fmt: skip
            boxes[cell, 0], boxes[cell, 1], boxes[cell, 2], boxes[cell, 3] = box


@cuda_kernel(
    "void(float32[:,::1], float32[::1], int64[::1], Array(int64, 1, 'C', readonly=True),"
    " float32[:,::1], float32[::1], int64[::1])"
)
def _pick_twin(boxes, scores, class_ids, chosen, out_boxes, out_scores, out_ids):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), chosen.size, cuda.gridsize(1)):
        i = chosen[k]
        for side in range(4):
            out_boxes[k, side] = boxes[i, side]
        out_scores[k], out_ids[k] = scores[i], class_ids[i]


def _on_device(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, raw, steps, kind, bins, first, classes, levels, *settings: Any
) -> tuple[Any, Any, Any]:
    *placement, iou_threshold, limit = settings
    cells = raw.size // (first + classes)
    found = memory.empty(cells, np.uint8)
    decoded = _room(memory, cells)
    start = 0
    for end, columns, stride in levels.tolist():
        level = start, stride, (end - start) // columns, columns
        memory.launch(
            _decode_twin, end - start, raw, steps, kind, bins, first, classes, *level, *placement, *decoded, found
        )
        start = end
    candidates = _picked(memory, decoded, marked_indices(memory, found))
    kept = suppress_on_device(memory, *candidates, iou_threshold, limit)
    return _picked(memory, candidates, kept)


def _room(memory: DeviceMemory, count: int) -> tuple[Any, Any, Any]:
    return memory.empty((count, 4), np.float32), memory.empty(count, np.float32), memory.empty(count, np.int64)


def _picked(memory: DeviceMemory, detections: tuple[Any, Any, Any], chosen: Any) -> tuple[Any, Any, Any]:
    picked = _room(memory, chosen.size)
    memory.launch(_pick_twin, chosen.size, *detections, chosen, *picked)
    return picked


def head_strides(strides: Any) -> tuple[int, ...]:
    """Return the strides of a head's levels as ints, or raise ``ValueError`` unless all are positive whole numbers."""
    try:
        found = tuple(whole_number(stride, "strides", 1) for stride in strides)
    except (TypeError, ValueError):
        found = ()
    if not found:
        raise ValueError(f"strides: expected a positive whole number for each level, got {strides!r}")
    return found


def anchor_count(input_size: tuple[int, int], strides: Sequence[int]) -> int:
    """Return how many cells a head of these strides has on an input of (height, width)."""
    return sum((input_size[0] // stride) * (input_size[1] // stride) for stride in strides)


def _gate(score: float) -> float:
    """Return the least objectness logit that can reach ``score``, a hair lower for rounding.

    Above a logit of 7 a hair is not enough: float32 sigmoids lie too close together there, and are 1 from about 17 on.
    """
    if score == 0:
        return -math.inf
    return min(math.log(score / (1 - score)) - 1e-3, 7.0) if score < 1 else 7.0


def _head_numbers(head: str, layout: str, bins: int) -> tuple[bool, int, int, int]:
    """Return whether channels come first, the head's number, its bins, and where its class scores begin."""
    if head not in _HEADS:
        raise ValueError(f"head: expected {', '.join(_HEADS)}, got {head!r}")
    if layout not in _LAYOUTS:
        raise ValueError(f"layout: expected {' or '.join(_LAYOUTS)}, got {layout!r}")
    bins = whole_number(bins, "bins", 1)
    kind = _HEADS.index(head)
    return layout == "channels_first", kind, bins, {_YOLOX: 5, _DISTANCES: 4 * bins, _BOXES: 4}[kind]


def _settings(
    input_size: Any, strides: Any, kind: int, score_threshold: Any, iou_threshold: Any, max_detections: Any
) -> tuple[tuple[int, int], NDArray[np.int64] | None, tuple[Any, ...]]:
    """Check what stays the same from picture to picture; the size, the levels of a head with strides, and the least
    score, its gate, the IoU and the number of detections."""
    size = height_and_width(input_size, "input_size")
    score, iou = unit_interval(score_threshold, "score_threshold"), unit_interval(iou_threshold, "iou_threshold")
    limit = whole_number(max_detections, "max_detections", 1)
    if kind == _BOXES:
        return size, None, (np.float32(score), np.float32(score), iou, limit)
    return size, _levels(size, head_strides(strides)), (np.float32(score), np.float32(_gate(score)), iou, limit)


_kept_settings = functools.lru_cache(maxsize=64)(_settings)


def _levels(size: tuple[int, int], strides: tuple[int, ...]) -> NDArray[np.int64]:
    """See `_place_of`."""
    columns = [size[1] // stride for stride in strides]
    ends = np.cumsum([size[0] // stride * wide for stride, wide in zip(strides, columns, strict=True)])
    return np.column_stack([ends, columns, strides]).astype(np.int64)


def decode_detections(
    raw: Any,
    *,
    input_size: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
    head: DetectionHead = "yolox",
    bins: int = 16,
    layout: HeadLayout = "cells_first",
    placement: Placement = _AS_GIVEN,
    image_size: tuple[int, int] | None = None,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.6,
    max_detections: int = 300,
) -> Detections:
    """Turn the raw output of a dense detection head for one picture into its detections.

    Args:
        raw: float32 [A, K] or, with ``layout="channels_first"``, [K, A], the K numbers of each cell by ``head``:

            - ``yolox``: x and y offset in cells, log width and height in strides, objectness logit, class logits;
            - ``distances``: for left, top, right and bottom ``bins`` logits of how many strides that edge lies from the
              cell's centre (0, 1, ..., bins - 1; the distance itself where bins is 1), class logits;
            - ``boxes``: centre x and y, width and height in pixels of the input, class probabilities: what most
              exported YOLOv8 models give, as [84, 8400].

            Cells row by row, finest stride first; of ``boxes`` any number, in any order.
        input_size: (height, width) that the network saw, each a multiple of every stride.
        strides: of the head's levels, in pixels; not used for ``boxes``.
        head: what the numbers mean.
        bins: of a ``distances`` head (16 in YOLOv8; 8 and more elsewhere).
        layout: ``cells_first`` or ``channels_first``; neither is copied.
        placement: where `letterbox` put the picture.
        image_size: (height, width) of the picture, to clip the boxes to; ``input_size`` if not given.
        score_threshold: least score: sigmoid(best class), times sigmoid(objectness) for ``yolox``.
        iou_threshold: a box is dropped when its IoU with a better one of its class is above this.
        max_detections: at most so many are returned.

    Returns:
        boxes float32 [N, 4] (xyxy, pixels of the picture), scores float32 [N] falling, class_ids int64 [N]. Equal
        scores: the earlier cell first. Boxes are clipped before they suppress each other; one that lies wholly beside
        the picture, and a cell whose numbers are NaN, is left out. Sources: Ge et al., "YOLOX" (2021), section 2; Li et
        al., "Generalized Focal Loss" (NeurIPS 2020), the distributions. Takes device arrays too.
    """
    memory = memory_of(raw=raw)
    channels_first, kind, bins, first = _head_numbers(head, layout, bins)
    names = "A", f"{first} + C"
    array = memory.array(raw, "raw", np.float32, names[::-1] if channels_first else names)
    given = input_size, strides, kind, score_threshold, iou_threshold, max_detections
    try:
        size, levels, (*least, limit) = _kept_settings(*given)
    except TypeError:  # lists cannot be looked up
        size, levels, (*least, limit) = _settings(*given)
    found, numbers = array.shape[::-1] if channels_first else array.shape
    if levels is None:  # as one level of one row
        levels = np.array([[found, max(found, 1), 1]])
    cells = int(levels[-1, 0])
    if found != cells or numbers <= first:
        expected = f"[{first} + C, {cells}]" if channels_first else f"[{cells}, {first} + C]"
        raise ValueError(
            f"raw: expected shape {expected} for input {size} and strides {strides}, got {tuple(array.shape)}"
        )
    scale_y, scale_x, top, left = placement
    height, width = size if image_size is None else height_and_width(image_size, "image_size")
    form = (1, found) if channels_first else (numbers, 1), kind, bins, first, numbers - first
    place = scale_y, scale_x, float(top), float(left), float(height), float(width)
    flat = array.reshape(array.size)
    if memory.on_device:
        return _on_device(memory, flat, *form, levels, *place, *least, limit)
    room = min(cells, limit)
    boxes, scores, class_ids = np.empty((room, 4), np.float32), np.empty(room, np.float32), np.empty(room, np.int64)
    count = _decode(flat, *form, levels, *place, *least, boxes, scores, class_ids)
    return boxes[:count], scores[:count], class_ids[:count]
