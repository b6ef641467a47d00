"""Detections and true objects sorted into cells, a cell being one class in one picture."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import host_array, whole_number
from ops._coco_rank import frozen
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for
from ops._stable_sort import falling, merge_sort

_compiled = njit(nogil=True, error_model="numpy")

_INTS = frozen("int64", 1)


@kernel(f"Tuple((int64, boolean))({_INTS}, {_INTS}, int64, int64[::1])")
def _tally(pictures, class_ids, classes, offsets):  # type: ignore[no-untyped-def]
    """Count the rows of each picture into ``offsets``. Return the first row that names no class or picture (or the
    number of rows) and whether the rows lie by picture."""
    in_order, before, count = True, np.int64(0), offsets.size - 1
    for i in range(class_ids.size):
        picture = pictures[i]
        if not (0 <= class_ids[i] < classes and 0 <= picture < count):
            return i, False
        in_order = in_order and picture >= before
        before = picture
        offsets[picture + 1] += 1
    for picture in range(count):
        offsets[picture + 1] += offsets[picture]
    return class_ids.size, in_order


@kernel(f"int64[::1]({_INTS}, {_INTS})")
def _by_picture(pictures, offsets):  # type: ignore[no-untyped-def]
    slots, order = offsets.copy(), np.empty(pictures.size, np.int64)
    for i in range(pictures.size):
        order[slots[pictures[i]]] = i
        slots[pictures[i]] += 1
    return order


class Rows(NamedTuple):
    """Checked rows: class and picture of each (int64 [N]), where each picture's begin (int64 [I + 1]), and in which
    order they lie by picture, if not in the one given (int64 [N], else empty)."""

    class_ids: NDArray[np.int64]
    pictures: NDArray[np.int64]
    offsets: NDArray[np.int64]
    order: NDArray[np.int64]


def read_rows(class_ids: Any, pictures: Any, count: int, picture_count: int, classes: int, prefix: str) -> Rows:
    """Check and group rows; ``prefix`` names them in an error, which tells the first that is out of range."""
    whole_number(classes, "classes", 0)
    whole_number(picture_count, "picture_count", 0)
    classed = host_array(class_ids, f"{prefix}class_ids", np.int64, (count,))
    if pictures is None and picture_count != 1:
        raise ValueError(f"{prefix}pictures: expected the picture of each row, as there are {picture_count}, got None")
    if pictures is None:
        placed = np.zeros(count, np.int64)
    else:
        placed = host_array(pictures, f"{prefix}pictures", np.int64, (count,))
    offsets = np.zeros(picture_count + 1, np.int64)
    row, in_order = _tally(placed, classed, classes, offsets)
    if row < count and not 0 <= classed[row] < classes:
        raise ValueError(f"{prefix}class_ids[{row}]: expected 0..{classes - 1}, got {classed[row]}")
    if row < count:
        raise ValueError(f"{prefix}pictures[{row}]: expected 0..{picture_count - 1}, got {placed[row]}")
    return Rows(classed, placed, offsets, np.empty(0, np.int64) if in_order else _by_picture(placed, offsets))


@_compiled
def _group(class_ids, order, start, stop, base, counts, ends, seen, slots):  # type: ignore[no-untyped-def]
    """Write the rows of one picture class by class from ``slots[base]`` on, in the order in which classes first appear.

    Class ``seen[i]`` has ``counts`` rows up to ``ends``. Returns how many classes there are.
    """
    found = 0
    for i in range(start, stop):
        k = class_ids[order[i] if order.size else i]
        if counts[k] == 0:
            seen[found] = k
            found += 1
        counts[k] += 1
    for i in range(found):
        ends[seen[i]] = base
        base += counts[seen[i]]
    for i in range(start, stop):
        row = order[i] if order.size else i
        k = class_ids[row]
        slots[ends[k]] = row
        ends[k] += 1
    return found


@_compiled
def _longest(offsets, first, last):  # type: ignore[no-untyped-def]
    most = 0
    for picture in range(first, last):
        most = max(most, offsets[picture + 1] - offsets[picture])
    return most


@kernel(
    f"void(int64, {_INTS}, int64, int64, {frozen('float64', 1)}, {frozen('uint64', 1)}, {', '.join([_INTS] * 6)},"
    " int32[::1], int32[::1], int32[::1], int32[::1], float64[::1], int64[::1], int32[::1], int64[:,::1], int64[::1])"
)
def _cells(  # type: ignore[no-untyped-def]
    lane, bounds, classes, limit, scores, bits, found_ids, found_offsets, found_order, true_ids, true_offsets,
    true_order, rows, class_ids, pictures, ranks, out_scores, kept, truth_rows, cells, cell_counts,
):  # fmt: skip
    """Fill the arrays of `Cells` for the pictures of a lane."""
    first, last = bounds[lane], bounds[lane + 1]
    most = _longest(found_offsets, first, last)
    keys, spare_keys = np.empty(most, np.uint64), np.empty(most, np.uint64)
    slots, spare_slots = np.empty(most, np.int32), np.empty(most, np.int32)
    counts, ends, seen = np.zeros(classes, np.int64), np.empty(classes, np.int64), np.empty(classes, np.int64)
    t_counts, t_ends, t_seen = np.zeros(classes, np.int64), np.empty(classes, np.int64), np.empty(classes, np.int64)
    for picture in range(first, last):
        cell, to = true_offsets[picture], found_offsets[picture]
        stop = true_offsets[picture + 1]
        true_classes = _group(true_ids, true_order, cell, stop, cell, t_counts, t_ends, t_seen, truth_rows)
        stop = found_offsets[picture + 1]
        found_classes = _group(found_ids, found_order, to, stop, 0, counts, ends, seen, slots)
        for i in range(stop - to):
            keys[i] = falling(bits[slots[i]])
        for i in range(found_classes):
            k = seen[i]
            begin, size = ends[k] - counts[k], min(counts[k], limit)
            merge_sort(keys, slots, begin, ends[k], spare_keys, spare_slots)
            for place in range(size):
                row = slots[begin + place]
                rows[to + place], class_ids[to + place], pictures[to + place] = row, k, picture
                ranks[to + place], out_scores[to + place] = place, scores[row]
            if t_counts[k]:
                cells[cell, 0], cells[cell, 1] = to, size
                cells[cell, 2], cells[cell, 3] = t_ends[k] - t_counts[k], t_counts[k]
                cell += 1
            to += size
            counts[k] = 0
        for i in range(true_classes):
            t_counts[t_seen[i]] = 0
        kept[picture], cell_counts[picture] = to - found_offsets[picture], cell - true_offsets[picture]


class Cells(NamedTuple):
    """Detections that count, by picture, in it by class, in that by falling score; and where they meet true objects.

    Of detection i: ``rows`` (which one of those given), ``class_ids``, ``pictures``, ``ranks`` int32 and ``scores``.
    Picture p has ``kept[p]`` of them from ``offsets[p]`` on, and ``counts[p]`` cells with true objects from
    ``cells[truth_offsets[p]]`` on, each with first detection, their number, first true object, their number. True
    object j of these is row ``truth_rows[j]`` of those given. ``bounds`` are the pictures of each lane.
    """

    bounds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    truth_offsets: NDArray[np.int64]
    rows: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    pictures: NDArray[np.int32]
    ranks: NDArray[np.int32]
    scores: NDArray[np.float64]
    kept: NDArray[np.int64]
    truth_rows: NDArray[np.int32]
    cells: NDArray[np.int64]
    counts: NDArray[np.int64]

    def used(self) -> NDArray[np.int64]:
        """Which rows of ``cells`` there are."""
        return np.flatnonzero(_leading(self.truth_offsets, self.counts))

    def in_use(self) -> Any:
        """Index of the detections that count: all, but where a cell had too many."""
        return slice(None) if self.kept.sum() == len(self.rows) else _leading(self.offsets, self.kept)


def _leading(offsets: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Flag the first ``counts`` rows of each part from one offset to the next."""
    sizes = np.diff(offsets)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    flagged: NDArray[np.bool_] = place < np.repeat(counts, sizes)
    return flagged


