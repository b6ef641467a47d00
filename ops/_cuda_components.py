"""Connected components on the device: union-find over voxels, each tree's root its first voxel in raster order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import marked_indices
from ops._device import DeviceMemory

# Voxels of a row that one thread looks at, adding up what it meets before it adds to what all have.
_STRIP = 32


@njit(nogil=True, cache=True)
def _root(parent, i):  # type: ignore[no-untyped-def]
    while parent[i] != i:
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _unite(parent, i, j):  # type: ignore[no-untyped-def]
    """Hang the later root under the earlier one; where another thread was faster, go on with what it hung there."""
    i, j = _root(parent, i), _root(parent, j)
    while i != j:
        later, earlier = max(i, j), min(i, j)
        i, j = cuda.atomic.min(parent, later, np.int32(earlier)), np.int32(earlier)
        if i == later:
            return
        i, j = _root(parent, i), _root(parent, j)


@cuda_kernel("void(Array(uint8, 1, 'C', readonly=True), boolean, int32[::1])")
def _plant_twin(flat, foreground, parent):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), flat.size, cuda.gridsize(1)):
        parent[i] = i if (flat[i] != 0) == foreground else -1


@cuda_kernel("void(int64, int64, int64, int32[::1])")
def _join_twin(height, width, reach, parent):  # type: ignore[no-untyped-def]
    """Unite each voxel with the one on its left and those before it in the rows that border on its own."""
    for i in range(cuda.grid(1), parent.size, cuda.gridsize(1)):
        if parent[i] < 0:
            continue
        x, y, z = i % width, i // width % height, i // width // height
        if x > 0 and parent[i - 1] >= 0:
            _unite(parent, i, i - 1)
        for step in range(4):
            dy, dz = (-1, 0) if step == 0 else (step - 2, -1)
            if not 0 <= y + dy < height or z + dz < 0 or (step % 2 == 1 and reach == 0):
                continue
            j = i + (dz * height + dy) * width
            if parent[j] >= 0:  # its own neighbours in that row hang together with it
                _unite(parent, i, j)
            elif reach != 0:
                if x > 0 and parent[j - 1] >= 0:
                    _unite(parent, i, j - 1)
                if x < width - 1 and parent[j + 1] >= 0:
                    _unite(parent, i, j + 1)


@cuda_kernel("void(int32[::1], uint8[::1])")
def _flatten_twin(parent, is_root):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), parent.size, cuda.gridsize(1)):
        is_root[i] = parent[i] == i
        if parent[i] >= 0:
            parent[i] = _root(parent, parent[i])


@cuda_kernel("void(int64[::1], int32[::1], int64[:,::1], int32[:,::1])")
def _number_twin(roots, parent, sums, boxes):  # type: ignore[no-untyped-def]
    """Give each root its label, as a number below -1, and each component an empty row of sums, if there are rows."""
    for k in range(cuda.grid(1), roots.size, cuda.gridsize(1)):
        parent[roots[k]] = -2 - k
        if k < sums.shape[0]:
            for column in range(4):
                sums[k, column] = 0
            for column in range(3):
                boxes[k, column] = np.int32(2**31 - 1)
                boxes[k, column + 3] = 0


@njit(nogil=True, cache=True)
def _add_run(sums, boxes, k, x, stop, y, z):  # type: ignore[no-untyped-def]
    count = np.int64(stop - x)
    cuda.atomic.add(sums, (k, 0), count)
    cuda.atomic.add(sums, (k, 1), count * (x + stop - 1) // 2)
    cuda.atomic.add(sums, (k, 2), count * y)
    cuda.atomic.add(sums, (k, 3), count * z)
    for column, low, high in ((0, x, stop), (1, y, y + 1), (2, z, z + 1)):
        cuda.atomic.min(boxes, (k, column), np.int32(low))
        cuda.atomic.max(boxes, (k, column + 3), np.int32(high))


@cuda_kernel("void(int64, int64, int32[::1], int64[:,::1], int32[:,::1], int32[::1])")
def _label_twin(height, width, parent, sums, boxes, labels):  # type: ignore[no-untyped-def]
    strips = (width + _STRIP - 1) // _STRIP
    for strip in range(cuda.grid(1), labels.size // width * strips, cuda.gridsize(1)):
        r, begin = strip // strips, strip % strips * _STRIP
        y, z = r % height, r // height
        run, label = begin, 0
        for x in range(begin, min(begin + _STRIP, width)):
            p = parent[r * width + x]
            if p >= 0:
                p = parent[p]
            present = -1 - p
            labels[r * width + x] = present
            if present != label:
                if 0 < label <= sums.shape[0]:
                    _add_run(sums, boxes, label - 1, run, x, y, z)
                run, label = x, present
        if 0 < label <= sums.shape[0]:
            _add_run(sums, boxes, label - 1, run, min(begin + _STRIP, width), y, z)


@cuda_kernel("void(int32[::1], Array(uint8, 1, 'C', readonly=True), uint8, uint8[::1])")
def _mask_twin(labels, chosen, rest, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = chosen[labels[i] - 1] if labels[i] > 0 else rest


class DeviceComponents:
    """The components of a mask in device memory; see `HostComponents`."""

    def __init__(
        self, memory: DeviceMemory, mask: Any, reach: int, foreground: bool, labels: Any, *, measured: bool
    ) -> None:
        self._memory = memory
        height, width = mask.shape[-2:]
        flat = mask.reshape(mask.size)
        parent, is_root = memory.empty(flat.size, np.int32), memory.empty(flat.size, np.uint8)
        memory.launch(_plant_twin, flat.size, flat, foreground, parent)
        memory.launch(_join_twin, flat.size, height, width, reach, parent)
        memory.launch(_flatten_twin, flat.size, parent, is_root)
        roots = marked_indices(memory, is_root)
        self.count, rows = roots.size, roots.size if measured else 0
        self.sums, self.boxes = memory.empty((rows, 4), np.int64), memory.empty((rows, 6), np.int32)
        memory.launch(_number_twin, roots.size, roots, parent, self.sums, self.boxes)
        self._labels = labels.reshape(flat.size)
        strips = flat.size // max(width, 1) * -(-width // _STRIP)
        memory.launch(_label_twin, strips, height, width, parent, self.sums, self.boxes, self._labels)

    def mask(self, chosen: Any, rest: int, out: Any) -> None:
        """Write 1 or 0 where the components are, as ``chosen`` uint8 [N] says, and ``rest`` elsewhere."""
        self._memory.launch(_mask_twin, out.size, self._labels, chosen, rest, out.reshape(out.size))
