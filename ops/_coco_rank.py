"""Detections by class and falling score: the order in which COCO's curves are drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for, share
from ops._stable_sort import falling, sort_by_key


class Ranked(NamedTuple):
    """Detections by class, in it by falling score: rows ``offsets[k]:offsets[k + 1]`` (int64 [K + 1]) are of class k.

    ``scores`` float64 [N], ``pictures`` and ``ranks`` int32 [N], ``hits`` and ``ignored`` uint64 [N, W].
    """

    offsets: NDArray[np.int64]
    scores: NDArray[np.float64]
    pictures: NDArray[np.int32]
    ranks: NDArray[np.int32]
    hits: NDArray[np.uint64]
    ignored: NDArray[np.uint64]


def frozen(dtype: str, ndim: int) -> str:
    return f"Array({dtype}, {ndim}, 'C', readonly=True)"


_IDS, _INTS, _MASKS, _BITS = frozen("int32", 1), frozen("int64", 1), frozen("uint64", 2), frozen("uint64", 1)


@kernel(f"void(int64, {_IDS}, int64[:,::1])")
def _count(lane, class_ids, counts):  # type: ignore[no-untyped-def]
    lanes = counts.shape[0]
    for i in range(class_ids.size * lane // lanes, class_ids.size * (lane + 1) // lanes):
        counts[lane, class_ids[i]] += 1


@kernel(f"void(int64, {_BITS}, {_IDS}, int64[:,::1], uint64[::1], int32[::1])")
def _spread(lane, bits, class_ids, starts, keys, order):  # type: ignore[no-untyped-def]
    """Write the keys and rows of one lane's part to the places of their classes."""
    lanes = starts.shape[0]
    for i in range(bits.size * lane // lanes, bits.size * (lane + 1) // lanes):
        slot = starts[lane, class_ids[i]]
        starts[lane, class_ids[i]] = slot + 1
        keys[slot], order[slot] = falling(bits[i]), i


@kernel(
    f"void(int64, {_INTS}, {_INTS}, {_INTS}, uint64[::1], int32[::1], {frozen('float64', 1)}, {_IDS}, {_IDS}, {_MASKS},"
    f" {_MASKS}, float64[::1], int32[::1], int32[::1], uint64[:,::1], uint64[:,::1])"
)
def _sort(  # type: ignore[no-untyped-def]
    lane, classes, bounds, offsets, keys, order, scores, pictures, ranks, hits, ignored,
    to_scores, to_pictures, to_ranks, to_hits, to_ignored,
):  # fmt: skip
    """Sort each class of a lane and gather what belongs to its rows."""
    most = 0
    for c in range(bounds[lane], bounds[lane + 1]):
        most = max(most, offsets[classes[c] + 1] - offsets[classes[c]])
    spare_keys, spare_items, counts = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(2048, np.int64)
    entries, other = np.empty(most, np.uint64), np.empty(most, np.uint64)
    for c in range(bounds[lane], bounds[lane + 1]):
        start, stop = offsets[classes[c]], offsets[classes[c] + 1]
        sort_by_key(keys, order, start, stop, spare_keys, spare_items, entries, other, counts)
        for i in range(start, stop):
            row = order[i]
            to_scores[i], to_pictures[i], to_ranks[i] = scores[row], pictures[row], ranks[row]
            for w in range(hits.shape[1]):
                to_hits[i, w], to_ignored[i, w] = hits[row, w], ignored[row, w]


def rank(
    class_ids: NDArray[np.int32],
    classes: int,
    scores: NDArray[np.float64],
    pictures: NDArray[np.int32],
    ranks: NDArray[np.int32],
    hits: NDArray[np.uint64],
    ignored: NDArray[np.uint64],
) -> Ranked:
    """Sort detections by class and falling score; equal scores keep the order of the rows, NaN is last."""
    lanes = lanes_for(len(scores))
    counts = np.zeros((lanes, classes), np.int64)
    in_lanes(_count, lanes, class_ids, counts)
    of_class = counts.sum(0)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(of_class)])
    starts = np.ascontiguousarray(offsets[:-1] + np.cumsum(counts, 0) - counts)
    keys, order = np.empty(len(scores), np.uint64), np.empty(len(scores), np.int32)
    in_lanes(_spread, lanes, scores.view(np.uint64), class_ids, starts, keys, order)
    ranked = Ranked(offsets, *map(np.empty_like, (scores, pictures, ranks, hits, ignored)))
    in_lanes(_sort, lanes, *share(of_class, lanes), offsets, keys, order, scores, pictures, ranks, hits, ignored,
             *ranked[1:])  # fmt: skip
    return ranked