def cells_of(scores: NDArray[np.float64], found: Rows, true: Rows, classes: int, limit: int) -> Cells:
    """Sort detections and true objects into cells; of each cell the ``limit`` best detections count."""
    lanes, pictures = lanes_for(len(scores)), len(found.offsets) - 1
    ends = np.searchsorted(found.offsets, np.arange(1, lanes) * len(scores) // lanes)
    bounds = np.concatenate([[0], ends, [pictures]]).astype(np.int64)
    rows, class_ids, in_picture, ranks = (np.empty(len(scores), np.int32) for _ in range(4))
    out_scores, truth_rows = np.empty(len(scores)), np.empty(len(true.class_ids), np.int32)
    kept, counts = np.empty(pictures, np.int64), np.empty(pictures, np.int64)
    cells = np.empty((len(true.class_ids), 4), np.int64)
    in_lanes(_cells, lanes, bounds, classes, limit, scores, scores.view(np.uint64),
             found.class_ids, found.offsets, found.order, true.class_ids, true.offsets, true.order,
             rows, class_ids, in_picture, ranks, out_scores, kept, truth_rows, cells, counts)  # fmt: skip
    return Cells(bounds, found.offsets, true.offsets, rows, class_ids, in_picture, ranks, out_scores, kept,
                 truth_rows, cells, counts)  # fmt: skip
