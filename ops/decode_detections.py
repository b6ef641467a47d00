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
from ops._check import unit_interval
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel
from ops._stable_sort import falling_order
from ops.boxes_to_picture import to_picture
from ops.letterbox import Placement
from ops.nms import suppress, suppress_on_device

DetectionHead = Literal["yolox", "distances", "boxes"]
HeadLayout = Literal["cells_first", "channels_first"]

_HEADS, _LAYOUTS = get_args(DetectionHead), get_args(HeadLayout)
_YOLOX, _DISTANCES, _BOXES = range(3)

_AS_GIVEN = Placement(1.0, 1.0, 0, 0)
_ONE = np.ones(1, np.int64)

Detections = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@njit(nogil=True, cache=True, inline="always")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return np.float32(1.0) / (np.float32(1.0) + math.exp(-x))


@njit(nogil=True, cache=True, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    return math.exp(x)


@njit(nogil=True, cache=True, inline="always")
def _number(raw, channels_first, cell, channel):  # type: ignore[no-untyped-def]
    return raw[channel, cell] if channels_first else raw[cell, channel]


@njit(nogil=True, cache=True, inline="always")
def _best_class(raw, channels_first, cell, first):  # type: ignore[no-untyped-def]
    """The class with the highest number, the lower of equals, and that number."""
    best, highest = 0, _number(raw, channels_first, cell, first)
    for c in range(1, (raw.shape[0] if channels_first else raw.shape[1]) - first):
        number = _number(raw, channels_first, cell, first + c)
        if number > highest:
            best, highest = c, number
    return best, highest


@njit(nogil=True, cache=True)
def _best_classes(raw, first):  # type: ignore[no-untyped-def]
    """`_best_class` of all cells of a head whose channels come first, row by row as they lie in memory."""
    best, highest = np.zeros(raw.shape[1], np.int32), raw[first].copy()
    for c in range(1, raw.shape[0] - first):
        for cell in range(raw.shape[1]):
            number = raw[first + c, cell]
            better = number > highest[cell]
            best[cell] = c if better else best[cell]
            highest[cell] = number if better else highest[cell]
    return best, highest


@njit(nogil=True, cache=True, inline="always")
def _score(kind, number, objectness):  # type: ignore[no-untyped-def]
    if kind == _BOXES:
        return number
    return _sigmoid(objectness) * _sigmoid(number) if kind == _YOLOX else _sigmoid(number)


@njit(nogil=True, cache=True)
def _distance(raw, channels_first, cell, first, bins):  # type: ignore[no-untyped-def]
    """The mean of a distribution over 0, 1, ... that is given as logits; the number itself where there is only one."""
    highest = np.float64(_number(raw, channels_first, cell, first))
    if bins == 1:
        return highest
    for k in range(1, bins):
        highest = higher_of(highest, np.float64(_number(raw, channels_first, cell, first + k)))
    total, mean = 0.0, 0.0
    for k in range(bins):
        part = math.exp(np.float64(_number(raw, channels_first, cell, first + k)) - highest)
        total += part
        mean += part * k
    return mean / total


@njit(nogil=True, cache=True)
def _decode_box(  # type: ignore[no-untyped-def]
    raw, channels_first, kind, bins, cell, gx, gy, stride, scale_y, scale_x, top, left, height, width, box
):
    """Write a cell's box in pixels of the picture; return whether any of it lies there."""
    if kind == _DISTANCES:
        x, y = (gx + 0.5) * stride, (gy + 0.5) * stride
        x1 = x - _distance(raw, channels_first, cell, 0, bins) * stride
        y1 = y - _distance(raw, channels_first, cell, bins, bins) * stride
        x2 = x + _distance(raw, channels_first, cell, 2 * bins, bins) * stride
        y2 = y + _distance(raw, channels_first, cell, 3 * bins, bins) * stride
    else:
        p, q = _number(raw, channels_first, cell, 0), _number(raw, channels_first, cell, 1)
        w, h = _number(raw, channels_first, cell, 2), _number(raw, channels_first, cell, 3)
        cx, cy, half_w, half_h = np.float64(p), np.float64(q), np.float64(w) * 0.5, np.float64(h) * 0.5
        if kind == _YOLOX:
            cx, cy = (cx + gx) * stride, (cy + gy) * stride
            half_w, half_h = np.float64(_exp(w)) * stride * 0.5, np.float64(_exp(h)) * stride * 0.5
        x1, y1, x2, y2 = cx - half_w, cy - half_h, cx + half_w, cy + half_h
    box[0] = to_picture(x1, left, scale_x, width)
    box[1] = to_picture(y1, top, scale_y, height)
    box[2] = to_picture(x2, left, scale_x, width)
    box[3] = to_picture(y2, top, scale_y, height)
    return box[2] > box[0] and box[3] > box[1]  # neither beside the picture, nor NaN


@kernel(
    "Tuple((float32[:,::1], float32[::1], int64[::1]))(Array(float32, 2, 'C', readonly=True), boolean, int64, int64,"
    " int64, Array(int64, 1, 'C', readonly=True), int64, int64, float64, float64, float64, float64, float64, float64,"
    " float32, float32, float64, int64)"
)
def _decode(  # type: ignore[no-untyped-def]
    raw, channels_first, kind, bins, first, strides, in_h, in_w, scale_y, scale_x, top, left, height, width,
    score_threshold, gate, iou_threshold, limit,
):  # fmt: skip
    cells = raw.shape[1] if channels_first else raw.shape[0]
    boxes, scores, class_ids = np.empty((cells, 4), np.float32), np.empty(cells, np.float32), np.empty(cells, np.int64)
    best_of, highest_of = _best_classes(raw, first) if channels_first else (np.empty(0, np.int32), raw[:0, 0].copy())
    count = 0
    cell = -1
    for stride in strides:
        for gy in range(in_h // stride):
            for gx in range(in_w // stride):
                cell += 1
                objectness = _number(raw, channels_first, cell, 4) if kind == _YOLOX else np.float32(0.0)
                if kind == _YOLOX and objectness < gate:  # the class factor is at most 1: it cannot reach the threshold
                    continue
                if channels_first:
                    best, highest = np.int64(best_of[cell]), highest_of[cell]
                else:
                    best, highest = _best_class(raw, channels_first, cell, first)
                if kind != _YOLOX and highest < gate:
                    continue
                score = _score(kind, highest, objectness)
                if score >= score_threshold and _decode_box(  # a NaN is not
                    raw, channels_first, kind, bins, cell, gx, gy, stride, scale_y, scale_x, top, left, height, width,
                    boxes[count],
                ):  # fmt: skip
                    scores[count], class_ids[count] = score, best
                    count += 1
    kept = suppress(boxes, class_ids, falling_order(scores[:count]), iou_threshold, limit)
    return boxes[kept], scores[kept], class_ids[kept]


@cuda_kernel(
    "void(Array(float32, 2, 'C', readonly=True), boolean, int64, int64, int64, int64, int64, int64, int64, float64,"
    " float64, float64, float64, float64, float64, float32, float32, float32[:,::1], float32[::1], int64[::1],"
    " uint8[::1])"
)
def _decode_twin(  # type: ignore[no-untyped-def]
    raw, channels_first, kind, bins, first, start, stride, rows, columns, scale_y, scale_x, top, left, height, width,
    score_threshold, gate, boxes, scores, class_ids, found,
):  # fmt: skip
    """One level of the head, one thread a cell."""
    for index in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
        cell = start + index
        found[cell] = 0
        objectness = _number(raw, channels_first, cell, 4) if kind == _YOLOX else np.float32(0.0)
        if kind == _YOLOX and objectness < gate:
            continue
        best, highest = _best_class(raw, channels_first, cell, first)
        score = _score(kind, highest, objectness)
        if score >= score_threshold:
            scores[cell], class_ids[cell] = score, best
            found[cell] = _decode_box(
                raw, channels_first, kind, bins, cell, index % columns, index // columns, stride, scale_y, scale_x,
                top, left, height, width, boxes[cell],
            )  # fmt: skip


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
    memory: DeviceMemory, raw, channels_first, kind, bins, first, strides, in_h, in_w, *settings: Any
) -> tuple[Any, Any, Any]:
    *placement, iou_threshold, limit = settings
    form = channels_first, kind, bins, first
    cells = raw.shape[1] if channels_first else raw.shape[0]
    found = memory.empty(cells, np.uint8)
    decoded = _room(memory, cells)
    start = 0
    for stride in map(int, strides):
        rows, columns = in_h // stride, in_w // stride
        level = start, stride, rows, columns
        memory.launch(_decode_twin, rows * columns, raw, *form, *level, *placement, *decoded, found)
        start += rows * columns
    candidates = _picked(memory, decoded, marked_indices(memory, found))
    kept = suppress_on_device(memory, *candidates, iou_threshold, limit)
    return _picked(memory, candidates, kept)


def _room(memory: DeviceMemory, count: int) -> tuple[Any, Any, Any]:
    return memory.empty((count, 4), np.float32), memory.empty(count, np.float32), memory.empty(count, np.int64)


def _picked(memory: DeviceMemory, detections: tuple[Any, Any, Any], chosen: Any) -> tuple[Any, Any, Any]:
    picked = _room(memory, chosen.size)
    memory.launch(_pick_twin, chosen.size, *detections, chosen, *picked)
    return picked


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
    if bins < 1:
        raise ValueError(f"bins: expected at least 1, got {bins!r}")
    kind = _HEADS.index(head)
    return layout == "channels_first", kind, int(bins), {_YOLOX: 5, _DISTANCES: 4 * int(bins), _BOXES: 4}[kind]


@functools.lru_cache(maxsize=64)
def _settings(
    size: tuple[int, int], strides: tuple[int, ...], kind: int, score_threshold: float, iou_threshold: float,
    max_detections: int,
) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:  # fmt: skip
    """Check what stays the same from picture to picture, once; the number of cells, and the kernel's arguments."""
    if max_detections < 1:
        raise ValueError(f"max_detections: expected at least 1, got {max_detections!r}")
    score = unit_interval(score_threshold, "score_threshold")
    iou = unit_interval(iou_threshold, "iou_threshold")
    grid = (np.asarray(strides, np.int64), *size)
    gate = score if kind == _BOXES else _gate(score)
    return anchor_count(size, strides), grid, (np.float32(score), np.float32(gate), iou, int(max_detections))


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
    channels_first, kind, bins, first = form = _head_numbers(head, layout, bins)
    names = "A", f"{first} + C"
    array = memory.array(raw, "raw", np.float32, names[::-1] if channels_first else names)
    size = int(input_size[0]), int(input_size[1])
    cells, grid, thresholds = _settings(size, tuple(strides), kind, score_threshold, iou_threshold, max_detections)
    found, numbers = array.shape[::-1] if channels_first else array.shape
    if kind == _BOXES:  # as one level of one row
        cells, grid = found, (_ONE, 1, found)
    if found != cells or numbers <= first:
        expected = f"[{first} + C, {cells}]" if channels_first else f"[{cells}, {first} + C]"
        raise ValueError(
            f"raw: expected shape {expected} for input {size} and strides {tuple(strides)}, got {tuple(array.shape)}"
        )
    scale_y, scale_x, top, left = placement
    height, width = size if image_size is None else image_size
    run = functools.partial(_on_device, memory) if memory.on_device else _decode
    return run(  # type: ignore[no-any-return]
        array, *form, *grid, scale_y, scale_x, float(top), float(left), float(height), float(width), *thresholds
    )
