"""Weighted box fusion: the boxes of several models, averaged where they agree instead of dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import host_array, same_length, unit_interval
from ops._kernel import kernel
from ops._stable_sort import falling_order
from ops.box_iou import wide_iou_of


@njit(nogil=True, cache=True)
def _best_cluster(box, class_id, fused, class_ids, count, threshold):  # type: ignore[no-untyped-def]
    """The cluster of the class that the box overlaps most and more than the threshold, the earlier of equals; or -1."""
    best, best_iou = -1, threshold
    for c in range(count):
        if class_ids[c] == class_id:
            iou = wide_iou_of(fused[c, 0], fused[c, 1], fused[c, 2], fused[c, 3], box[0], box[1], box[2], box[3])
            if iou > best_iou:
                best, best_iou = c, iou
    return best


@kernel(
    "Tuple((float32[:,::1], float32[::1], int64[::1]))(Array(float32, 2, 'C', readonly=True),"
    " Array(float32, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), float64, int64)"
)
def _fuse(boxes, scores, class_ids, threshold, models):  # type: ignore[no-untyped-def]
    count = 0
    weights, members = np.zeros(scores.size, np.float64), np.zeros(scores.size, np.int64)
    sums, fused = np.zeros((scores.size, 4), np.float64), np.empty((scores.size, 4), np.float32)
    fused_ids = np.empty(scores.size, np.int64)
    for i in falling_order(scores):
        c = _best_cluster(boxes[i], class_ids[i], fused, fused_ids, count, threshold)
        if c < 0:
            c = count
            fused_ids[c] = class_ids[i]
            count += 1
        weight = np.float64(scores[i])
        weights[c] += weight
        members[c] += 1
        for side in range(4):
            sums[c, side] += weight * np.float64(boxes[i, side])
            fused[c, side] = sums[c, side] / weights[c]
    fused_scores = np.empty(count, np.float32)
    for c in range(count):
        fused_scores[c] = weights[c] / members[c] * (min(members[c], models) / models)
    order = falling_order(fused_scores)
    return fused[order], fused_scores[order], fused_ids[order]


# One weight each: an id that is larger is no number of a model.
_MOST_MODELS = 1_000_000


def _model_weights(weights: Sequence[float] | None, model_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights whose mean is 1, one a model; ``ValueError`` unless there is one for each model that occurs."""
    highest = int(model_ids.max(initial=0))
    if highest >= _MOST_MODELS:
        raise ValueError(f"model_ids: expected numbers below {_MOST_MODELS}, got {highest}")
    values: NDArray[np.float64] = np.ones(highest + 1) if weights is None else np.asarray(weights, np.float64)
    if values.ndim != 1 or not len(values) or not ((values > 0) & np.isfinite(values)).all():
        raise ValueError(f"weights: expected one finite number above 0 for each model, got {weights!r}")
    if model_ids.min(initial=0) < 0 or highest >= len(values):
        raise ValueError(f"model_ids: expected 0..{len(values) - 1}, got {int(model_ids.min(initial=0))}..{highest}")
    return values * (len(values) / float(values.sum()))


def weighted_box_fusion(
    boxes: Any,
    scores: Any,
    class_ids: Any,
    model_ids: Any,
    *,
    weights: Sequence[float] | None = None,
    iou_threshold: float = 0.55,
    score_threshold: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Fuse the boxes that several models found in one picture.

    The boxes are taken by falling score. Each joins the fused box of its class that it overlaps most, if that is more
    than the threshold, or else begins a new one. A fused box is the mean of its members, weighted by their scores; its
    score is the mean of theirs, times min(members, models) / models, as what few models found is to count less.

    Args:
        boxes: float32 [N, 4], xyxy, of all models.
        scores: float32 [N].
        class_ids: int64 [N], any numbers; ``picture * C + class`` for many pictures at once.
        model_ids: int64 [N], 0 and up: which model found it.
        weights: how much each model counts, above 0; only their ratios matter. All the same if not given, and then
            the highest id says how many models there are.
        iou_threshold: a box joins a fused one when their IoU is above this.
        score_threshold: only boxes whose weighted score is above this, and finite, are fused at all.

    Returns:
        boxes float32 [K, 4], scores float32 [K] falling, class_ids int64 [K]; of equal scores the lower index first,
        and the fused box that began earlier. A box without area, or with a number that is not finite, stays alone.
        Complexity O(N log N + N K). Source: Solovyev, Wang and Gabruseva, "Weighted boxes fusion", Image and Vision
        Computing 2021. No CUDA twin: each box waits for the mean that the one before it moved, a few hundred in all.
    """
    box_array = host_array(boxes, "boxes", np.float32, ("N", 4))
    score_array = host_array(scores, "scores", np.float32, ("N",))
    class_array = host_array(class_ids, "class_ids", np.int64, ("N",))
    model_array = host_array(model_ids, "model_ids", np.int64, ("N",))
    same_length(boxes=box_array, scores=score_array, class_ids=class_array, model_ids=model_array)
    threshold, least = unit_interval(iou_threshold, "iou_threshold"), unit_interval(score_threshold, "score_threshold")
    of_model = _model_weights(weights, model_array)
    weighted = (score_array * of_model[model_array]).astype(np.float32)
    used = np.nonzero((weighted > least) & np.isfinite(weighted))[0]
    return _fuse(  # type: ignore[no-any-return]
        box_array[used], weighted[used], class_array[used], threshold, len(of_model)
    )
