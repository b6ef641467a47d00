"""How far the surfaces of two masks lie apart, in millimetres: what surface Dice and HD95 are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import describe, spacing_of
from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for

_compiled = njit(nogil=True, cache=True)


class BoundaryDistances(NamedTuple):
    """From each boundary voxel of one mask to the nearest one of the other, in mm, voxels in raster order."""

    a_to_b: NDArray[np.float64]
    b_to_a: NDArray[np.float64]


# Distances along an axis are held in 16 bits; this one stands for "there is none".
_MOST = 65535
_NONE = np.uint16(_MOST)


@kernel("void(Array(uint8, 3, 'C', readonly=True), int64[::1])")
def _widen(mask, box):  # type: ignore[no-untyped-def]
    """Widen the box zyxzyx, ends exclusive, until it holds the foreground."""
    width = mask.shape[2]
    for z in range(mask.shape[0]):
        for y in range(mask.shape[1]):
            row = mask[z, y]
            some = np.uint8(0)
            for x in range(width):
                some = np.uint8(some | row[x])
            if some == 0:
                continue
            first, last = 0, width - 1
            while row[first] == 0:
                first += 1
            while row[last] == 0:
                last -= 1
            box[0], box[1], box[2] = min(box[0], z), min(box[1], y), min(box[2], first)
            box[3], box[4], box[5] = max(box[3], z + 1), max(box[4], y + 1), max(box[5], last + 1)


@_compiled
def _on_boundary(mask, z, y, x, planar):  # type: ignore[no-untyped-def]
    """Whether a voxel is foreground and one that shares a face with it is not, or lies outside the array."""
    depth, height, width = mask.shape
    if mask[z, y, x] == 0:
        return False
    if x == 0 or y == 0 or x == width - 1 or y == height - 1:
        return True
    if mask[z, y, x - 1] == 0 or mask[z, y, x + 1] == 0 or mask[z, y - 1, x] == 0 or mask[z, y + 1, x] == 0:
        return True
    if planar:
        return False
    return z == 0 or z == depth - 1 or mask[z - 1, y, x] == 0 or mask[z + 1, y, x] == 0


@_compiled
def _mark_row(mask, z, y, left, planar, marks):  # type: ignore[no-untyped-def]
    """Mark what lies on the boundary in a row of the box; how many."""
    depth, height, width = mask.shape
    row, count, stop = mask[z, y], 0, left + marks.size
    if y == 0 or y == height - 1 or (not planar and (z == 0 or z == depth - 1)):
        for x in range(left, stop):
            marks[x - left] = row[x] != 0
            count += marks[x - left]
        return count
    above, below = mask[z, y - 1], mask[z, y + 1]
    before, behind = (row, row) if planar else (mask[z - 1, y], mask[z + 1, y])
    for x in range(max(left, 1), min(stop, width - 1)):  # without a branch: 16 at a time
        inside = (row[x - 1] != 0) & (row[x + 1] != 0) & (above[x] != 0) & (below[x] != 0)
        inside &= (before[x] != 0) & (behind[x] != 0)
        marks[x - left] = (row[x] != 0) & (not inside)
    if left == 0:
        marks[0] = row[0] != 0
    if stop == width:
        marks[width - 1 - left] = row[width - 1] != 0
    for x in range(marks.size):
        count += marks[x]
    return count


@kernel("void(int64, int64, Array(uint8, 3, 'C', readonly=True), int64[::1], boolean, uint8[:,:,::1], int64[::1])")
def _mark(lane, lanes, mask, box, planar, marks, counts):  # type: ignore[no-untyped-def]
    height = marks.shape[1]
    for r in range(counts.size * lane // lanes, counts.size * (lane + 1) // lanes):
        z, y = r // height, r % height
        counts[r] = _mark_row(mask, box[0] + z, box[1] + y, box[2], planar, marks[z, y])


@_compiled
def _near_in_row(marks, near):  # type: ignore[no-untyped-def]
    """How far along the row the nearest mark is: from the left, then from the right."""
    steps = _MOST
    for x in range(marks.size):
        steps = 0 if marks[x] != 0 else min(steps + 1, _MOST)
        near[x] = steps
    steps = _MOST
    for x in range(marks.size - 1, -1, -1):
        steps = 0 if marks[x] != 0 else min(steps + 1, _MOST)
        near[x] = min(int(near[x]), steps)


@_compiled
def _lower_envelope(near_x, rows, count, x, size_y, size_x, at, height):  # type: ignore[no-untyped-def]
    """Of the parabolas over a column, one for each of the rows, leave those that are lowest somewhere; how many.

    Parabola ``i`` has its lowest point, ``height[i]``, at row ``at[i]``. Source: C. Maurer et al., "A linear time
    algorithm for computing exact Euclidean distance transforms of binary images in arbitrary dimensions" (2003).
    """
    found = 0
    for k in range(count):
        y, low = rows[k], (size_x * near_x[rows[k], x]) ** 2
        while found > 1:
            a, b = size_y * (at[found - 1] - at[found - 2]), size_y * (y - at[found - 1])
            if (a + b) * height[found - 1] - b * height[found - 2] - a * low <= a * b * (a + b):
                break
            found -= 1
        at[found], height[found] = y, low
        found += 1
    return found


@kernel("void(int64, int64, uint8[:,:,::1], int64[::1], float64, float64, uint16[:,:,::1], uint16[:,:,::1])")
def _approach(lane, lanes, marks, counts, size_y, size_x, near_x, near_y):  # type: ignore[no-untyped-def]
    """For each voxel of a slice the row of its nearest mark there, and for each row the columns to its nearest one."""
    depth, rows_of_slice, width = marks.shape
    rows, at = np.empty(rows_of_slice, np.int64), np.empty(rows_of_slice, np.int64)
    height = np.empty(rows_of_slice, np.float64)
    for z in range(depth * lane // lanes, depth * (lane + 1) // lanes):
        count = 0
        for y in range(rows_of_slice):
            if counts[z * rows_of_slice + y] > 0:
                _near_in_row(marks[z, y], near_x[z, y])
                rows[count] = y
                count += 1
        if count == 0:
            near_y[z] = _NONE
            continue
        for x in range(width):
            found = _lower_envelope(near_x[z], rows, count, x, size_y, size_x, at, height)
            i = 0
            for y in range(rows_of_slice):
                while i + 1 < found and (
                    height[i + 1] + (size_y * (at[i + 1] - y)) ** 2 < height[i] + (size_y * (at[i] - y)) ** 2
                ):
                    i += 1
                near_y[z, y, x] = at[i]


@_compiled
def _distance(near_x, near_y, z, y, x, size_z, size_y, size_x):  # type: ignore[no-untyped-def]
    """From a voxel to the nearest mark, slice by slice outwards until none can be nearer."""
    depth, best, step = near_y.shape[0], np.inf, 0
    while step < depth and (size_z * step) ** 2 < best:
        for k in (z - step, z + step):
            if 0 <= k < depth and near_y[k, y, x] != _NONE:
                row = np.int64(near_y[k, y, x])
                across = (size_x * near_x[k, row, x]) ** 2 + (size_y * (row - y)) ** 2
                best = min(best, across + (size_z * step) ** 2)
        step += 1
    return math.sqrt(best)


@kernel(
    "void(int64, int64, uint8[:,:,::1], int64[::1], uint16[:,:,::1], uint16[:,:,::1], float64, float64, float64,"
    " float64[::1])"
)
def _measure(lane, lanes, marks, first, near_x, near_y, size_z, size_y, size_x, out):  # type: ignore[no-untyped-def]
    height = marks.shape[1]
    for r in range(first.size * lane // lanes, first.size * (lane + 1) // lanes):
        z, y, k = r // height, r % height, first[r]
        for x in range(marks.shape[2]):
            if marks[z, y, x] != 0:
                out[k] = _distance(near_x, near_y, z, y, x, size_z, size_y, size_x)
                k += 1


@cuda_kernel("void(Array(uint8, 3, 'C', readonly=True), boolean, uint8[:,:,::1])")
def _mark_twin(mask, planar, marks):  # type: ignore[no-untyped-def]
    _, height, width = mask.shape
    for i in range(cuda.grid(1), mask.size, cuda.gridsize(1)):
        z, y, x = i // width // height, i // width % height, i % width
        marks[z, y, x] = _on_boundary(mask, z, y, x, planar)


@cuda_kernel("void(uint8[:,:,::1], uint16[:,:,::1])")
def _near_x_twin(marks, near_x):  # type: ignore[no-untyped-def]
    height = marks.shape[1]
    for r in range(cuda.grid(1), marks.shape[0] * height, cuda.gridsize(1)):
        _near_in_row(marks[r // height, r % height], near_x[r // height, r % height])


@cuda_kernel("void(uint16[:,:,::1], float64, float64, uint16[:,:,::1])")
def _near_y_twin(near_x, size_y, size_x, near_y):  # type: ignore[no-untyped-def]
    """The nearest row, searched for outwards: no thread has room for a parabola of each row."""
    _, height, width = near_x.shape
    for i in range(cuda.grid(1), near_x.size, cuda.gridsize(1)):
        z, y, x = i // width // height, i // width % height, i % width
        best, nearest, step = np.inf, _NONE, 0
        while step < height and (size_y * step) ** 2 < best:
            for row in (y - step, y + step):
                if 0 <= row < height and near_x[z, row, x] != _NONE:
                    squared = (size_x * near_x[z, row, x]) ** 2 + (size_y * step) ** 2
                    if squared < best:
                        best, nearest = squared, np.uint16(row)
            step += 1
        near_y[z, y, x] = nearest


@cuda_kernel("void(int64[::1], uint16[:,:,::1], uint16[:,:,::1], float64, float64, float64, float64[::1])")
def _measure_twin(places, near_x, near_y, size_z, size_y, size_x, out):  # type: ignore[no-untyped-def]
    _, height, width = near_x.shape
    for k in range(cuda.grid(1), places.size, cuda.gridsize(1)):
        z, y, x = places[k] // width // height, places[k] // width % height, places[k] % width
        out[k] = _distance(near_x, near_y, z, y, x, size_z, size_y, size_x)


# Voxels of the box around both masks from which on threads pay: one gets through about as many in 2 ms.
_PARALLEL_VOXELS = 100_000


def _on_host(masks: list[Any], sizes: tuple[float, ...], planar: bool) -> BoundaryDistances:
    box = np.array([65535] * 3 + [0] * 3)
    for mask in masks:
        _widen(mask, box)
    shape = tuple(np.maximum(box[3:] - box[:3], 0))
    lanes = lanes_for(int(np.prod(shape)), _PARALLEL_VOXELS)
    surfaces = []
    for mask in masks:
        marks, counts = np.empty(shape, np.uint8), np.empty(shape[0] * shape[1], np.int64)
        in_lanes(_mark, lanes, lanes, mask, box, planar, marks, counts)
        surfaces.append((marks, counts))
    near_x, near_y = np.empty(shape, np.uint16), np.empty(shape, np.uint16)
    found = []
    for (marks, counts), (others, other_counts) in (surfaces, surfaces[::-1]):
        in_lanes(_approach, lanes, lanes, others, other_counts, *sizes[1:], near_x, near_y)
        ends = np.cumsum(counts)
        distances = np.empty(counts.sum(), np.float64)
        in_lanes(_measure, lanes, lanes, marks, ends - counts, near_x, near_y, *sizes, distances)
        found.append(distances)
    return BoundaryDistances(*found)


def _on_device(memory: DeviceMemory, masks: list[Any], sizes: tuple[float, ...], planar: bool) -> BoundaryDistances:
    shape = tuple(masks[0].shape)
    near_x, near_y = memory.empty(shape, np.uint16), memory.empty(shape, np.uint16)
    surfaces, found = [memory.empty(shape, np.uint8) for _ in masks], []
    for mask, marks in zip(masks, surfaces, strict=True):
        memory.launch(_mark_twin, mask.size, mask, planar, marks)
    for marks, others in (surfaces, surfaces[::-1]):
        memory.launch(_near_x_twin, shape[0] * shape[1], others, near_x)
        memory.launch(_near_y_twin, near_x.size, near_x, *sizes[1:], near_y)
        places = marked_indices(memory, marks.reshape(marks.size))
        distances = memory.empty(places.size, np.float64)
        memory.launch(_measure_twin, places.size, places, near_x, near_y, *sizes, distances)
        found.append(distances)
    return BoundaryDistances(*found)


def boundary_distance(a: Any, b: Any, spacing: Sequence[float]) -> BoundaryDistances:
    """Measure how far the boundaries of two masks lie apart, exactly, in millimetres.

    Args:
        a: uint8 or bool [H, W] or [D, H, W], each side below 65535; what is not zero is foreground.
        b: the other mask, of the same shape.
        spacing: (y, x) or (z, y, x) in mm: how far the centres of neighbouring voxels lie apart.

    Returns:
        A `BoundaryDistances`: ``a_to_b`` float64 [N], from the centre of each boundary voxel of ``a`` to that of the
        nearest of ``b``; ``b_to_a`` float64 [M]; inf where the other mask is empty. The boundary is the foreground
        that shares a face (in a picture, an edge) with background or with the border of the array, as with SciPy's
        ``mask & ~binary_erosion(mask)``.

    Surface Dice at a tolerance of t mm is ``((a_to_b <= t).sum() + (b_to_a <= t).sum()) / (N + M)``, HD95 the larger
    of the two ``numpy.percentile(..., 95)``. Cost: a few steps for each voxel of the box around both masks, and for
    each boundary voxel one for every slice within its distance. Takes device arrays too (the whole array there, and
    one step for every row within its distance).
    """
    memory = memory_of(a=a, b=b)
    shape = np.shape(a)
    if len(shape) not in (2, 3) or max(shape) >= _MOST:
        raise ValueError(f"a: expected shape [H, W] or [D, H, W], each side below {_MOST}, got {describe(a)}")
    planar = len(shape) == 2
    sizes = spacing_of(spacing, "spacing", "yx" if planar else "zyx")
    masks = [memory.mask(a, "a", ("D", "H", "W")[-len(shape) :]), memory.mask(b, "b", shape)]
    volumes = [mask.reshape((1, *shape)) if planar else mask for mask in masks]
    if planar:
        sizes = (1.0, *sizes)
    if memory.on_device:
        return _on_device(memory, volumes, sizes, planar)
    return _on_host(volumes, sizes, planar)
