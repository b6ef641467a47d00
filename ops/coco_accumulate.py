"""COCO's precision and recall, and its twelve numbers, from matches: of all pictures, of some, or of a resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import host_array
from ops._coco import CocoMatches, CocoProtocol
from ops._coco_rank import frozen
from ops._coco_walk import recall_steps, repeat_rows, walk
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for, share

_compiled = njit(nogil=True, error_model="numpy")


@_compiled
def _write(k, any_found, positives, first, last, found, best, at, reached, precision, recall, scores):  # type: ignore[no-untyped-def]
    """Write the curves of a class: precision at a recall is the best at that recall or a higher one."""
    thresholds, recalls, _, areas, limits = precision.shape
    wide = areas * limits
    for t in range(thresholds):
        for a in range(areas):
            for m in range(limits):
                reached[a * limits + m] = 0.0
                n = found[(a * limits + m) * thresholds + t]
                recall[t, k, a, m] = n / positives[k, a] if positives[k, a] else -1.0
        for r in range(recalls - 1, -1, -1):
            base = (t * recalls + r) * wide
            for a in range(areas):
                value = 0.0 if positives[k, a] else -1.0
                enough = first[a, r] if positives[k, a] and any_found else positives[k, a] + 1
                for m in range(limits):
                    place = a * limits + m
                    reached[place] = max(reached[place], best[base + place])
                    precision[t, r, k, a, m] = scores[t, r, k, a, m] = value
                    if found[place * thresholds + t] >= enough:
                        precision[t, r, k, a, m] = reached[place]
                        scores[t, r, k, a, m] = at[(t * recalls + last[a, enough]) * wide + place]


_INTS, _ROWS, _FLOATS, _MASKS = frozen("int64", 1), frozen("int32", 1), frozen("float64", 1), frozen("uint64", 2)


@kernel(
    f"void(int64, {_INTS}, {_INTS}, {_ROWS}, {_INTS}, {frozen('int64', 2)}, {_FLOATS}, {_ROWS}, {_MASKS}, {_MASKS},"
    f" {_FLOATS}, {_INTS}, {_INTS}, int64, int64,"
    " float64[:,:,:,:,::1], float64[:,:,:,::1], float64[:,:,:,:,::1])"
)
def _curves(  # type: ignore[no-untyped-def]
    lane, plan, bounds, rows, offsets, positives, scores, ranks, hits, ignored, recalls, areas, limits, each,
    thresholds, precision, recall, score_at,
):  # fmt: skip
    """The curves of a lane's classes."""
    wide, most = areas.size * limits.size, 0
    for p in range(bounds[lane], bounds[lane + 1]):
        for a in range(areas.size):
            most = max(most, positives[plan[p], a])
    last, first = np.empty((areas.size, most + 1), np.int16), np.empty((areas.size, recalls.size), np.int64)
    found, late = np.empty(thresholds * wide, np.int64), np.empty(thresholds * wide, np.int64)
    misses, reached = np.empty(wide, np.int64), np.empty(wide)
    best, at = np.empty(thresholds * recalls.size * wide), np.empty(thresholds * recalls.size * wide)
    for p in range(bounds[lane], bounds[lane + 1]):
        k = plan[p]
        found[:], misses[:], late[:], best[:], at[:] = 0, 0, 0, 0.0, 0.0
        any_found = offsets[k] < offsets[k + 1]
        for a in range(areas.size):
            if positives[k, a]:
                recall_steps(positives[k, a], recalls, first[a], last[a])
                if any_found and last[a, 0] >= 0:  # recall 0 is reached by the first detection of all
                    top = rows[offsets[k]] if rows.size else offsets[k]
                    for t in range(thresholds):
                        for m in range(limits.size):
                            at[(t * recalls.size + last[a, 0]) * wide + a * limits.size + m] = scores[top]
        walk(rows, offsets[k], offsets[k + 1], scores, ranks, hits, ignored, areas, limits, each, thresholds, last,
              found, misses, late, best, at)  # fmt: skip
        _write(k, any_found, positives, first, last, found, best, at, reached, precision, recall, score_at)


@kernel(f"Tuple((int32[::1], int64[::1]))({_INTS}, {_FLOATS}, {_ROWS}, {_INTS})")
def _repeat(offsets, scores, pictures, times):  # type: ignore[no-untyped-def]
    """The rows of each class as often as their pictures count, and where each class begins."""
    total = 0
    for picture in pictures:
        total += times[picture]
    rows, starts = np.empty(total, np.int32), np.zeros(offsets.size, np.int64)
    for k in range(offsets.size - 1):
        n = repeat_rows(offsets[k], offsets[k + 1], scores, pictures, times, rows[starts[k] :])
        starts[k + 1] = starts[k] + n
    return rows, starts


