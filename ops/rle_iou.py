"""Intersection over union of COCO run-length encoded masks, on the runs: nothing is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._check import flags
from ops._kernel import kernel, lone_caller
from ops._rle import Runs, read_all


@njit(nogil=True, cache=True)
def _spans(counts, offsets):  # type: ignore[no-untyped-def]
    """Foreground runs of all masks, each the pixels from start to stop; mask ``i`` has ``first[i]:first[i + 1]``.

    The counts of mask ``i`` are ``offsets[i]:offsets[i + 1]``, background first. Runs of no pixel are left out.
    """
    starts = np.empty(counts.size // 2, np.int64)
    stops = np.empty(counts.size // 2, np.int64)
    first = np.zeros(offsets.size, np.int64)
    found = 0
    for mask in range(offsets.size - 1):
        position = np.int64(0)
        for i in range(offsets[mask], offsets[mask + 1]):
            run = np.int64(counts[i])
            if (i - offsets[mask]) % 2 == 1 and run > 0:
                starts[found], stops[found] = position, position + run
                found += 1
            position += run
        first[mask + 1] = found
    return starts, stops, first


@njit(nogil=True, cache=True)
def _rows_and_area(starts, stops, first, height):  # type: ignore[no-untyped-def]
    """First row, row after the last, and area of each mask. A run over two columns counts as all rows."""
    result = np.empty((first.size - 1, 3), np.int64)
    for mask in range(first.size - 1):
        top, foot, area = height, 0, 0
        for i in range(first[mask], first[mask + 1]):
            area += stops[i] - starts[i]
            column = starts[i] // height
            inside = stops[i] <= (column + 1) * height
            top = min(top, starts[i] - column * height if inside else 0)
            foot = max(foot, stops[i] - column * height if inside else height)
        result[mask, 0], result[mask, 1], result[mask, 2] = top, foot, area
    return result


@njit(nogil=True, cache=True)
def _first_after(stops, low, high, position):  # type: ignore[no-untyped-def]
    """The first run from ``low`` to ``high`` that ends after ``position`` (runs are sorted)."""
    while low < high:
        middle = (low + high) // 2
        if stops[middle] > position:
            high = middle
        else:
            low = middle + 1
    return low


@njit(nogil=True, cache=True)
def _intersection(a_starts, a_stops, i, i_end, b_starts, b_stops, j, j_end):  # type: ignore[no-untyped-def]
    """Pixels that two masks share, in one walk over both. Begins where they can meet: most masks are far apart."""
    if i == i_end or j == j_end:
        return 0
    i, j = _first_after(a_stops, i, i_end, b_starts[j]), _first_after(b_stops, j, j_end, a_starts[i])
    shared = 0
    while i < i_end and j < j_end:
        shared += max(0, min(a_stops[i], b_stops[j]) - max(a_starts[i], b_starts[j]))
        if a_stops[i] < b_stops[j]:
            i += 1
        else:
            j += 1
    return shared


@njit(nogil=True, cache=True)
def _row(i, a_starts, a_stops, a_first, a, b_starts, b_stops, b_first, b, iscrowd, out):  # type: ignore[no-untyped-def]
    for j in range(b.shape[0]):
        out[j] = 0.0
        if min(a[i, 1], b[j, 1]) <= max(a[i, 0], b[j, 0]):
            continue
        shared = _intersection(
            a_starts, a_stops, a_first[i], a_first[i + 1], b_starts, b_stops, b_first[j], b_first[j + 1]
        )
        if shared > 0:
            whole = a[i, 2] if iscrowd[j] else a[i, 2] + b[j, 2] - shared
            out[j] = np.float64(shared) / np.float64(whole)


_COUNTS = "Array(uint32, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True)"
_SIGNATURE = f"void({_COUNTS}, {_COUNTS}, Array(boolean, 1, 'C', readonly=True), int64, float64[:,::1])"


@kernel(_SIGNATURE)
def _serial(a_counts, a_offsets, b_counts, b_offsets, iscrowd, height, out):  # type: ignore[no-untyped-def]
    a_starts, a_stops, a_first = _spans(a_counts, a_offsets)
    b_starts, b_stops, b_first = _spans(b_counts, b_offsets)
    a = _rows_and_area(a_starts, a_stops, a_first, height)
    b = _rows_and_area(b_starts, b_stops, b_first, height)
    for i in range(out.shape[0]):
        _row(i, a_starts, a_stops, a_first, a, b_starts, b_stops, b_first, b, iscrowd, out[i])


@kernel(_SIGNATURE, parallel=True)
def _parallel(a_counts, a_offsets, b_counts, b_offsets, iscrowd, height, out):  # type: ignore[no-untyped-def]
    a_starts, a_stops, a_first = _spans(a_counts, a_offsets)
    b_starts, b_stops, b_first = _spans(b_counts, b_offsets)
    a = _rows_and_area(a_starts, a_stops, a_first, height)
    b = _rows_and_area(b_starts, b_stops, b_first, height)
    for i in prange(out.shape[0]):
        _row(i, a_starts, a_stops, a_first, a, b_starts, b_stops, b_first, b, iscrowd, out[i])


def _joined(masks: list[Runs]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The counts of all masks in one array, and where each mask's begin and end."""
    counts = np.concatenate([runs.counts for runs in masks]) if masks else np.empty(0, np.uint32)
    return counts, np.array([0, *accumulate(len(runs.counts) for runs in masks)], np.int64)


