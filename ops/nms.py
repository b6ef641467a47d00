"""Greedy non-maximum suppression, of one class or of many at once (no coordinate-offset trick)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import higher_of, lower_of
from ops._check import same_length, unit_interval
from ops._cuda import CudaKernel, cuda, cuda_kernel
from ops._cuda_order import counting, first_after, first_from, marked_indices, stable_order
from ops._device import DeviceMemory, Memory, memory_of
from ops._kernel import kernel
from ops._stable_sort import falling_order


@njit(nogil=True, cache=True, inline="always")
def overlaps(boxes, i, j, threshold):  # type: ignore[no-untyped-def]
    """Whether the IoU of boxes i and j is above the threshold, without a division."""
    width = lower_of(boxes[i, 2], boxes[j, 2]) - higher_of(boxes[i, 0], boxes[j, 0])
    height = lower_of(boxes[i, 3], boxes[j, 3]) - higher_of(boxes[i, 1], boxes[j, 1])
    if width <= 0 or height <= 0:
        return False
    # In float64 like the threshold, so that an IoU of exactly 0.7 is not above 0.7.
    intersection = np.float64(width) * np.float64(height)
    area_i = np.float64(boxes[i, 2] - boxes[i, 0]) * np.float64(boxes[i, 3] - boxes[i, 1])
    area_j = np.float64(boxes[j, 2] - boxes[j, 0]) * np.float64(boxes[j, 3] - boxes[j, 1])
    return intersection > threshold * (area_i + area_j - intersection)


# Kept boxes stand in blocks of so many, which a candidate is compared with in vectors; and blocks in so many chains, as
# a class has one of its own, or few share one.
_BLOCK, _CHAINS = 16, 128


@njit(nogil=True, cache=True)
def room_for(count):  # type: ignore[no-untyped-def]
    """Arrays for so many kept boxes.

    By block: the sides of its boxes [left, top, right, bottom]; their areas; their classes; how many there are, and
    which block is before it in its chain. By chain its last block; and, one more, how many blocks are in use.
    """
    blocks = count // _BLOCK + min(count, _CHAINS)
    last = np.empty(_CHAINS + 1, np.int64)
    for chain in range(_CHAINS):  # np.full takes longer to compile
        last[chain] = -1
    last[_CHAINS] = 0
    return (
        np.empty((blocks, 4, _BLOCK), np.float32),
        np.empty((blocks, _BLOCK), np.float64),
        np.empty((blocks, _BLOCK), np.int64),
        np.empty((blocks, 2), np.int64),
        last,
    )


@njit(nogil=True, cache=True)
def mark_best(  # type: ignore[no-untyped-def]
    boxes, class_ids, begin, end, threshold, most, sides, areas, classes, chained, last, marks
):
    """Mark those of the boxes from ``begin`` to ``end`` that no kept one of their class overlaps: they join them.

    Return how many, ``most`` of them at most. Many at a time, as to count the references of the arrays of kept boxes
    takes numba longer than to compare one with them.
    """
    count, nothing = 0, np.float32(0.0)
    for i in range(begin, end):
        x1, y1, x2, y2, class_id = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3], class_ids[i]
        area = np.float64(x2 - x1) * np.float64(y2 - y1)
        chain = class_id & (_CHAINS - 1)
        block, lost = last[chain], count == most
        while block >= 0 and not lost:
            for k in range(_BLOCK):
                width = lower_of(sides[block, 2, k], x2) - higher_of(sides[block, 0, k], x1)
                height = lower_of(sides[block, 3, k], y2) - higher_of(sides[block, 1, k], y1)
                # As in `overlaps`; all that is compared has 64 bits, or its truth would be packed and unpacked.
                shared = np.float64(higher_of(width, nothing)) * np.float64(higher_of(height, nothing))
                above = shared > threshold * (areas[block, k] + area - shared)
                lost |= above & (shared > 0) & (classes[block, k] == class_id)
            block = chained[block, 1]
        marks[i] = not lost
        if lost:
            continue
        count += 1
        block = last[chain]
        if block < 0 or chained[block, 0] == _BLOCK:
            block = last[_CHAINS]
            for k in range(_BLOCK):  # nothing overlaps these
                sides[block, 0, k], sides[block, 1, k] = np.inf, np.inf
                sides[block, 2, k], sides[block, 3, k] = -np.inf, -np.inf
                areas[block, k], classes[block, k] = 0, 0
            chained[block, 0], chained[block, 1], last[chain], last[_CHAINS] = 0, last[chain], block, block + 1
        k = chained[block, 0]
        sides[block, 0, k], sides[block, 1, k], sides[block, 2, k], sides[block, 3, k] = x1, y1, x2, y2
        areas[block, k], classes[block, k], chained[block, 0] = area, class_id, k + 1
    return count


@njit(nogil=True, cache=True)
def suppress(boxes, class_ids, order, threshold):  # type: ignore[no-untyped-def]
    """Walk the candidates in ``order`` and keep each that no kept box of its class overlaps."""
    size = order.size
    falling, ids, marks = np.empty((size, 4), np.float32), np.empty(size, np.int64), np.empty(size, np.bool_)
    for i in range(size):
        for side in range(4):
            falling[i, side] = boxes[order[i], side]
        ids[i] = class_ids[order[i]]
    sides, areas, classes, chained, last = room_for(size)
    count = mark_best(falling, ids, 0, size, threshold, size, sides, areas, classes, chained, last, marks)
    chosen, found = np.empty(count, np.int64), 0
    for i in range(size):
        if marks[i]:
            chosen[found] = order[i]
            found += 1
    return chosen


@kernel(
    "int64[::1](Array(float32, 2, 'C', readonly=True), Array(float32, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), float64)"
)
def _nms(boxes, scores, class_ids, threshold):  # type: ignore[no-untyped-def]
    return suppress(boxes, class_ids, falling_order(scores), threshold)


# The bits of a mask row are held in words of so many boxes; and so many words of memory at once, 64 MiB.
WORD, _MOST_WORDS = 64, 2**23


@cuda_kernel("void(Array(float32, 1, 'C', readonly=True), float32[::1])")
def _negate_twin(scores, keys):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        keys[k] = -scores[k]


@cuda_kernel("void(Array(int64, 1, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), int64[::1])")
def _gather_twin(values, order, out):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[k] = values[order[k]]


@cuda_kernel("void(Array(int64, 1, 'C', readonly=True), int64[::1], int64[::1], int64[::1])")
def _classes_twin(sorted_ids, first, end, longest):  # type: ignore[no-untyped-def]
    """Where the class of each sorted box begins and ends, and the size of the largest class."""
    for k in range(cuda.grid(1), sorted_ids.size, cuda.gridsize(1)):
        first[k] = first_from(sorted_ids, 0, sorted_ids.size, sorted_ids[k])
        end[k] = first_after(sorted_ids, 0, sorted_ids.size, sorted_ids[k])
        cuda.atomic.max(longest, 0, end[k] - first[k])


@cuda_kernel(
    "void(Array(float32, 2, 'C', readonly=True), Array(int64, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), float32[:,::1])"
)
def _arrange_twin(boxes, by_score, by_class, arranged):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), arranged.shape[0], cuda.gridsize(1)):
        box = by_score[by_class[k]]
        for number in range(arranged.shape[1]):
            arranged[k, number] = boxes[box, number]


@cuda_kernel("void(float32[:,::1], int64[::1], int64[::1], uint64[::1], int64, float64, uint64[:,::1])", block=(64, 1))
def _overlap_twin(boxes, first, end, gone, begin, threshold, bits):  # type: ignore[no-untyped-def]
    """For the boxes from ``begin`` on: which later boxes of their class each overlaps, a bit each.

    Word ``w`` of a class that begins at ``first`` is for the boxes from ``first + 64 * w`` on. Rows of boxes that are
    gone, and words before a box's own, are not read and not written.
    """
    from_row, from_word = cuda.grid(2)
    step_row, step_word = cuda.gridsize(2)
    for row in range(from_row, bits.shape[0], step_row):
        k = begin + row
        start, stop = first[k], end[k]
        own, bit = (k - start) // WORD, np.uint64((k - start) % WORD)
        if (gone[start + own] >> bit) & np.uint64(1):
            continue
        for word in range(own + from_word, (stop - start + WORD - 1) // WORD, step_word):
            found = np.uint64(0)
            for j in range(max(k + 1, start + WORD * word), min(stop, start + WORD * (word + 1))):
                if overlaps(boxes, k, j, threshold):
                    found |= np.uint64(1) << np.uint64(j - start - WORD * word)
            bits[row, word] = found


@cuda_kernel(
    "void(int64[::1], int64[::1], uint64[:,::1], int64, Array(int64, 1, 'C', readonly=True), uint64[::1], uint8[::1])",
    block=WORD,
    fixed=True,
)
def _suppress_twin(first, end, bits, begin, by_class, gone, kept):  # type: ignore[no-untyped-def]
    """Walk down the classes, a block each: 64 boxes by one thread, then all threads strike out what those suppress.

    ``gone`` holds a class's struck out boxes in the words from its first box on; ``kept`` is in order of the scores.
    """
    own = cuda.shared.array(WORD, np.uint64)
    chosen = cuda.shared.array(1, np.uint64)
    thread = cuda.threadIdx.x
    for head in range(begin + cuda.blockIdx.x, begin + bits.shape[0], cuda.gridDim.x):
        start, stop = first[head], min(end[head], begin + bits.shape[0])
        if head not in (start, begin):
            continue
        for word in range((head - start) // WORD, (stop - start + WORD - 1) // WORD):
            low, high = max(head, start + WORD * word), min(stop, start + WORD * (word + 1))
            if low + thread < high:
                own[thread] = bits[low + thread - begin, word]
            cuda.syncthreads()
            if thread == 0:
                out, taken = gone[start + word], np.uint64(0)
                for k in range(low, high):
                    bit = np.uint64(1) << np.uint64(k - start - WORD * word)
                    if not out & bit:
                        out |= own[k - low]
                        taken |= bit
                        kept[by_class[k]] = 1
                gone[start + word], chosen[0] = out, taken
            cuda.syncthreads()
            for other in range(word + 1 + thread, (end[head] - start + WORD - 1) // WORD, cuda.blockDim.x):
                out = gone[start + other]
                for k in range(low, high):
                    if (chosen[0] >> np.uint64(k - start - WORD * word)) & np.uint64(1):
                        out |= bits[k - begin, other]
                gone[start + other] = out
            cuda.syncthreads()


def _as_they_are(_memory: DeviceMemory, boxes: Any) -> Any:
    return boxes


def suppress_on_device(
    memory: DeviceMemory,
    boxes: Any,
    scores: Any,
    class_ids: Any,
    threshold: float,
    limit: int | None = None,
    *,
    shapes: Callable[[DeviceMemory, Any], Any] = _as_they_are,
    overlap: CudaKernel = _overlap_twin,
) -> Any:
    """Return what `batched_nms` does, at most ``limit`` indices; ``None`` for the classes where there is one only.

    Boxes of another kind come with what makes their ``shapes``, and with the twin that says which of those overlap.
    Boxes are sorted by score and then by class, so that each class is a stretch of its own and all go at once.
    """
    count = scores.size
    if count == 0:
        return memory.empty(0, np.int64)
    keys = memory.empty(count, np.float32)
    memory.launch(_negate_twin, count, scores, keys)
    _, by_score = stable_order(memory, keys)
    by_class, first, end, longest = classes_on_device(memory, class_ids, by_score)
    arranged = memory.empty(tuple(boxes.shape), np.float32)
    memory.launch(_arrange_twin, count, boxes, by_score, by_class, arranged)
    arranged = shapes(memory, arranged)
    words = -(-longest // WORD)
    rows = max(1, min(count, _MOST_WORDS // words))
    gone, kept = memory.full(count, np.uint64, 0), memory.full(count, np.uint8, 0)
    for begin in range(0, count, rows):
        bits = memory.empty((min(rows, count - begin), words), np.uint64)
        memory.launch(overlap, bits.shape, arranged, first, end, gone, begin, threshold, bits)
        memory.launch(_suppress_twin, bits.shape[0] * WORD, first, end, bits, begin, by_class, gone, kept)
    ranks = marked_indices(memory, kept, limit)
    result = memory.empty(ranks.size, np.int64)
    memory.launch(_gather_twin, result.size, by_score, ranks, result)
    return result


def classes_on_device(memory: DeviceMemory, class_ids: Any, by_score: Any) -> tuple[Any, Any, Any, int]:
    """The boxes in order of class and score, where each one's class begins and ends there, the largest one's size."""
    count = by_score.size
    if class_ids is None:
        whole = memory.full(count, np.int64, count)
        return counting(memory, count), memory.full(count, np.int64, 0), whole, count
    ids, first, end = (memory.empty(count, np.int64) for _ in range(3))
    memory.launch(_gather_twin, count, class_ids, by_score, ids)
    sorted_ids, by_class = stable_order(memory, ids)
    longest = memory.full(1, np.int64, 0)
    memory.launch(_classes_twin, count, sorted_ids, first, end, longest)
    return by_class, first, end, memory.numbers(longest)[0]


def batched_nms(boxes: Any, scores: Any, class_ids: Any, iou_threshold: float) -> NDArray[np.int64]:
    """Suppress boxes that overlap a better one of the same class.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N]; NaN sorts last.
        class_ids: int64 [N], any numbers; ``picture * C + class`` for many pictures at once.
        iou_threshold: a box is dropped when its IoU with a kept one is above this.

    Returns:
        int64 [K], indices of the kept boxes by falling score; equal scores keep the lower index first.
        Complexity O(N log N + N K). Takes device arrays too (O(N log N + N n) for n boxes in the largest class).
    """
    memory = memory_of(boxes=boxes, scores=scores, class_ids=class_ids)
    class_array = memory.array(class_ids, "class_ids", np.int64, ("N",))
    return _checked_nms(memory, boxes, scores, class_array, iou_threshold)


def nms(boxes: Any, scores: Any, iou_threshold: float) -> NDArray[np.int64]:
    """Suppress boxes that overlap a better one: `batched_nms` with a single class.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N].
        iou_threshold: a box is dropped when its IoU with a kept one is above this.

    Returns:
        int64 [K], indices of the kept boxes by falling score; equal scores: the lower index first, and NaN last. Takes
        device arrays too.
    """
    memory = memory_of(boxes=boxes, scores=scores)
    return _checked_nms(memory, boxes, scores, None, iou_threshold)


def _checked_nms(memory: Memory, boxes: Any, scores: Any, class_array: Any, iou_threshold: float) -> NDArray[np.int64]:
    box_array = memory.array(boxes, "boxes", np.float32, ("N", 4))
    score_array = memory.array(scores, "scores", np.float32, ("N",))
    same_length(boxes=box_array, scores=score_array, **({} if class_array is None else {"class_ids": class_array}))
    threshold = unit_interval(iou_threshold, "iou_threshold")
    if memory.on_device:
        return suppress_on_device(memory, box_array, score_array, class_array, threshold)  # type: ignore[no-any-return]
    if class_array is None:
        class_array = np.zeros(len(score_array), np.int64)
    return _nms(box_array, score_array, class_array, threshold)  # type: ignore[no-any-return]
