"""Raw output of an anchor-free head to boxes of the picture: threshold, decode, suppress and map back in one call."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import unit_interval
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel
from ops.boxes_to_picture import to_picture
from ops.letterbox import Placement
from ops.nms import suppress, suppress_on_device

_AS_GIVEN = Placement(1.0, 1.0, 0, 0)

Detections = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@njit(nogil=True, cache=True, inline="always")
def _sigmoid(x):  # type: ignore[no-untyped-def]
    return np.float32(1.0) / (np.float32(1.0) + math.exp(-x))


@njit(nogil=True, cache=True, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    return math.exp(x)


@njit(nogil=True, cache=True, inline="always")
def _decode_cell(  # type: ignore[no-untyped-def]
    row, gx, gy, stride, scale_y, scale_x, top, left, height, width, score_threshold, box
):
    """Write a cell's box; return its score and class, or a score of -1 for one that is left out."""
    nothing = np.float32(-1.0)
    best = 0
    for c in range(1, row.size - 5):
        if row[5 + c] > row[5 + best]:
            best = c
    score = _sigmoid(row[4]) * _sigmoid(row[5 + best])
    if not score >= score_threshold:  # also drops NaN
        return nothing, 0
    cx, cy = (np.float64(row[0]) + gx) * stride, (np.float64(row[1]) + gy) * stride
    half_w, half_h = np.float64(_exp(row[2])) * stride * 0.5, np.float64(_exp(row[3])) * stride * 0.5
    box[0] = to_picture(cx - half_w, left, scale_x, width)
    box[1] = to_picture(cy - half_h, top, scale_y, height)
    box[2] = to_picture(cx + half_w, left, scale_x, width)
    box[3] = to_picture(cy + half_h, top, scale_y, height)
    inside = box[2] > box[0] and box[3] > box[1]  # neither beside the picture, nor NaN
    return score if inside else nothing, best


@kernel(
    "Tuple((float32[:,::1], float32[::1], int64[::1]))(Array(float32, 2, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), int64, int64, float64, float64, float64, float64, float64, float64,"
    " float32, float32, float64, int64)"
)
def _decode(  # type: ignore[no-untyped-def]
    raw, strides, in_h, in_w, scale_y, scale_x, top, left, height, width, score_threshold, gate, iou_threshold, limit
):
    boxes = np.empty((raw.shape[0], 4), np.float32)
    scores = np.empty(raw.shape[0], np.float32)
    class_ids = np.empty(raw.shape[0], np.int64)
    count = 0
    index = 0
    for stride in strides:
        for gy in range(in_h // stride):
            for gx in range(in_w // stride):
                row = raw[index]
                index += 1
                if row[4] < gate:  # the class factor is at most 1, so this one cannot reach the threshold
                    continue
                score, best = _decode_cell(
                    row, gx, gy, stride, scale_y, scale_x, top, left, height, width, score_threshold, boxes[count]
                )
                if score >= 0:
                    scores[count], class_ids[count] = score, best
                    count += 1
    order = np.argsort(-scores[:count], kind="mergesort")
    kept = suppress(boxes, class_ids, order, iou_threshold, limit)
    return boxes[kept], scores[kept], class_ids[kept]


@cuda_kernel(
    "void(Array(float32, 2, 'C', readonly=True), int64, int64, int64, int64, float64, float64, float64, float64,"
    " float64, float64, float32, float32, float32[:,::1], float32[::1], int64[::1], uint8[::1])"
)
def _decode_twin(  # type: ignore[no-untyped-def]
    raw, start, stride, rows, columns, scale_y, scale_x, top, left, height, width, score_threshold, gate,
    boxes, scores, class_ids, found,
):  # fmt: skip
    """One level of the head, one thread a cell."""
    for cell in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
        index = start + cell
        found[index] = 0
        if raw[index, 4] < gate:
            continue
        score, best = _decode_cell(
            raw[index], cell % columns, cell // columns, stride, scale_y, scale_x, top, left, height, width,
            score_threshold, boxes[index],
        )  # fmt: skip
        scores[index], class_ids[index], found[index] = score, best, score >= 0


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
    memory: DeviceMemory, raw, strides, in_h, in_w, *settings: Any
) -> tuple[Any, Any, Any]:
    *placement, iou_threshold, limit = settings
    cells = raw.shape[0]
    found = memory.empty(cells, np.uint8)
    decoded = _room(memory, cells)
    start = 0
    for stride in map(int, strides):
        rows, columns = in_h // stride, in_w // stride
        level = start, stride, rows, columns
        memory.launch(_decode_twin, rows * columns, raw, *level, *placement, *decoded, found)
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


@functools.lru_cache(maxsize=64)
def _settings(
    size: tuple[int, int], strides: tuple[int, ...], score_threshold: float, iou_threshold: float, max_detections: int
) -> tuple[int, tuple[Any, ...], tuple[Any, ...]]:
    """Check what stays the same from picture to picture, once; the number of cells, and the kernel's arguments."""
    if max_detections < 1:
        raise ValueError(f"max_detections: expected at least 1, got {max_detections!r}")
    score = unit_interval(score_threshold, "score_threshold")
    iou = unit_interval(iou_threshold, "iou_threshold")
    head = (np.asarray(strides, np.int64), *size)
    return anchor_count(size, strides), head, (np.float32(score), np.float32(_gate(score)), iou, int(max_detections))


def decode_detections(
    raw: Any,
    *,
    input_size: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
    placement: Placement = _AS_GIVEN,
    image_size: tuple[int, int] | None = None,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.6,
    max_detections: int = 300,
) -> Detections:
    """Turn the raw output of a YOLOX-type head for one picture into its detections.

    Args:
        raw: float32 [A, 5 + C] per cell: x and y offset in cells, log width and height in strides, objectness logit,
            class logits; cells row by row, finest stride first.
        input_size: (height, width) that the network saw, each a multiple of every stride.
        strides: of the head's levels, in pixels.
        placement: where `letterbox` put the picture.
        image_size: (height, width) of the picture, to clip the boxes to; ``input_size`` if not given.
        score_threshold: least score, which is sigmoid(objectness) * sigmoid(best class).
        iou_threshold: a box is dropped when its IoU with a better one of its class is above this.
        max_detections: at most so many are returned.

    Returns:
        boxes float32 [N, 4] (xyxy, pixels of the picture), scores float32 [N] falling, class_ids int64 [N]. Equal
        scores: the earlier cell first. Boxes are clipped before they suppress each other; one that lies wholly beside
        the picture, and a cell whose numbers are NaN, is left out. Source: Ge et al., "YOLOX" (2021), section 2.
        Takes device arrays too.
    """
    memory = memory_of(raw=raw)
    array = memory.array(raw, "raw", np.float32, ("A", "5 + C"))
    size = int(input_size[0]), int(input_size[1])
    cells, head, thresholds = _settings(size, tuple(strides), score_threshold, iou_threshold, max_detections)
    if array.shape[0] != cells or array.shape[1] < 6:
        raise ValueError(
            f"raw: expected shape [{cells}, 5 + C] for input {size} and strides {tuple(strides)}, got {array.shape}"
        )
    scale_y, scale_x, top, left = placement
    height, width = size if image_size is None else image_size
    run = functools.partial(_on_device, memory) if memory.on_device else _decode
    return run(  # type: ignore[no-any-return]
        array, *head, scale_y, scale_x, float(top), float(left), float(height), float(width), *thresholds
    )
