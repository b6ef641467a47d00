"""COCO's average precision of every class when pictures count as often as weights say: bootstrap rounds at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._coco import CocoMatches
from ops._coco_rank import frozen
from ops._coco_walk import recall_steps, repeat_rows, walk
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for
from ops.coco_accumulate import area_numbers, check_weights

_compiled = njit(nogil=True, error_model="numpy")

_INTS, _ROWS, _FLOATS, _MASKS = frozen("int64", 1), frozen("int32", 1), frozen("float64", 1), frozen("uint64", 2)


@_compiled
def _mean_precision(t, first, found, best):  # type: ignore[no-untyped-def]
    """The mean over all recalls of the best precision at that recall or a higher one."""
    reached, total = 0.0, 0.0
    for r in range(first.size - 1, -1, -1):
        reached = max(reached, best[t * first.size + r])
        if first[r] <= found[t]:
            total += reached
    return total / first.size


@_compiled
def _to_be_found(lane, lanes, weights, truth_ids, truth_pictures, counts, positives):  # type: ignore[no-untyped-def]
    """Count the objects of each class in the rounds of a lane; return the greatest number."""
    most = 0
    for r in range(weights.shape[0] * lane // lanes, weights.shape[0] * (lane + 1) // lanes):
        for i in range(truth_ids.size):
            if counts[i]:
                positives[r, truth_ids[i]] += weights[r, truth_pictures[i]]
        for k in range(positives.shape[1]):
            most = max(most, positives[r, k])
    return most


@kernel(
    f"void(int64, int64, {frozen('int64', 2)}, {_ROWS}, {_ROWS}, {frozen('boolean', 1)}, int64[:,::1], {_INTS},"
    f" {_FLOATS}, {_ROWS}, {_ROWS}, {_MASKS}, {_MASKS}, {_FLOATS}, {_INTS}, {_INTS}, int64, int64, float64[:,:,::1])"
)
def _rounds(  # type: ignore[no-untyped-def]
    lane, lanes, weights, truth_ids, truth_pictures, counts, positives, offsets, scores, pictures, ranks, hits, ignored,
    recalls, areas, limits, each, thresholds, out,
):  # fmt: skip
    """The rounds of a lane."""
    most = _to_be_found(lane, lanes, weights, truth_ids, truth_pictures, counts, positives)
    last, first = np.empty((1, most + 1), np.int16), np.empty(recalls.size, np.int64)
    found, late, misses = np.empty(thresholds, np.int64), np.empty(thresholds, np.int64), np.empty(1, np.int64)
    best, at = np.empty(thresholds * recalls.size), np.empty(thresholds * recalls.size)
    for r in range(weights.shape[0] * lane // lanes, weights.shape[0] * (lane + 1) // lanes):
        total = 0
        for picture in pictures:
            total += weights[r, picture]
        rows = np.empty(total + 1, np.int32)  # one more, as no rows at all would mean every one
        for k in range(offsets.size - 1):
            out[r, k] = np.nan
            if positives[r, k]:
                found[:], late[:], misses[:], best[:] = 0, 0, 0, 0.0
                recall_steps(positives[r, k], recalls, first, last[0])
                n = repeat_rows(offsets[k], offsets[k + 1], scores, pictures, weights[r], rows)
                walk(rows, 0, n, scores, ranks, hits, ignored, areas, limits, each, thresholds, last, found, misses,
                     late, best, at)  # fmt: skip
                for t in range(thresholds):
                    out[r, k, t] = _mean_precision(t, first, found, best) if n else 0.0


def coco_average_precision(matches: CocoMatches, weights: Any, *, area: str | None = None) -> NDArray[np.float64]:
    """Return the average precision of each class at each IoU threshold, for many weights of the pictures.

    Args:
        matches: of `coco_match`, or several of them joined.
        weights: int64 [R, P], how often each of P pictures counts in each of R rounds, as if it stood in the set so
            often. A bootstrap round draws P pictures with replacement.
        area: name of an area range; ``None``: the first, in COCO's protocol objects of all sizes.

    Returns:
        float64 [R, K, T]: the mean of `coco_accumulate`'s precision over the recalls, for the greatest number of
        detections; NaN where nothing is to be found. Cost O(N) a round. No CUDA twin (see `coco_match`).
    """
    times = check_weights(matches, weights, ("R", matches.picture_count))
    protocol, ranked = matches.protocol, matches.ranked
    areas = area_numbers(protocol, None if area is None else [area])[:1]
    counts = np.ascontiguousarray(matches.truth_counts[:, areas[0]])
    rounds, thresholds = len(times), len(protocol.iou_thresholds)
    positives, out = np.zeros((rounds, matches.classes), np.int64), np.empty((rounds, matches.classes, thresholds))
    lanes = lanes_for(rounds * len(ranked.scores))
    in_lanes(_rounds, lanes, lanes, times, matches.truth_class_ids, matches.truth_pictures, counts, positives, *ranked,
             np.array(protocol.recall_thresholds, np.float64), areas, np.array(protocol.max_detections[-1:], np.int64),
             protocol.shape[0], thresholds, out)  # fmt: skip
    return out
