"""COCO run-length encoding of masks, and of a label map with one mask per class; byte for byte as pycocotools."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory, Memory, memory_of
from ops._kernel import kernel
from ops._rle import MOST_PIXELS, RLE, make_rle


@njit(nogil=True, cache=True)
def _changed_columns(labels):  # type: ignore[no-untyped-def]
    """In which columns each row differs from the row above, row after row; row ``y`` ends at ``last[y]``."""
    height, width = labels.shape
    difference = np.zeros((width + 7) // 8 * 8, np.uint8)
    words = difference.view(np.uint64)  # 8 columns at a time: most rows are nearly equal to the one above
    columns = np.empty(4 * width, np.uint32)
    last = np.empty(height, np.int64)
    above = ~labels[0]  # the head of each column counts as a change: `_encode` joins what belongs together
    found = 0
    for y in range(height):
        row = labels[y]
        for x in range(width):
            difference[x] = above[x] ^ row[x]
        if found + width > columns.size:
            columns = np.concatenate((columns, np.empty(columns.size, np.uint32)))
        for word in range(words.size):
            if words[word] != 0:
                for x in range(8 * word, 8 * word + 8):
                    if difference[x] != 0:
                        columns[found] = x
                        found += 1
        last[y] = found
        above = row
    return columns[:found], last


@njit(nogil=True, cache=True)
def _changes(labels):  # type: ignore[no-untyped-def]
    """Where (counted down the columns) each run of equal labels in one column starts, and its label.

    Looks along the rows, as the memory lies, and sorts what it found by column: on a large mask this takes a fraction
    of the time of a walk down the columns.
    """
    columns, last = _changed_columns(labels)
    number = np.zeros(labels.shape[1], np.int64)
    for x in columns:
        number[x] += 1
    free = np.cumsum(number) - number  # the next free place of each column
    starts = np.empty(columns.size, np.uint32)
    values = np.empty(columns.size, np.uint8)
    k = 0
    for y in range(labels.shape[0]):
        while k < last[y]:
            x = np.int64(columns[k])
            starts[free[x]], values[free[x]] = x * labels.shape[0] + y, labels[y, x]
            free[x] += 1
            k += 1
    return starts, values


_COUNTS = "Tuple((uint32[::1], int64[::1], int64[::1]))"
_SLOTS = "Array(int16, 1, 'C', readonly=True), int64"


@kernel(f"{_COUNTS}(Array(uint8, 2, 'C', readonly=True), {_SLOTS})")
def _encode(labels, slot_of, slots):  # type: ignore[no-untyped-def]
    starts, values = _changes(labels)
    return _runs(starts, values, labels.size, slot_of, slots)


@kernel(f"{_COUNTS}(Array(uint32, 1, 'C', readonly=True), Array(uint8, 1, 'C', readonly=True), int64, {_SLOTS})")
def _encode_changes(starts, values, pixels, slot_of, slots):  # type: ignore[no-untyped-def]
    return _runs(starts, values, pixels, slot_of, slots)


@njit(nogil=True, cache=True)
def _runs(starts, values, pixels, slot_of, slots):  # type: ignore[no-untyped-def]
    """Run lengths of ``slots`` masks at once: counts of mask ``i`` are ``counts[first[i]:last[i]]``.

    ``slot_of[label]`` is the mask that a label belongs to, or -1.
    """
    room = np.ones(slots, np.int64)
    for value in values:
        if slot_of[value] >= 0:
            room[slot_of[value]] += 2
    first = np.cumsum(room) - room
    last = first.copy()
    done = np.zeros(slots, np.int64)  # pixels that a mask's counts account for
    counts = np.empty(room.sum(), np.uint32)
    for i in range(starts.size):
        slot = slot_of[values[i]]
        if slot < 0:
            continue
        start, stop = np.int64(starts[i]), np.int64(starts[i + 1]) if i + 1 < starts.size else pixels
        if start == done[slot] and last[slot] > first[slot]:  # goes on in the next column, or in another of its labels
            counts[last[slot] - 1] += stop - start
        else:
            counts[last[slot]], counts[last[slot] + 1] = start - done[slot], stop - start
            last[slot] += 2
        done[slot] = stop
    for slot in range(slots):
        if done[slot] < pixels:
            counts[last[slot]] = pixels - done[slot]
            last[slot] += 1
    return counts, first, last


@cuda_kernel("void(Array(uint8, 3, 'C', readonly=True), Array(int16, 1, 'C', readonly=True), uint8[::1])")
def _changes_twin(labels, slot_of, changed):  # type: ignore[no-untyped-def]
    """Mark, down the columns of each label map, where another mask begins than that of the pixel before."""
    height, width = labels.shape[1], labels.shape[2]
    for k in range(cuda.grid(1), labels.size, cuda.gridsize(1)):
        mask, pixel = k // (height * width), k % (height * width)
        y, x = pixel // width, pixel % width
        same = y > 0 or x > 0
        if same:
            before = labels[mask, y - 1, x] if y > 0 else labels[mask, height - 1, x - 1]
            same = slot_of[labels[mask, y, x]] == slot_of[before]
        changed[(mask * width + x) * height + y] = not same


@cuda_kernel("void(Array(uint8, 3, 'C', readonly=True), int64[::1], uint8[::1])")
def _labels_twin(labels, places, values):  # type: ignore[no-untyped-def]
    height, width = labels.shape[1], labels.shape[2]
    for k in range(cuda.grid(1), places.size, cuda.gridsize(1)):
        column, y = places[k] // height, places[k] % height
        values[k] = labels[column // width, y, column % width]


def _rles_on_device(memory: DeviceMemory, labels: Any, slot_of: NDArray[np.int16], slots: int) -> list[list[RLE]]:
    """Find where runs begin on the device; only those places and their labels come to the host."""
    count, height, width = labels.shape
    changed = memory.empty(labels.size, np.uint8)
    memory.launch(_changes_twin, labels.size, labels, memory.table(slot_of, np.int16), changed)
    places = marked_indices(memory, changed)
    values = memory.empty(places.size, np.uint8)
    memory.launch(_labels_twin, places.size, labels, places, values)
    starts, found = memory.fetched(places), memory.fetched(values)
    ends = np.searchsorted(starts, np.arange(count + 1) * height * width)
    rles = []
    for mask, (begin, end) in enumerate(pairwise(ends)):
        own = (starts[begin:end] - mask * height * width).astype(np.uint32)
        runs = _encode_changes(own, found[begin:end], height * width, slot_of, slots)
        rles.append(_texts(runs, height, width))
    return rles


def _check_size(mask: Any, name: str) -> None:
    """Before anything is copied: COCO's counts hold 32 bits."""
    shape = np.shape(mask)[-2:]
    if math.prod(shape) > MOST_PIXELS:
        raise ValueError(f"{name}: expected at most {MOST_PIXELS} pixels, got {' x '.join(map(str, shape))}")


