"""How large each labelled part of a CT volume is, and how its Hounsfield units are spread, in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import describe, spacing_of, whole_number
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import first_after
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for


class LungStatistics(NamedTuple):
    """Of N labels: row ``i`` is of label ``i + 1``."""

    voxels: NDArray[np.int64]
    volumes_ml: NDArray[np.float64]
    means_hu: NDArray[np.float64]
    histograms: NDArray[np.int64]


# Labels that are looked at together: most of a volume is background.
_BLOCK = 64


@njit(nogil=True, cache=True)
def _add_run(values, begin, end, bin_of, row, counts, sums):  # type: ignore[no-untyped-def]
    """Add neighbouring voxels of one label."""
    added = np.int64(0)
    for i in range(np.uint64(begin), np.uint64(end)):  # unsigned, or every index is looked at for a negative one
        value = np.int64(values[i])
        added += value
        counts[row, np.uint64(bin_of[np.uint64(value + 32768)])] += 1
    sums[row] += added


@kernel(
    "void(int64, int64, Array(int16, 1, 'C', readonly=True), Array(uint8, 1, 'C', readonly=True),"
    " Array(uint16, 1, 'C', readonly=True), int64[:,:,::1], int64[:,::1])"
)
def _count(lane, lanes, volume, labels, bin_of, all_counts, all_sums):  # type: ignore[no-untyped-def]
    """Add each voxel to its label's row, and what has a label above the last to the row after the last."""
    counts, sums = all_counts[lane], all_sums[lane]
    last = np.uint8(min(counts.shape[0] - 1, 255))
    bound = volume.size * (lane + 1) // lanes
    for start in range(volume.size * lane // lanes, bound, _BLOCK):
        stop = min(start + _BLOCK, bound)
        marks = labels[start:stop]
        some, every = np.uint8(0), np.uint8(255)
        for i in range(marks.size):
            some = np.uint8(some | marks[i])
            every = np.uint8(every & marks[i])
        i = start if some != 0 else stop
        while i < stop:
            mark, end = labels[np.uint64(i)], stop if some == every else i + 1
            while end < stop and labels[np.uint64(end)] == mark:
                end += 1
            if mark != 0:
                _add_run(volume, i, end, bin_of, np.uint64(min(mark, last)), counts, sums)
            i = end


@njit(nogil=True, cache=True)
def _bin_of(edges, value):  # type: ignore[no-untyped-def]
    """As `_bins`, of one value."""
    last = edges.size - 1
    if value == edges[last]:
        return last - 1
    after = first_after(edges, 0, edges.size, np.float64(value))
    return after - 1 if 0 < after <= last else last


# Cells of labels and bins that a block counts for itself before it adds to those of all; and the most labels.
_SHARED, _LABELS = 2048, 255


@cuda_kernel(
    "void(Array(int16, 1, 'C', readonly=True), Array(uint8, 1, 'C', readonly=True), float64[::1], int64[::1],"
    " int64[::1], int64[::1])",
    block=256,
)
def _count_twin(volume, labels, edges, counts, sums, highest):  # type: ignore[no-untyped-def]
    """Add each voxel to its cell in ``counts`` [N * (B + 1)]: each block for itself, then to all."""
    cells = cuda.shared.array(_SHARED, np.int32)
    totals = cuda.shared.array(_LABELS, np.int64)  # the simulator knows shared arrays by their lines
    spread = counts.size <= _SHARED
    if spread:
        for k in range(cuda.threadIdx.x, counts.size, cuda.blockDim.x):
            cells[k] = 0
    for k in range(cuda.threadIdx.x, sums.size, cuda.blockDim.x):
        totals[k] = 0
    cuda.syncthreads()
    last, total = np.int64(1), np.int64(0)  # of the voxels just seen: a label comes in runs
    for i in range(cuda.grid(1), volume.size, cuda.gridsize(1)):
        label = np.int64(labels[i])
        if label > sums.size:
            cuda.atomic.max(highest, 0, label)
        elif label > 0:
            value = np.int64(volume[i])
            cell = (label - 1) * edges.size + _bin_of(edges, value)
            if spread:
                cuda.atomic.add(cells, cell, np.int32(1))
            else:
                cuda.atomic.add(counts, cell, np.int64(1))
            if label != last:
                cuda.atomic.add(totals, last - 1, total)
                last, total = label, np.int64(0)
            total += value
    cuda.atomic.add(totals, last - 1, total)
    cuda.syncthreads()
    if spread:
        for k in range(cuda.threadIdx.x, counts.size, cuda.blockDim.x):
            cuda.atomic.add(counts, k, np.int64(cells[k]))
    for k in range(cuda.threadIdx.x, sums.size, cuda.blockDim.x):
        cuda.atomic.add(sums, k, totals[k])


@cuda_kernel("void(int64[:,::1], int64[::1], float64, int64[::1], float64[::1], float64[::1], int64[:,::1])")
def _finish_twin(counts, sums, voxel_ml, voxels, volumes_ml, means_hu, histograms):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), sums.size, cuda.gridsize(1)):
        voxels[i] = 0
        for k in range(counts.shape[1]):
            voxels[i] += counts[i, k]
            if k < histograms.shape[1]:
                histograms[i, k] = counts[i, k]
        volumes_ml[i] = np.float64(voxels[i]) * voxel_ml
        means_hu[i] = np.float64(sums[i]) / np.float64(voxels[i]) if voxels[i] > 0 else np.nan


