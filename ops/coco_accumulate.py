"""COCO's precision and recall, and its twelve numbers, from matches: of all pictures, of some, or of a resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import host_array
from ops._coco import CocoMatches
from ops._coco_rank import frozen
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for, share
from ops._stable_sort import merge_sort

_compiled = njit(nogil=True, error_model="numpy")

_TINY = np.spacing(1)  # pycocotools adds it to every denominator


@_compiled
def _recall_steps(positives, recalls, first, last):  # type: ignore[no-untyped-def]
    """``first[r]``: how many hits reach recall r. ``last[n]``: the last recall that n hits reach, -1 for none."""
    n = 0
    for r in range(recalls.size):
        while n <= positives and n / positives < recalls[r]:
            last[n] = r - 1
            n += 1
        first[r] = n
    for rest in range(n, positives + 1):
        last[rest] = recalls.size - 1


@_compiled
def _walk(  # type: ignore[no-untyped-def]
    rows, start, stop, scores, ranks, hits, ignored, areas, limits, each, thresholds, last, found, misses, late,
    best, at,
):  # fmt: skip
    """Count the detections of one class, best first, and note precision where an object is found.

    Flat: ``found`` and ``late`` (misses at some thresholds only) int64 [A, M, T] and ``misses`` [A, M]; ``best`` and
    ``at`` float64 [T, R, A, M], the greatest precision from one recall up to the next, and the score at the first.
    """
    every, one = np.uint64(2**64 - 1) >> np.uint64(64 - thresholds), np.uint64(1)
    wide = areas.size * limits.size
    recalls = best.size // (thresholds * wide)
    for s in range(start, stop):
        i = rows[s] if rows.size else s
        least = limits.size
        while least > 0 and ranks[i] < limits[least - 1]:
            least -= 1
        for a in range(areas.size):
            shift, word = np.uint64(areas[a] % each * thresholds), areas[a] // each
            hit, skip = (hits[i, word] >> shift) & every, (ignored[i, word] >> shift) & every
            if skip == every:
                continue
            if hit | skip == 0:
                for m in range(a * limits.size + least, (a + 1) * limits.size):
                    misses[m] += 1
                continue
            miss = every & ~(hit | skip)
            for m in range(a * limits.size + least, (a + 1) * limits.size):
                if miss:
                    for t in range(thresholds):
                        late[m * thresholds + t] += (miss >> np.uint64(t)) & one
                rest, t = hit, 0
                while rest:
                    if rest & one:
                        n = found[m * thresholds + t] + 1
                        found[m * thresholds + t] = n
                        step = last[a, n]
                        if step >= 0:
                            wrong = np.float64(misses[m] + late[m * thresholds + t])
                            place = (t * recalls + step) * wide + m
                            best[place] = max(best[place], n / (wrong + n + _TINY))
                            if step != last[a, n - 1]:
                                at[place] = scores[i]
                    rest, t = rest >> one, t + 1


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
                _recall_steps(positives[k, a], recalls, first[a], last[a])
                if any_found and last[a, 0] >= 0:  # recall 0 is reached by the first detection of all
                    top = rows[offsets[k]] if rows.size else offsets[k]
                    for t in range(thresholds):
                        for m in range(limits.size):
                            at[(t * recalls.size + last[a, 0]) * wide + a * limits.size + m] = scores[top]
        _walk(rows, offsets[k], offsets[k + 1], scores, ranks, hits, ignored, areas, limits, each, thresholds, last,
              found, misses, late, best, at)  # fmt: skip
        _write(k, any_found, positives, first, last, found, best, at, reached, precision, recall, score_at)


@_compiled
def _any_hit(start, stop, hits):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        for w in range(hits.shape[1]):
            if hits[i, w]:
                return True
    return False


@kernel(f"Tuple((int32[::1], int64[::1]))({_INTS}, {_FLOATS}, {_ROWS}, {_MASKS}, {_INTS}, {_INTS}, {_INTS})")
def _draw(offsets, scores, pictures, hits, times, begins, positions):  # type: ignore[no-untyped-def]
    """Repeat each row as often as its picture was drawn. Rows of one score go in the order of the draws, which only
    matters where one of them is a hit."""
    total = 0
    for picture in pictures:
        total += times[picture]
    rows, bounds = np.empty(total, np.int32), np.zeros(offsets.size, np.int64)
    keys, spare, spare_keys = np.empty(total, np.uint64), np.empty(total, np.int32), np.empty(total, np.uint64)
    n = 0
    for k in range(offsets.size - 1):
        start = offsets[k]
        while start < offsets[k + 1]:
            end, begin = start + 1, n
            while end < offsets[k + 1] and not scores[end] < scores[start]:
                end += 1
            for i in range(start, end):
                for j in range(begins[pictures[i]], begins[pictures[i]] + times[pictures[i]]):
                    rows[n], keys[n] = i, positions[j]
                    n += 1
            if end - start > 1 and _any_hit(start, end, hits):
                merge_sort(keys, rows, begin, n, spare_keys, spare)
            start = end
        bounds[k + 1] = n
    return rows, bounds


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


def _choice(chosen: Sequence[str] | None, names: tuple[str, ...]) -> NDArray[np.int64]:
    wanted = names if chosen is None else tuple(chosen)
    if not wanted or not set(wanted) <= set(names):
        raise ValueError(f"areas: expected some of {', '.join(names)}, got {chosen!r}")
    return np.array([names.index(name) for name in wanted], np.int64)


def _limits(chosen: Sequence[int] | None, matched: Sequence[int]) -> NDArray[np.int64]:
    limits = np.array(matched if chosen is None else tuple(chosen), np.int64)
    if not limits.size or limits[0] < 1 or limits[-1] > matched[-1] or (np.diff(limits) <= 0).any():
        raise ValueError(
            f"max_detections: expected rising numbers from 1 to {matched[-1]}, for which was matched, got {chosen!r}"
        )
    return limits


class _Draws(NamedTuple):
    """How often each picture was drawn (int64 [I]), and at which places: from ``begins`` on in ``positions``."""

    times: NDArray[np.int64]
    begins: NDArray[np.int64]
    positions: NDArray[np.int64]


def _draws(pictures: Any, count: int) -> _Draws:
    drawn = host_array(pictures, "pictures", np.int64, ("n",))
    if drawn.size and (drawn.min() < 0 or drawn.max() >= count):
        raise ValueError(f"pictures: expected 0..{count - 1}, got {drawn.min()}..{drawn.max()}")
    times = np.bincount(drawn, minlength=count)
    return _Draws(times, np.cumsum(times) - times, np.argsort(drawn, kind="stable"))


def _positives(matches: CocoMatches, areas: NDArray[np.int64], draws: _Draws | None) -> NDArray[np.int64]:
    """int64 [K, A]: how many objects of each class are to be found in each area range."""
    counts = matches.truth_counts[:, areas].astype(np.int64)
    if draws is not None:
        counts *= draws.times[matches.truth_pictures][:, None]
    positives = np.zeros((matches.classes, len(areas)), np.int64)
    np.add.at(positives, matches.truth_class_ids, counts)
    return positives


def coco_accumulate(
    matches: CocoMatches,
    *,
    pictures: Any = None,
    areas: Sequence[str] | None = None,
    max_detections: Sequence[int] | None = None,
) -> CocoCurves:
    """Draw COCO's curves of what was matched, equal to pycocotools to the bit.

    Args:
        matches: of `coco_match`, or several of them joined.
        pictures: int64 [n], the pictures to take, in this order; one may come several times (a bootstrap round) or
            not at all (a part of the data). ``None``: each once.
        areas: names of the area ranges to take; ``None``: all that were matched.
        max_detections: rising numbers of detections of a picture and class to take; ``None``: those of the protocol.

    Returns:
        `CocoCurves`. Equal scores go by the order of pictures, then by rank. The rows are sorted by score at the first
        call and not again: a bootstrap round costs one walk over them. No CUDA twin (see `coco_match`).
        Source: the COCO API. Cost O(N) after sorting: precision is computed only where an object is found, as it has
        its maxima there.
    """
    protocol, ranked = matches.protocol, matches.ranked
    names = tuple(protocol.area_ranges)
    chosen, limits = _choice(areas, names), _limits(max_detections, protocol.max_detections)
    rows, offsets, draws = np.empty(0, np.int32), ranked.offsets, None
    if pictures is not None:
        draws = _draws(pictures, matches.picture_count)
        rows, offsets = _draw(offsets, ranked.scores, ranked.pictures, ranked.hits, *draws)
    recalls, thresholds = np.array(protocol.recall_thresholds, np.float64), len(protocol.iou_thresholds)
    shape = (thresholds, len(recalls), matches.classes, len(chosen), len(limits))
    precision, at, recall = np.empty(shape), np.empty(shape), np.empty((thresholds, *shape[2:]))
    lanes = lanes_for(int(offsets[-1]))
    in_lanes(_curves, lanes, *share(np.diff(offsets), lanes), rows, offsets, _positives(matches, chosen, draws),
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