def same_size(named: Sequence[tuple[str, Runs]]) -> None:
    """Refuse masks of different sizes: they have no IoU (pycocotools gives -1 or 0 for them)."""
    for name, runs in named:
        if runs[1:] != named[0][1][1:]:
            raise ValueError(
                f"expected masks of one size, got {named[0][0]} of {named[0][1].height} x {named[0][1].width}"
                f" and {name} of {runs.height} x {runs.width}"
            )


# Steps of a walk over two masks' runs, if all masks met: 0.3 ms on one core; below, a team of threads does not pay.
_PARALLEL_STEPS = 200_000


def rle_iou(a: Sequence[Any], b: Sequence[Any], iscrowd: Any = None) -> NDArray[np.float64]:
    """Return the IoU of each pair of masks, equal to pycocotools to the bit.

    Args:
        a: N dicts as `rle_decode` takes them: what was found.
        b: M of them, all of one size: the truth.
        iscrowd: M flags; a mask of ``b`` that marks a crowd may be matched by any part of it, so the intersection is
            divided by the area of ``a``'s mask instead of the union. None: no crowds.

    Returns:
        float64 [N, M] in 0..1; 0 where nothing is shared, two empty masks among them.
        Source: the COCO API. Cost per pair: the number of runs of both, less where they lie apart.
        No CUDA twin: an RLE is text; for masks on a device there is `mask_iou`.
    """
    left, right = read_all(a, "a"), read_all(b, "b")
    crowd = flags(iscrowd, "iscrowd", len(right), "mask of b")
    same_size([(f"a[{i}]", runs) for i, runs in enumerate(left)] + [(f"b[{i}]", runs) for i, runs in enumerate(right)])
    return iou_of_runs(left, right, crowd)


def iou_of_runs(left: list[Runs], right: list[Runs], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`rle_iou` of masks that are read and known to be of one size."""
    height = (left or right)[0].height if left or right else 0
    (a_counts, a_offsets), (b_counts, b_offsets) = _joined(left), _joined(right)
    out = np.empty((len(left), len(right)), np.float64)
    steps = (len(a_counts) * len(right) + len(b_counts) * len(left)) // 2
    run = _parallel if steps > _PARALLEL_STEPS and lone_caller() else _serial
    run(a_counts, a_offsets, b_counts, b_offsets, crowd, height, out)
    return out
