"""Soft non-maximum suppression: boxes that overlap a better one lose score instead of being dropped."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import same_length, unit_interval
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import CHOOSERS, counting, marked_indices, next_of, stable_order
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel
from ops._stable_sort import falling_order
from ops.box_iou import wide_iou_of
from ops.nms import classes_on_device

SoftNmsMethod = Literal["linear", "gaussian"]

_METHODS = get_args(SoftNmsMethod)
_LINEAR = _METHODS.index("linear")
_GONE = np.float32(-1.0)


@njit(nogil=True, cache=True)
def _decayed(score, boxes, best, other, method, threshold, sigma, least):  # type: ignore[no-untyped-def]
    """What is left of a box's score beside a better box; `_GONE` where that is below the least."""
    iou = wide_iou_of(
        boxes[best, 0], boxes[best, 1], boxes[best, 2], boxes[best, 3],
        boxes[other, 0], boxes[other, 1], boxes[other, 2], boxes[other, 3],
    )  # fmt: skip
    if method == _LINEAR:
        if iou > threshold:
            score = np.float32(np.float64(score) * (1.0 - iou))
    elif iou > 0:
        score = np.float32(np.float64(score) * math.exp(-(iou * iou) / sigma))
    return score if score >= least else _GONE


@njit(nogil=True, cache=True)
def _soften(boxes, members, scores, method, threshold, sigma, least, final):  # type: ignore[no-untyped-def]
    """One class, whose ``members`` rise: write the final scores of those that stay."""
    left = np.empty(members.size, np.int64)
    count = 0
    for box in members:
        if scores[box] >= least:
            left[count] = box
            count += 1
    while count > 0:
        best = left[0]
        for k in range(1, count):
            if scores[left[k]] > scores[best]:
                best = left[k]
        final[best] = scores[best]
        remaining = 0
        for k in range(count):
            box = left[k]
            if box == best:
                continue
            scores[box] = _decayed(scores[box], boxes, best, box, method, threshold, sigma, least)
            if scores[box] != _GONE:
                left[remaining] = box
                remaining += 1
        count = remaining


@kernel(
    "Tuple((int64[::1], float32[::1]))(Array(float32, 2, 'C', readonly=True), float32[::1],"
    " Array(int64, 1, 'C', readonly=True), int64, float64, float64, float32)"
)
def _soft_nms(boxes, scores, class_ids, method, threshold, sigma, least):  # type: ignore[no-untyped-def]
    final = np.full(scores.size, _GONE, np.float32)
    by_class = np.argsort(class_ids, kind="mergesort")
    start = 0
    for stop in range(1, scores.size + 1):
        if stop == scores.size or class_ids[by_class[stop]] != class_ids[by_class[start]]:
            _soften(boxes, by_class[start:stop], scores, method, threshold, sigma, least, final)
            start = stop
    order = falling_order(final)
    kept = order[: np.sum(final != _GONE)]
    return kept, final[kept]


@cuda_kernel(
    "void(Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), float32, float32[:,::1], float32[::1])"
)
def _arrange_twin(boxes, scores, by_class, least, arranged, left):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), left.size, cuda.gridsize(1)):
        box = by_class[k]
        for side in range(4):
            arranged[k, side] = boxes[box, side]
        left[k] = scores[box] if scores[box] >= least else _GONE


@cuda_kernel(
    "void(float32[:,::1], float32[::1], int64[::1], int64[::1], Array(int64, 1, 'C', readonly=True), int64, float64,"
    " float64, float32, float32[::1])",
    block=CHOOSERS,
    fixed=True,
)
def _soften_twin(boxes, left, first, end, by_class, method, threshold, sigma, least, final):  # type: ignore[no-untyped-def]
    """One block a class: all its threads look for the best box, then each softens its share of the others."""
    keys = cuda.shared.array(CHOOSERS, np.float64)
    places = cuda.shared.array(CHOOSERS, np.int64)
    thread = cuda.threadIdx.x
    for head in range(cuda.blockIdx.x, left.size, cuda.gridDim.x):
        if first[head] != head:
            continue
        scores = left[head : end[head]]
        own = boxes[head : end[head]]
        for _ in range(scores.size):
            _, best = next_of(scores, -1.0, scores, _GONE, 0.0, -1, keys, places)
            if best < 0:
                break
            for other in range(thread, scores.size, CHOOSERS):  # the very ones that this thread looks through
                if other == best:
                    final[by_class[head + best]] = scores[best]
                    scores[best] = _GONE
                elif scores[other] != _GONE:
                    scores[other] = _decayed(scores[other], own, best, other, method, threshold, sigma, least)