def _bins(edges: NDArray[np.float64]) -> NDArray[np.uint16]:
    """For -32768 to 32767 the bin, as `numpy.histogram` has it; the number of bins for what lies outside."""
    bins = len(edges) - 1
    first = (np.ceil(edges).clip(-(2**15), 2**15) + 2**15).astype(np.int64)
    found = np.full(2**16, bins, np.uint16)
    found[first[0] : first[-1]] = np.repeat(np.arange(bins, dtype=np.uint16), np.diff(first))
    if edges[-1] % 1 == 0 and -(2**15) <= edges[-1] < 2**15:
        found[first[-1]] = bins - 1
    return found


def _checked_edges(edges: Any) -> NDArray[np.float64]:
    array = np.asarray(edges)
    rising = array.ndim == 1 and 2 <= array.size <= 2**15 and array.dtype.kind in "iuf"
    if not rising or not np.isfinite(array).all() or not (np.diff(array.astype(np.float64)) > 0).all():
        raise ValueError(f"edges: expected 2 to {2**15} finite rising numbers in HU, got {describe(edges)}")
    return array.astype(np.float64)


def _refuse(highest: int, num_labels: int) -> None:
    raise ValueError(f"labels: expected labels 0..{num_labels}, got {highest}")


# Threads that fill a large card, each with many voxels: adding up among them is what costs.
_MOST_THREADS = 2**18


def _on_device(
    memory: DeviceMemory, flat: Any, marks: Any, edges: NDArray[np.float64], num_labels: int, voxel_ml: float
) -> LungStatistics:
    bins = len(edges) - 1
    counts, sums = memory.full((num_labels, bins + 1), np.int64, 0), memory.full(num_labels, np.int64, 0)
    highest = memory.full(1, np.int64, 0)
    arguments = flat, marks, memory.table(edges, np.float64), counts.reshape(counts.size), sums, highest
    memory.launch(_count_twin, min(flat.size, _MOST_THREADS), *arguments)
    (wrong,) = memory.numbers(highest)
    if wrong:
        _refuse(wrong, num_labels)
    found = LungStatistics(
        memory.empty(num_labels, np.int64),
        memory.empty(num_labels, np.float64),
        memory.empty(num_labels, np.float64),
        memory.empty((num_labels, bins), np.int64),
    )
    memory.launch(_finish_twin, num_labels, counts, sums, voxel_ml, *found)
    return found


# Voxels from which on threads pay: one looks at about as many labels in a millisecond.
_PARALLEL_VOXELS = 2_000_000


def lung_statistics(
    volume: Any, labels: Any, spacing: Sequence[float], num_labels: int, edges: Sequence[float]
) -> LungStatistics:
    """Measure each labelled part of a CT volume: its size, its mean and the histogram of its Hounsfield units.

    Args:
        volume: int16 [D, H, W] in HU.
        labels: uint8 [D, H, W], 1 to N; 0 is background, which is not counted.
        spacing: (z, y, x) in mm: how far the centres of neighbouring voxels lie apart.
        num_labels: N, 1 to 255.
        edges: B + 1 rising numbers in HU between which the histogram's B bins lie.

    Returns:
        A `LungStatistics`: ``voxels`` int64 [N]; ``volumes_ml`` float64 [N] in millilitres; ``means_hu`` float64 [N],
        NaN where a label has no voxel; ``histograms`` int64 [N, B], each bin from its lower edge to before its upper
        one, the last with it, as ``numpy.histogram``: what lies outside the edges is in no bin, but in the others.
        Raises ``ValueError`` with the label when one is above N. Cost: one read of the labels, and of the volume where
        there are any. Takes device arrays too.
    """
    memory = memory_of(volume=volume, labels=labels)
    array = memory.array(volume, "volume", np.int16, ("D", "H", "W"))
    marks = memory.array(labels, "labels", np.uint8, tuple(array.shape))
    count = whole_number(num_labels, "num_labels", 1, 255)
    limits = _checked_edges(edges)
    voxel_ml = math.prod(spacing_of(spacing, "spacing", "zyx")) / 1000
    flat, flat_marks = array.reshape(array.size), marks.reshape(marks.size)
    if memory.on_device:
        return _on_device(memory, flat, flat_marks, limits, count, voxel_ml)
    lanes = lanes_for(array.size, _PARALLEL_VOXELS)
    counts, sums = np.zeros((lanes, count + 2, len(limits)), np.int64), np.zeros((lanes, count + 2), np.int64)
    in_lanes(_count, lanes, lanes, flat, flat_marks, _bins(limits), counts, sums)
    if counts[:, count + 1].any():
        _refuse(int(marks.max()), count)
    rows, totals = counts.sum(axis=0)[1:-1], sums.sum(axis=0)[1:-1]
    voxels = rows.sum(axis=1)
    means = np.divide(totals, voxels, out=np.full(count, np.nan), where=voxels > 0)
    return LungStatistics(voxels, voxels * voxel_ml, means, np.ascontiguousarray(rows[:, :-1]))
