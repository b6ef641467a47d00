"""Which detections are right: COCO's matching of boxes or masks, for all IoU thresholds and area ranges at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import flags, host_array
from ops._coco import COCO, CocoMatches, CocoProtocol
from ops._coco_cells import Cells, cells_of, read_rows
from ops._coco_rank import frozen
from ops._coco_shapes import Shapes, mask_overlaps, read_shapes, same_kind
from ops._kernel import kernel
from ops._lanes import in_lanes

# A call would hand over and count references to every array: dear where it is done for each detection.
_inlined = njit(nogil=True, error_model="numpy", inline="always")

# Below this share of the least threshold an IoU stays below it, however the division is rounded.
_SURELY = 1 - 1e-9


@_inlined
def _span(start, length, other_start, other_length):  # type: ignore[no-untyped-def]
    """What two stretches of a line share, by the operations of pycocotools in its order; 0 where they are apart."""
    end, other_end = length + start, other_length + other_start
    shared = (end if end < other_end else other_end) - (start if start > other_start else other_start)
    return shared if shared > 0.0 else 0.0


@_inlined
def _box_iou(boxes, i, others, j, crowd, least):  # type: ignore[no-untyped-def]
    """IoU of two boxes xywh, or -1 where it is below ``least`` or a number is not finite. Most pairs are far apart, so
    one comparison settles them, and only the others are divided."""
    shared = _span(boxes[i, 0], boxes[i, 2], others[j, 0], others[j, 2])
    shared *= _span(boxes[i, 1], boxes[i, 3], others[j, 1], others[j, 3])
    whole = boxes[i, 2] * boxes[i, 3]
    whole = whole if crowd else whole + others[j, 2] * others[j, 3] - shared
    if shared < _SURELY * least * whole:
        return -1.0
    total = boxes[i, 0] + boxes[i, 1] + boxes[i, 2] + boxes[i, 3]
    total += others[j, 0] + others[j, 1] + others[j, 2] + others[j, 3]
    if total - total != 0.0:
        return -1.0
    return shared / whole if whole > 0.0 else 0.0


@_inlined
def _edges(  # type: ignore[no-untyped-def]
    row, first_true, true_count, truth_rows, boxes, truth_boxes, crowd, ious, first_iou, thresholds, masks, edge,
    overlap, reach,
):  # fmt: skip
    """List the true objects of a cell that a detection reaches, the best first, of equal ones the later first.

    ``reach`` has the bits of the thresholds that the IoU reaches, the same in all area ranges.
    """
    found = 0
    for j in range(true_count):
        true = truth_rows[first_true + j]
        least = thresholds[0]
        iou = ious[first_iou + j] if ious.size else _box_iou(boxes, row, truth_boxes, true, crowd[true], least)
        if iou >= thresholds[0]:
            k = found
            while k > 0 and overlap[k - 1] <= iou:
                edge[k], overlap[k], reach[k] = edge[k - 1], overlap[k - 1], reach[k - 1]
                k -= 1
            n = 1
            while n < thresholds.size and iou >= thresholds[n]:
                n += 1
            edge[k], overlap[k], reach[k] = true, iou, masks[n]
            found += 1
    return found


@_inlined
def _take(w, found, edge, reach, regular, free, crowd, left):  # type: ignore[no-untyped-def]
    """Give one detection the best free object, for each bit of ``left`` on its own: (hits, bits that count not).

    Objects that count come before those that are ignored, however much better these fit. A crowd stays free.
    """
    hits, ignored = left ^ left, left ^ left
    for i in range(found):
        bits = reach[i] & left & free[edge[i], w] & regular[edge[i], w]
        hits, left = hits | bits, left ^ bits
        free[edge[i], w] ^= bits
    for i in range(found):
        bits = reach[i] & left & free[edge[i], w] & ~regular[edge[i], w]
        ignored, left = ignored | bits, left ^ bits
        if not crowd[edge[i]]:
            free[edge[i], w] ^= bits
    return hits, ignored


@_inlined
def _outside(start, stop, rows, areas, ranges, range_bits, each, ignored, hits):  # type: ignore[no-untyped-def]
    """What holds for detections that meet nothing: they do not count in area ranges that they lie outside of."""
    for i in range(start, stop):
        area = areas[rows[i]]
        for w in range(hits.shape[1]):
            hits[i, w], ignored[i, w] = 0, 0
        for a in range(ranges.shape[0]):
            ignored[i, a // each] |= range_bits[a] * np.uint64((area < ranges[a, 0]) | (area > ranges[a, 1]))


_INTS, _ROWS, _FLOATS, _BOXES = frozen("int64", 1), frozen("int32", 1), frozen("float64", 1), frozen("float64", 2)
_BITS, _MASKS = frozen("uint64", 1), frozen("uint64", 2)


@kernel(
    f"void(int64, {_INTS}, {_INTS}, {_INTS}, {_ROWS}, {_INTS}, {_ROWS}, {frozen('int64', 2)}, {_INTS}, {_BOXES},"
    f" {_FLOATS}, {_BOXES}, {frozen('boolean', 1)}, {_MASKS}, uint64[:,::1], {_FLOATS}, {_INTS}, {_FLOATS}, {_BITS},"
    f" {_BOXES}, {_BITS}, int64, {_BITS}, uint64[:,::1], uint64[:,::1])"
)
def _match(  # type: ignore[no-untyped-def]
    lane, bounds, offsets, truth_offsets, rows, kept, truth_rows, cells, counts, boxes, areas, truth_boxes, crowd,
    regular, free, ious, iou_starts, thresholds, masks, ranges, range_bits, each, used, hits, ignored,
):  # fmt: skip
    """Match the detections of a lane's pictures."""
    first, last, most = bounds[lane], bounds[lane + 1], 0
    for picture in range(first, last):
        most = max(most, truth_offsets[picture + 1] - truth_offsets[picture])
    edge, overlap, reach = np.empty(most, np.int64), np.empty(most), np.empty(most, np.uint64)
    for picture in range(first, last):
        start, stop = offsets[picture], offsets[picture] + kept[picture]
        _outside(start, stop, rows, areas, ranges, range_bits, each, ignored, hits)
        for c in range(truth_offsets[picture], truth_offsets[picture] + counts[picture]):
            start, true_count = cells[c, 0], cells[c, 3]
            for i in range(start, start + cells[c, 1]):
                first_iou = iou_starts[c] + (i - start) * true_count if ious.size else 0
                found = _edges(rows[i], cells[c, 2], true_count, truth_rows, boxes, truth_boxes, crowd, ious, first_iou,
                               thresholds, masks, edge, overlap, reach)  # fmt: skip
                for w in range(hits.shape[1] if found else 0):
                    hits[i, w], met = _take(w, found, edge, reach, regular, free, crowd, used[w])
                    ignored[i, w] = met | (ignored[i, w] & ~hits[i, w])