@cuda_kernel("void(float32[::1], float32[::1], uint8[::1])")
def _rank_twin(final, keys, kept):  # type: ignore[no-untyped-def]
    """What sorts the boxes that stay before all others; flags count them."""
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        keys[k], kept[k] = -final[k], final[k] != _GONE


@cuda_kernel("void(int64[::1], float32[::1], int64[::1], float32[::1])")
def _pick_twin(order, final, kept, scores):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), kept.size, cuda.gridsize(1)):
        kept[k], scores[k] = order[k], final[order[k]]


def _on_device(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, boxes, scores, class_ids, method: int, threshold: float, sigma: float, least: Any
) -> tuple[Any, Any]:
    count = scores.size
    if count == 0:
        return memory.empty(0, np.int64), memory.empty(0, np.float32)
    by_class, first, end, _ = classes_on_device(memory, class_ids, counting(memory, count))
    arranged, left = memory.empty((count, 4), np.float32), memory.empty(count, np.float32)
    memory.launch(_arrange_twin, count, boxes, scores, by_class, least, arranged, left)
    final = memory.full(count, np.float32, int(_GONE))
    settings = method, threshold, sigma, least
    memory.launch(_soften_twin, count * CHOOSERS, arranged, left, first, end, by_class, *settings, final)
    keys, flags = memory.empty(count, np.float32), memory.empty(count, np.uint8)
    memory.launch(_rank_twin, count, final, keys, flags)
    _, order = stable_order(memory, keys)
    kept = memory.empty(marked_indices(memory, flags).size, np.int64)
    result = memory.empty(kept.size, np.float32)
    memory.launch(_pick_twin, kept.size, order, final, kept, result)
    return kept, result


def soft_nms(
    boxes: Any,
    scores: Any,
    *,
    class_ids: Any = None,
    method: SoftNmsMethod = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Lower the scores of boxes that overlap a better one, of the same class where classes are given.

    Again and again the box with the best score is taken, and those that are left lose: ``linear`` multiplies the score
    by 1 - IoU where the IoU is above ``iou_threshold``, ``gaussian`` by exp(-IoU^2 / sigma).

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N].
        class_ids: int64 [N], any numbers; ``picture * C + class`` for many pictures at once.
        method: ``linear`` or ``gaussian``.
        iou_threshold: of ``linear``.
        sigma: of ``gaussian``, above 0.
        score_threshold: a box is dropped when its score falls below this; so is one whose score is NaN.

    Returns:
        indices int64 [K] of the boxes that stay and their scores float32 [K], falling; equal scores keep the lower
        index first. Complexity O(n K) for n boxes in a class. Source: Bodla et al., "Soft-NMS: Improving Object
        Detection With One Line of Code", ICCV 2017. Takes device arrays too; the exponential differs there in its last
        digits.
    """
    if method not in _METHODS:
        raise ValueError(f"method: expected {' or '.join(_METHODS)}, got {method!r}")
    if not 0 < sigma < float("inf"):
        raise ValueError(f"sigma: expected a finite number above 0, got {sigma!r}")
    memory = memory_of(boxes=boxes, scores=scores, class_ids=class_ids)
    box_array = memory.array(boxes, "boxes", np.float32, ("N", 4))
    score_array = memory.array(scores, "scores", np.float32, ("N",))
    class_array = None if class_ids is None else memory.array(class_ids, "class_ids", np.int64, ("N",))
    same_length(boxes=box_array, scores=score_array, **({} if class_array is None else {"class_ids": class_array}))
    settings = (
        _METHODS.index(method), unit_interval(iou_threshold, "iou_threshold"), float(sigma),
        np.float32(unit_interval(score_threshold, "score_threshold")),
    )  # fmt: skip
    if memory.on_device:
        return _on_device(memory, box_array, score_array, class_array, *settings)
    if class_array is None:
        class_array = np.zeros(len(score_array), np.int64)
    return _soft_nms(box_array, score_array.copy(), class_array, *settings)  # type: ignore[no-any-return]