def _rles(memory: Memory, stack: Any, slot_of: NDArray[np.int16], slots: int) -> list[list[RLE]]:
    """The masks of each label map of a stack [N, H, W]."""
    count, height, width = stack.shape
    if stack.size == 0:
        return [[make_rle(np.zeros(1, np.uint32), height, width) for _ in range(slots)] for _ in range(count)]
    if memory.on_device:
        return _rles_on_device(memory, stack, slot_of, slots)
    return [_texts(_encode(labels, slot_of, slots), height, width) for labels in stack]


def _texts(runs: tuple[Any, Any, Any], height: int, width: int) -> list[RLE]:
    counts, first, last = runs
    return [make_rle(counts[i:j], height, width) for i, j in zip(first, last, strict=True)]


_NOT_ZERO = np.array([-1] + [0] * 255, np.int16)


def rle_encode(mask: Any) -> Any:
    """Encode one mask or a stack of them.

    Args:
        mask: uint8 or bool, [H, W] or [N, H, W]; what is not zero is foreground.

    Returns:
        For [H, W] a dict ``{"size": [height, width], "counts": str}``; for [N, H, W] a list of N such dicts.
        Source: the compressed run lengths of the COCO API. Cost: two reads of the mask. Takes device arrays too; the
        runs come to the host then, not the pixels.
    """
    memory = memory_of(mask=mask)
    _check_size(mask, "mask")
    if np.ndim(mask) == 3:
        stack = memory.mask(mask, "mask", ("N", "H", "W"))
        return [rle for (rle,) in _rles(memory, stack, _NOT_ZERO, 1)]
    return _rles(memory, _stacked(memory.mask(mask, "mask", ("H", "W"))), _NOT_ZERO, 1)[0][0]


def _stacked(labels: Any) -> Any:
    return labels.reshape(1, *labels.shape)


def rle_encode_labels(label_map: Any, class_ids: Sequence[int]) -> list[RLE]:
    """Encode one mask per class of a label map, all in one pass: the masks ``label_map == class_id`` are never made.

    Args:
        label_map: uint8 [H, W].
        class_ids: different numbers from 0 to 255; labels that are not among them belong to no mask.

    Returns:
        A list of dicts as of `rle_encode`, in the order of ``class_ids``; a class without a pixel has an empty mask.
        Takes device arrays too; the runs come to the host then, not the pixels.
    """
    memory = memory_of(label_map=label_map)
    _check_size(label_map, "label_map")
    labels = memory.array(label_map, "label_map", np.uint8, ("H", "W"))
    slot_of = np.full(256, -1, np.int16)
    chosen = _different_bytes(class_ids)
    slot_of[chosen] = np.arange(len(chosen))
    return _rles(memory, _stacked(labels), slot_of, len(chosen))[0]


def _different_bytes(class_ids: Sequence[int]) -> list[int]:
    try:
        chosen = [operator.index(class_id) for class_id in class_ids]
    except TypeError:
        chosen = [-1]
    if len(set(chosen)) < len(chosen) or not all(0 <= class_id <= 255 for class_id in chosen):
        raise ValueError(f"class_ids: expected different whole numbers from 0 to 255, got {class_ids!r}")
    return chosen
