"""Task-aligned assignment (TOOD): which cells of a detection head learn which box, and what score they should give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import higher_of
from ops._check import same_length, whole_number
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import CHOOSERS, first_after, next_of
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller
from ops._truths import check_classes, picture_starts
from ops.box_iou import iou_of

_NO_CANDIDATE = np.float32(-1.0)
_MOST_TOP_K = 64


@njit(nogil=True, cache=True)
def _candidate(x, y, x1, y1, x2, y2, box, score, alpha, beta):  # type: ignore[no-untyped-def]
    """IoU of a cell's prediction with a true box, and their alignment; no IoU unless the cell's centre lies inside."""
    if not (x1 < x < x2 and y1 < y < y2):
        return _NO_CANDIDATE, 0.0
    iou = iou_of(box[0], box[1], box[2], box[3], x1, y1, x2, y2)
    alignment = np.float64(score) ** alpha * np.float64(iou) ** beta
    return (iou, alignment) if alignment > 0 else (_NO_CANDIDATE, 0.0)  # NaN, too, is none


@njit(nogil=True, cache=True)
def _insert(cell, iou, alignment, count, chosen, chosen_iou, chosen_alignment):  # type: ignore[no-untyped-def]
    """Put a cell among the best so far, which fall, after those that are equal. Return how many there are."""
    place = count
    while place > 0 and chosen_alignment[place - 1] < alignment:
        place -= 1
    if place == chosen.size:
        return count
    last = min(count, chosen.size - 1)
    for k in range(last, place, -1):
        chosen[k], chosen_iou[k], chosen_alignment[k] = chosen[k - 1], chosen_iou[k - 1], chosen_alignment[k - 1]
    chosen[place], chosen_iou[place], chosen_alignment[place] = cell, iou, alignment
    return last + 1


@njit(nogil=True, cache=True)
def _assign_picture(scores, predicted, centres, boxes, classes, top_k, alpha, beta, matched, quality):  # type: ignore[no-untyped-def]
    truths = boxes.shape[0]
    chosen = np.full((truths, top_k), -1, np.int64)
    chosen_iou, chosen_alignment = np.empty((truths, top_k), np.float32), np.empty((truths, top_k), np.float64)
    best_iou = np.full(matched.size, _NO_CANDIDATE, np.float32)
    for t in range(truths):
        x1, y1, x2, y2 = boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3]
        count = 0
        for a in range(matched.size):
            iou, alignment = _candidate(
                centres[a, 0], centres[a, 1], x1, y1, x2, y2, predicted[a], scores[a, classes[t]], alpha, beta
            )
            if iou != _NO_CANDIDATE:
                count = _insert(a, iou, alignment, count, chosen[t], chosen_iou[t], chosen_alignment[t])
        for k in range(count):
            a = chosen[t, k]
            if chosen_iou[t, k] > best_iou[a]:  # a cell wanted by two boxes learns the one that it overlaps more
                best_iou[a], matched[a] = chosen_iou[t, k], t
    for t in range(truths):
        iou, alignment = _bests(t, chosen[t], chosen_iou[t], chosen_alignment[t], matched)
        for k in range(top_k):
            if chosen[t, k] >= 0 and matched[chosen[t, k]] == t:
                quality[chosen[t, k]] = chosen_alignment[t, k] / alignment * iou


@njit(nogil=True, cache=True)
def _bests(truth, chosen, chosen_iou, chosen_alignment, matched):  # type: ignore[no-untyped-def]
    """The best IoU and the best alignment of the cells that learn a box."""
    iou, alignment = np.float32(0.0), 0.0
    for k in range(chosen.size):
        if chosen[k] >= 0 and matched[chosen[k]] == truth:
            iou, alignment = higher_of(iou, chosen_iou[k]), higher_of(alignment, chosen_alignment[k])
    return iou, alignment


_SIGNATURE = (
    "void(Array(float32, 3, 'C', readonly=True), Array(float32, 3, 'C', readonly=True),"
    " Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " int64, float64, float64, int64[:,::1], float32[:,::1])"
)


@kernel(_SIGNATURE)
def _serial(scores, predicted, centres, boxes, classes, starts, top_k, alpha, beta, matched, quality):  # type: ignore[no-untyped-def]
    for b in range(scores.shape[0]):
        part = slice(starts[b], starts[b + 1])
        _assign_picture(
            scores[b], predicted[b], centres, boxes[part], classes[part], top_k, alpha, beta, matched[b], quality[b]
        )


@kernel(_SIGNATURE, parallel=True)
def _parallel(scores, predicted, centres, boxes, classes, starts, top_k, alpha, beta, matched, quality):  # type: ignore[no-untyped-def]
    for b in prange(scores.shape[0]):
        part = slice(starts[b], starts[b + 1])
        _assign_picture(
            scores[b], predicted[b], centres, boxes[part], classes[part], top_k, alpha, beta, matched[b], quality[b]
        )


@cuda_kernel(
    "void(Array(float32, 3, 'C', readonly=True), Array(float32, 3, 'C', readonly=True),"
    " Array(float32, 2, 'C', readonly=True), Array(float32, 2, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), int64[::1], float64, float64, int64, float32[:,::1], float64[:,::1])",
    block=(64, 1),
)
def _candidates_twin(scores, predicted, centres, boxes, classes, starts, alpha, beta, first, iou, alignment):  # type: ignore[no-untyped-def]
    """One thread a pair of a cell and a true box, from box ``first`` on."""
    from_cell, from_row = cuda.grid(2)
    step_cell, step_row = cuda.gridsize(2)
    for row in range(from_row, iou.shape[0], step_row):
        t = first + row
        picture = first_after(starts, 0, starts.size, t) - 1
        for a in range(from_cell, iou.shape[1], step_cell):
            iou[row, a], alignment[row, a] = _candidate(
                centres[a, 0], centres[a, 1], boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3],
                predicted[picture, a], scores[picture, a, classes[t]], alpha, beta,
            )  # fmt: skip


@cuda_kernel(
    "void(float32[:,::1], float64[:,::1], int64, int64[:,::1], float32[:,::1], float64[:,::1])",
    block=CHOOSERS,
    fixed=True,
)
def _choose_twin(iou, alignment, first, chosen, chosen_iou, chosen_alignment):  # type: ignore[no-untyped-def]
    """One block a true box: the best aligned cells, falling; -1 in what is left."""
    keys = cuda.shared.array(CHOOSERS, np.float64)
    places = cuda.shared.array(CHOOSERS, np.int64)
    for row in range(cuda.blockIdx.x, iou.shape[0], cuda.gridDim.x):
        key, last = 0.0, -1
        for k in range(chosen.shape[1]):
            if k == 0 or last >= 0:
                key, last = next_of(alignment[row], -1.0, iou[row], _NO_CANDIDATE, key, last, keys, places)
            if cuda.threadIdx.x == 0:
                chosen[first + row, k], chosen_alignment[first + row, k] = last, -key
                chosen_iou[first + row, k] = iou[row, max(last, 0)]


@cuda_kernel("void(int64[::1], int64[:,::1], float32[:,::1], int64[:,::1])", block=(64, 1))
def _match_twin(starts, chosen, chosen_iou, matched):  # type: ignore[no-untyped-def]
    """One thread a cell: of the boxes that chose it, it learns the one that it overlaps most."""
    from_cell, from_picture = cuda.grid(2)
    step_cell, step_picture = cuda.gridsize(2)
    for b in range(from_picture, matched.shape[0], step_picture):
        for a in range(from_cell, matched.shape[1], step_cell):
            best, truth = _NO_CANDIDATE, -1
            for t in range(starts[b], starts[b + 1]):
                for k in range(chosen.shape[1]):
                    if chosen[t, k] == a and chosen_iou[t, k] > best:
                        best, truth = chosen_iou[t, k], t - starts[b]
            matched[b, a] = truth


@cuda_kernel("void(int64[::1], int64[:,::1], float32[:,::1], float64[:,::1], int64[:,::1], float32[:,::1])")
def _quality_twin(starts, chosen, chosen_iou, chosen_alignment, matched, quality):  # type: ignore[no-untyped-def]
    """One thread a true box."""
    for t in range(cuda.grid(1), chosen.shape[0], cuda.gridsize(1)):
        picture = first_after(starts, 0, starts.size, t) - 1
        own = t - starts[picture]
        iou, alignment = _bests(own, chosen[t], chosen_iou[t], chosen_alignment[t], matched[picture])
        for k in range(chosen.shape[1]):
            if chosen[t, k] >= 0 and matched[picture, chosen[t, k]] == own:
                quality[picture, chosen[t, k]] = np.float32(chosen_alignment[t, k] / alignment * np.float64(iou))


# Pairs of cells and boxes whose IoU and alignment are held at once: 192 MiB.
_MOST_PAIRS = 2**24


def _on_device(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, scores, predicted, centres, boxes, classes, starts, top_k, alpha, beta, matched, quality
) -> None:
    count, cells = boxes.shape[0], matched.shape[1]
    table = memory.table(starts, np.int64)
    chosen, chosen_iou = memory.empty((count, top_k), np.int64), memory.empty((count, top_k), np.float32)
    chosen_alignment = memory.empty((count, top_k), np.float64)
    part = max(1, _MOST_PAIRS // max(cells, 1))
    for first in range(0, count if cells else 0, part):
        size = min(part, count - first), cells
        iou, alignment = memory.empty(size, np.float32), memory.empty(size, np.float64)
        head = scores, predicted, centres, boxes, classes, table, alpha, beta
        memory.launch(_candidates_twin, (cells, size[0]), *head, first, iou, alignment)
        memory.launch(_choose_twin, size[0] * CHOOSERS, iou, alignment, first, chosen, chosen_iou, chosen_alignment)
    memory.launch(_match_twin, (cells, matched.shape[0]), table, chosen, chosen_iou, matched)
    memory.launch(_quality_twin, count, table, chosen, chosen_iou, chosen_alignment, matched, quality)


def task_aligned_assign(
    scores: Any,
    predicted: Any,
    centres: Any,
    boxes: Any,
    class_ids: Any,
    counts: Sequence[int],
    *,
    top_k: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Assign cells of a detection head to true boxes by how well score and place agree, for a batch.

    The alignment of a cell with a box is score^alpha * IoU^beta. Each box takes the ``top_k`` best aligned cells whose
    centre lies inside it; a cell that several take goes to the one that its prediction overlaps most.

    Args:
        scores: float32 [B, A, C], the predicted probability of each class (after the sigmoid).
        predicted: float32 [B, A, 4], the predicted boxes, xyxy in input pixels.
        centres: float32 [A, 2], x and y of the cells' centres in input pixels.
        boxes: float32 [M, 4], xyxy in input pixels: the true boxes of all pictures, one picture after another.
        class_ids: int64 [M].
        counts: how many boxes each of the B pictures has.
        top_k: 1 to 64 cells at most for each box (13 in the paper, 10 in YOLOv8).
        alpha: exponent of the score (1 in the paper, 0.5 in YOLOv8), at least 0.
        beta: exponent of the IoU, at least 0.

    Returns:
        matched int64 [B, A]: for each cell the index of its box among its picture's boxes, or -1; and float32 [B, A],
        the target of its class score: the alignment, scaled so that the best of a box's cells gets the box's best IoU
        (0 where unmatched). A cell without alignment (NaN too) is never matched. Equal alignments: lower cell first;
        equal IoUs: lower box. Source: Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, section
        3.2. Takes device arrays too (``counts`` stay on the host).
    """
    memory = memory_of(scores=scores, predicted=predicted, centres=centres, boxes=boxes, class_ids=class_ids)
    score_array = memory.array(scores, "scores", np.float32, ("B", "A", "C"))
    pictures, cells, classes = map(int, score_array.shape)
    predicted_array = memory.array(predicted, "predicted", np.float32, (pictures, cells, 4))
    centre_array = memory.array(centres, "centres", np.float32, (cells, 2))
    box_array = memory.array(boxes, "boxes", np.float32, ("M", 4))
    class_array = memory.array(class_ids, "class_ids", np.int64, ("M",))
    same_length(boxes=box_array, class_ids=class_array)
    starts = picture_starts(counts, pictures, box_array.shape[0])
    check_classes(memory, class_array, classes)
    best = whole_number(top_k, "top_k", 1, _MOST_TOP_K)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")
    matched: NDArray[np.int64] = memory.full((pictures, cells), np.int64, -1)
    quality: NDArray[np.float32] = memory.full((pictures, cells), np.float32, 0)
    settings = best, float(alpha), float(beta)
    arguments = score_array, predicted_array, centre_array, box_array, class_array, starts, *settings, matched, quality
    if memory.on_device:
        _on_device(memory, *arguments)
    else:
        (_parallel if pictures > 1 and lone_caller() else _serial)(*arguments)
    return matched, quality