class _Truths(NamedTuple):
    """True objects, which of them are crowds, and in which area ranges each is to be found (bool [G, A])."""

    shapes: Shapes
    crowd: NDArray[np.bool_]
    counts: NDArray[np.bool_]


def _decide(
    found: Shapes, truths: _Truths, cells: Cells, protocol: CocoProtocol
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Run the kernel: hits and ignored of every detection."""
    each, words = protocol.shape
    thresholds = np.minimum(protocol.iou_thresholds, 1 - 1e-10)  # as pycocotools
    regular = protocol.area_bits(truths.counts)
    free = np.full(regular.shape, -1).view(np.uint64)
    used = protocol.area_bits(np.ones((1, len(protocol.area_ranges)), np.bool_))[0]
    hits, ignored = np.empty((2, len(cells.rows), words), np.uint64)
    in_lanes(_match, len(cells.bounds) - 1, cells.bounds, cells.offsets, cells.truth_offsets, cells.rows, cells.kept,
             cells.truth_rows, cells.cells, cells.counts, found.boxes, found.areas, truths.shapes.boxes, truths.crowd,
             regular, free, *mask_overlaps(found, truths.shapes, truths.crowd, cells),
             thresholds, protocol.threshold_bits(), protocol.areas(), protocol.range_bits(), each, used,
             hits, ignored)  # fmt: skip
    return hits, ignored


def coco_match(
    found: Any,
    scores: Any,
    class_ids: Any,
    truths: Any,
    truth_class_ids: Any,
    *,
    classes: int,
    pictures: Any = None,
    truth_pictures: Any = None,
    picture_count: int = 1,
    areas: Any = None,
    truth_areas: Any = None,
    crowd: Any = None,
    ignore: Any = None,
    protocol: CocoProtocol = COCO,
) -> CocoMatches:
    """Match detections with true objects as pycocotools does, equal to the bit.

    In each picture and class the best scored detection takes the free object that it overlaps most, if the IoU reaches
    the threshold; then the next one. Objects that count go before those that do not (crowds, ``ignore``, area outside
    the range); a detection on one of these counts neither way, and one that meets nothing only counts if its own area
    lies in the range.

    Args:
        found: N boxes, float64 [N, 4] xywh in pixels, or a list of N masks, dicts as `rle_decode` takes them.
        scores: float64 [N]; NaN is last.
        class_ids: int64 [N], 0..classes-1.
        truths: G boxes or masks, like ``found``.
        truth_class_ids: int64 [G].
        classes: how many classes there are.
        pictures: int64 [N], 0..picture_count-1, in any order; ``None``: all rows are of one picture.
        truth_pictures: int64 [G].
        picture_count: how many pictures there are.
        areas: float64 [N], square pixels; ``None``: those of the boxes or masks.
        truth_areas: float64 [G], the annotation's own (in COCO the mask's, also for boxes); ``None``: as above.
        crowd: G flags (COCO's ``iscrowd``): regions of many objects, of which any part is a match and which any number
            of detections may meet, and which are not to be found. ``None``: no crowds.
        ignore: G flags: objects that are not to be found, and are met once. ``None``: none. (pycocotools overwrites an
            annotation's own ``ignore`` with ``iscrowd``: leave this out for its numbers.)
        protocol: thresholds, area ranges, and how many detections of a picture and class count.

    Returns:
        `CocoMatches`, of which `coco_accumulate` makes the curves; those of other pictures may be joined to it.
        Tie order: of equal scores the lower row first, of equal IoUs the later true object. A box with a number that
        is not finite overlaps nothing. No CUDA twin: the work is sorting and short walks, not arithmetic.
        Source: the COCO API. Cost: the pairs of detection and object of one class in one picture; all pairs of IoU
        threshold and area range are decided at once, as the bits of one number.
    """
    shapes = read_shapes(found, areas, "found", "areas")
    true_shapes = read_shapes(truths, truth_areas, "truths", "truth_areas")
    same_kind(shapes, true_shapes)
    score_array = host_array(scores, "scores", np.float64, (len(shapes.areas),))
    rows = read_rows(class_ids, pictures, len(shapes.areas), picture_count, classes, "")
    true_rows = read_rows(truth_class_ids, truth_pictures, len(true_shapes.areas), picture_count, classes, "truth_")
    crowds = flags(crowd, "crowd", len(true_shapes.areas), "true object")
    skipped = crowds | flags(ignore, "ignore", len(true_shapes.areas), "true object")
    low, high = protocol.areas().T
    counts = ~(skipped[:, None] | (true_shapes.areas[:, None] < low) | (true_shapes.areas[:, None] > high))
    cells = cells_of(score_array, rows, true_rows, classes, protocol.max_detections[-1])
    hits, ignored = _decide(shapes, _Truths(true_shapes, crowds, counts), cells, protocol)
    kept = cells.in_use()
    return CocoMatches(
        protocol=protocol,
        classes=classes,
        picture_count=picture_count,
        scores=cells.scores[kept],
        class_ids=cells.class_ids[kept],
        pictures=cells.pictures[kept],
        ranks=cells.ranks[kept],
        hits=hits[kept],
        ignored=ignored[kept],
        truth_class_ids=true_rows.class_ids.astype(np.int32),
        truth_pictures=true_rows.pictures.astype(np.int32),
        truth_counts=counts,
    )