@dataclass(frozen=True, eq=False)
class CocoCurves:
    """``precision`` float64 [T, R, K, A, M] at R recalls, the ``scores`` at which these are reached, and the greatest
    ``recall`` float64 [T, K, A, M], for T IoU thresholds, K classes, A area ranges and M numbers of detections.

    As in pycocotools, -1 stands where a class has nothing to be found.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    scores: NDArray[np.float64]
    iou_thresholds: tuple[float, ...]
    area_names: tuple[str, ...]
    max_detections: tuple[int, ...]

    def numbers(self) -> dict[str, float]:
        """Return means over classes, -1 where there is nothing to be found; of the default protocol COCO's twelve.

        AP, AP50, AP75, ``AP_{name}`` for further area ranges, ``AR{n}`` for numbers of detections, ``AR_{name}``.
        """
        precision, recall = self.precision, self.recall
        further = list(enumerate(self.area_names))[1:]
        numbers = {"AP": _mean(precision[:, :, :, 0, -1])}
        for threshold in (0.5, 0.75):
            chosen = np.array(self.iou_thresholds) == threshold
            numbers[f"AP{100 * threshold:.0f}"] = _mean(precision[chosen, :, :, 0, -1])
        numbers |= {f"AP_{name}": _mean(precision[:, :, :, a, -1]) for a, name in further}
        numbers |= {f"AR{n}": _mean(recall[:, :, 0, m]) for m, n in enumerate(self.max_detections)}
        return numbers | {f"AR_{name}": _mean(recall[:, :, a, -1]) for a, name in further}


def _mean(values: NDArray[np.float64]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def area_numbers(protocol: CocoProtocol, chosen: Sequence[str] | None) -> NDArray[np.int64]:
    """The places of some area ranges among those of the protocol; ``None``: of all."""
    names = tuple(protocol.area_ranges)
    wanted = names if chosen is None else tuple(chosen)
    if not wanted or not set(wanted) <= set(names):
        raise ValueError(f"areas: expected some of {', '.join(names)}, got {', '.join(wanted) or 'none'}")
    return np.array([names.index(name) for name in wanted], np.int64)


def _limits(chosen: Sequence[int] | None, matched: Sequence[int]) -> NDArray[np.int64]:
    limits = np.array(matched if chosen is None else tuple(chosen), np.int64)
    if not limits.size or limits[0] < 1 or limits[-1] > matched[-1] or (np.diff(limits) <= 0).any():
        raise ValueError(
            f"max_detections: expected rising numbers from 1 to {matched[-1]}, for which was matched, got {chosen!r}"
        )
    return limits


def _positives(matches: CocoMatches, areas: NDArray[np.int64], weights: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """int64 [K, A]: how many objects of each class are to be found in each area range."""
    counts = matches.truth_counts[:, areas].astype(np.int64)
    if weights is not None:
        counts *= weights[matches.truth_pictures][:, None]
    total = np.zeros((matches.classes, len(areas)), np.int64)
    np.add.at(total, matches.truth_class_ids, counts)
    return total


def coco_accumulate(
    matches: CocoMatches,
    *,
    weights: Any = None,
    areas: Sequence[str] | None = None,
    max_detections: Sequence[int] | None = None,
) -> CocoCurves:
    """Draw COCO's curves of what was matched, equal to pycocotools to the bit.

    Args:
        matches: of `coco_match`, or several of them joined.
        weights: int64 [P], how often each picture counts, as if it stood in the set so often; 0 leaves it out.
            ``None``: each once.
        areas: names of the area ranges to take; ``None``: all that were matched.
        max_detections: rising numbers of detections of a picture and class to take; ``None``: those of the protocol.

    Returns:
        `CocoCurves`. Equal scores go by the order of pictures, then by rank. The rows are sorted by score at the first
        call and not again. No CUDA twin (see `coco_match`).
        Source: the COCO API. Cost O(N) after sorting: precision is computed only where an object is found, as it has
        its maxima there. For many weights and AP alone see `coco_average_precision`.
    """
    protocol, ranked = matches.protocol, matches.ranked
    names = tuple(protocol.area_ranges)
    chosen, limits = area_numbers(protocol, areas), _limits(max_detections, protocol.max_detections)
    rows, offsets, times = np.empty(0, np.int32), ranked.offsets, None
    if weights is not None:
        times = check_weights(matches, weights, (matches.picture_count,))
        rows, offsets = _repeat(offsets, ranked.scores, ranked.pictures, times)
    recalls, thresholds = np.array(protocol.recall_thresholds, np.float64), len(protocol.iou_thresholds)
    shape = (thresholds, len(recalls), matches.classes, len(chosen), len(limits))
    precision, at, recall = np.empty(shape), np.empty(shape), np.empty((thresholds, *shape[2:]))
    lanes = lanes_for(int(offsets[-1]))
    in_lanes(_curves, lanes, *share(np.diff(offsets), lanes), rows, offsets, _positives(matches, chosen, times),
             ranked.scores, ranked.ranks, ranked.hits, ranked.ignored, recalls, chosen, limits, protocol.shape[0],
             thresholds, precision, recall, at)  # fmt: skip
    return CocoCurves(
        precision=precision,
        recall=recall,
        scores=at,
        iou_thresholds=tuple(protocol.iou_thresholds),
        area_names=tuple(names[a] for a in chosen),
        max_detections=tuple(limits.tolist()),
    )


def check_weights(matches: CocoMatches, weights: Any, shape: tuple[int | str, ...]) -> NDArray[np.int64]:
    """Return weights of pictures, none negative, and not so great that rows could not be counted."""
    checked = host_array(weights, "weights", np.int64, shape)
    if checked.size and checked.min() < 0:
        raise ValueError(f"weights: expected whole numbers from 0, got {checked.min()}")
    holders = np.concatenate([matches.ranked.pictures, matches.truth_pictures])
    held = np.bincount(holders, minlength=matches.picture_count)
    most = float((checked.astype(np.float64) @ held).max(initial=0))
    if most >= 2**31:
        raise ValueError(f"weights: expected fewer than 2**31 detections and objects in all, got {most:.3g}")
    return checked
