"""Connected components by the runs of voxels: united, named, measured and painted, in raster order; for the CPU.

Runs (see `ops._runs`) are united by union-find, the earlier one being the root: a voxel is read once and written once,
and what is worked with in between is an eighth of the mask. Slabs are scanned at once and joined where they meet, so
the answer does not depend on their number. Nobody pays for measures that were not asked for: of millions of components
these are more memory than the labels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops._bits import lowest, ones
from ops._kernel import Kernel, kernel
from ops._lanes import in_lanes, lanes_for
from ops._runs import RUNS, SHAPE, find_runs, first_run, inlined, join_runs, room_for, shape_of, slab_of

_0, _1, _FULL = np.uint64(0), np.uint64(1), np.uint64(2**64 - 1)
# Of a word of voxels, those whose index has bit k.
_PLACES = np.array([sum(1 << i for i in range(64) if i >> k & 1) for k in range(6)], np.uint64)


class _Parts(NamedTuple):
    """Of what a slab's runs make up, later of the components: ``sizes`` int64 in voxels; ``sums`` int64 [:, axes], what
    their x, y (and z) add up to; ``boxes`` int32 [:, 2 axes]; ``firsts`` int32, the index of the first voxel."""

    sizes: NDArray[np.int64]
    sums: NDArray[np.int64]
    boxes: NDArray[np.int32]
    firsts: NDArray[np.int32]


def _room_for(parts: int, axes: int) -> _Parts:
    return _Parts(
        np.empty(parts, np.int64),
        np.empty((parts, axes), np.int64),
        np.empty((parts, 2 * axes), np.int32),
        np.empty(parts, np.int32),
    )


_PARTS = "Tuple((int64[::1], int64[:,::1], int32[:,::1], int32[::1]))"


# No views of single rows below: each would count its references, on which threads wait for one another.


@inlined
def _extend(boxes, i, axis, least, most):  # type: ignore[no-untyped-def]
    end = boxes.shape[1] // 2 + axis
    boxes[i, axis], boxes[i, end] = min(boxes[i, axis], least), max(boxes[i, end], most)


@inlined
def _add_voxels(parts, i, voxels, x, y, z):  # type: ignore[no-untyped-def]
    """Add where the voxels of a word lie, which begins at ``x, y, z``, to part ``i``."""
    _, sums, boxes, _ = parts
    count, least = ones(voxels), lowest(voxels)
    along = count * least + count * (count - 1) // 2
    if voxels >> np.uint64(least) & (voxels >> np.uint64(least)) + _1:  # they do not follow each other
        along = 0
        for k in range(6):
            along += ones(voxels & _PLACES[k]) << k
    sums[i, 0] += count * x + along
    sums[i, 1] += count * y
    _extend(boxes, i, 1, y, y + 1)
    if sums.shape[1] == 3:
        sums[i, 2] += count * z
        _extend(boxes, i, 2, z, z + 1)


@inlined
def _clear(parts, i):  # type: ignore[no-untyped-def]
    sizes, sums, boxes, firsts = parts
    axes = sums.shape[1]  # none where sizes are enough
    sizes[i], firsts[i] = 0, 2**31 - 1
    for axis in range(axes):
        sums[i, axis], boxes[i, axis], boxes[i, axes + axis] = 0, 2**31 - 1, 0


@kernel(f"void(int64, int64, {RUNS}, int64[::1], int64[::1])")
def _name_runs(slab, slabs, runs, counts, first_part):  # type: ignore[no-untyped-def]
    """Name a slab's runs by their trees, which are numbered by their first runs; what runs hang on is named already."""
    names = runs[3]
    next_part, first = first_part[slab], first_run(slab, slabs, runs)
    for run in range(first, first + counts[slab]):
        if names[run] == run:
            names[run] = next_part
            next_part += 1
        else:
            names[run] = names[names[run]]


@kernel(f"void(int64, int64, {SHAPE}, {RUNS}, int64[::1], {_PARTS})")
def _measure(slab, slabs, shape, runs, first_part, parts):  # type: ignore[no-untyped-def]
    """Add up what a slab's trees consist of: size and first voxel alone where parts have no axes."""
    bits, starts, before, names = runs
    _, height, width, side, across = shape
    next_part = first_part[slab]
    begin, end = slab_of(bits.shape[0], slabs, slab)
    for r in range(begin, end):
        for j in range(starts.shape[1]):
            run, left = np.int64(before[r, j]), _0
            for n in range(bits.shape[1]):
                left |= bits[r, n, j]
            while left != _0:
                low = left & (~left + _1)
                piece = left & ~(left + low)  # the lowest run
                left ^= piece
                run += np.int64(starts[r, j] & low != _0)
                i, x = np.int64(names[run]), 64 * j
                if i == next_part:  # its first run
                    _clear(parts, i)
                    next_part += 1
                if parts[1].shape[1]:
                    _extend(parts[2], i, 0, x + lowest(piece), x + lowest(piece) + ones(piece))
                for n in range(bits.shape[1]):
                    voxels = bits[r, n, j] & piece
                    y, z = r % across * side + n % 2, r // across * side + n // 2
                    if voxels != _0:
                        parts[0][i] += ones(voxels)
                        parts[3][i] = min(parts[3][i], (z * height + y) * width + x + lowest(voxels))
                        if parts[1].shape[1]:
                            _add_voxels(parts, i, voxels, x, y, z)


@inlined
def _copy_part(parts, k, i):  # type: ignore[no-untyped-def]
    sizes, sums, boxes, firsts = parts
    sizes[k], firsts[k] = sizes[i], firsts[i]
    for axis in range(sums.shape[1]):
        sums[k, axis] = sums[i, axis]
    for side in range(boxes.shape[1]):
        boxes[k, side] = boxes[i, side]


@inlined
def _add_part(parts, k, i):  # type: ignore[no-untyped-def]
    sizes, sums, boxes, firsts = parts
    axes = sums.shape[1]
    sizes[k] += sizes[i]
    firsts[k] = min(firsts[k], firsts[i])
    for axis in range(axes):
        sums[k, axis] += sums[i, axis]
        _extend(boxes, k, axis, boxes[i, axis], boxes[i, axes + axis])


@kernel("int64(uint32[::1], int32[::1])")
def _number(tree, label):  # type: ignore[no-untyped-def]
    """Number the trees that parts make up: each part's label, and how many there are."""
    count = 0
    for i in range(tree.size):
        if tree[i] == i:
            count += 1
            label[i] = count
        else:
            label[i] = label[tree[i]]
    return count


@kernel(f"void(int32[::1], {_PARTS})")
def _gather(label, parts):  # type: ignore[no-untyped-def]
    """Bring what is known of the components, by label, to the front."""
    count = 0
    for i in range(label.size):
        if label[i] > count:
            if count < i:
                _copy_part(parts, count, i)
            count += 1
        else:
            _add_part(parts, label[i] - 1, i)


@kernel("void(uint64[::1], int32[::1], int64[::1])")
def _rank(marked, indices, ranks):  # type: ignore[no-untyped-def]
    """How many of the other indices, all different, are below each; ``marked`` is zeros, a bit for each index."""
    for index in indices:
        marked[index // 64] |= _1 << np.uint64(index % 64)
    before, count = np.empty(marked.size, np.int64), 0
    for j in range(marked.size):
        before[j] = count
        count += ones(marked[j])
    for k in range(indices.size):
        word = indices[k] // 64
        ranks[k] = before[word] + ones(marked[word] & ((_1 << np.uint64(indices[k] % 64)) - _1))


@inlined
def _paint_word(word, starts, run, names, values, rest, out, begin, end):  # type: ignore[no-untyped-def]
    """Paint at most 64 voxels: all alike, but for those of several runs, which are painted one by one."""
    value = rest
    if word == _FULL and starts <= _1:
        value, word = values[names[run + ones(starts)]], _0
    for x in range(begin, end):
        out[x] = value
    while word != _0:
        here = word ^ (word - _1)  # the lowest bit and those below it
        out[begin + lowest(word)] = values[names[run + ones(starts & here)]]
        word &= ~here


@inlined
def _paint_slab(slab, slabs, shape, runs, values, rest, out):  # type: ignore[no-untyped-def]
    bits, starts, before, names = runs
    depth, height, width, side, across = shape
    begin, end = slab_of(bits.shape[0], slabs, slab)
    for r in range(begin, end):
        for n in range(bits.shape[1]):
            y, z = r % across * side + n % 2, r // across * side + n // 2
            if y < height and z < depth:
                row = (z * height + y) * width
                for j in range(starts.shape[1]):
                    run = np.int64(before[r, j])
                    least, most = row + 64 * j, row + min(64 * j + 64, width)
                    _paint_word(bits[r, n, j], starts[r, j], run, names, values, rest, out, least, most)


_PAINT = f"void(int64, int64, {SHAPE}, {RUNS}, {{0}}[::1], {{0}}, {{0}}[::1])"


@kernel(_PAINT.format("int32"))
def _paint_labels(slab, slabs, shape, runs, values, rest, out):  # type: ignore[no-untyped-def]
    _paint_slab(slab, slabs, shape, runs, values, rest, out)


@kernel(_PAINT.format("uint8"))
def _paint_mask(slab, slabs, shape, runs, values, rest, out):  # type: ignore[no-untyped-def]
    _paint_slab(slab, slabs, shape, runs, values, rest, out)


@kernel("void(int64, int64, int64[::1], int64[:,::1], float64[:,::1])")
def _divide(slab, slabs, sizes, sums, means):  # type: ignore[no-untyped-def]
    begin, end = slab_of(sizes.size, slabs, slab)
    for i in range(begin, end):
        for axis in range(sums.shape[1]):
            means[i, axis] = sums[i, axis] / sizes[i]


# Voxels from which on a team of threads pays: one reads and writes about as many in a millisecond.
_PARALLEL_VOXELS = 1_000_000


class HostComponents:
    """The components of a mask in host memory, found, not yet painted.

    There are ``count``. By component, where ``measured``: ``sizes`` int64 [N] in voxels, ``boxes`` int32 [N, 2 axes]
    xyxy or xyzxyz, ends exclusive.
    """

    def __init__(self, mask: NDArray[np.uint8], reach: int, foreground: bool, *, measured: bool) -> None:
        self._slabs = lanes_for(mask.size, _PARALLEL_VOXELS)
        self._shape = shape_of(mask, reach)
        self._runs = room_for(self._shape)
        found = np.zeros(self._slabs, np.int64)
        if mask.size:
            self._run(find_runs, mask.reshape(mask.size), foreground, self._shape, self._runs, found)
        trees = found.copy()
        self._run(join_runs, False, self._shape, self._runs, self._runs.names, trees)
        ends = np.cumsum(trees)
        if mask.size:
            self._run(_name_runs, self._runs, found, ends - trees)
        # Without reach the runs come in raster order, and so do the components.
        parts = self._measured(ends - trees, int(ends[-1]), mask.ndim if measured else 0) if measured or reach else None
        tree = np.arange(ends[-1], dtype=np.uint32)
        for slab in range(1, self._slabs):
            join_runs(slab, self._slabs, True, tuple(self._shape), tuple(self._runs), tree, trees)
        self._label = np.empty(tree.size, np.int32)
        self.count: int = _number(tree, self._label)
        if parts is not None:
            _gather(self._label, tuple(parts))
            count = self.count
            self.sizes, self._sums, self.boxes = parts.sizes[:count], parts.sums[:count], parts.boxes[:count]
            if reach:
                self._order(parts.firsts[:count], mask.size)

    def _measured(self, first_part: NDArray[np.int64], count: int, axes: int) -> _Parts:
        parts = _room_for(count, axes)
        self._run(_measure, self._shape, self._runs, first_part, parts)
        return parts

    def _order(self, firsts: NDArray[np.int32], voxels: int) -> None:
        ranks, order = np.empty(firsts.size, np.int64), np.empty(firsts.size, np.int64)
        _rank(np.zeros(voxels // 64 + 1, np.uint64), firsts, ranks)
        order[ranks] = np.arange(firsts.size)
        self.sizes, self._sums, self.boxes = self.sizes[order], self._sums[order], self.boxes[order]
        self._label = (ranks[self._label - 1] + 1).astype(np.int32)

    def centroids(self) -> NDArray[np.float64]:
        """float64 [N, axes], the mean x, y (and z) of the voxels of each; may be asked for once."""
        means = self._sums.view(np.float64)  # in place: there may be millions
        self._run(_divide, self.sizes, self._sums, means)
        return means

    def labels(self, out: NDArray[np.int32]) -> None:
        """Write 1 to N where the components are, 0 elsewhere."""
        self._paint(_paint_labels, self._label, 0, out)

    def mask(self, chosen: NDArray[np.bool_], rest: int, out: NDArray[np.uint8]) -> None:
        """Write 1 or 0 where the components are, as ``chosen`` [N] says, and ``rest`` elsewhere."""
        self._paint(_paint_mask, chosen.astype(np.uint8)[self._label - 1], rest, out)

    def _paint(self, paint: Kernel, values: NDArray[Any], rest: int, out: NDArray[Any]) -> None:
        self._run(paint, self._shape, self._runs, values, rest, out.reshape(out.size))

    def _run(self, kernel: Kernel, *arguments: Any) -> None:
        plain = (tuple(each) if isinstance(each, tuple) else each for each in arguments)  # as the kernels are compiled
        in_lanes(kernel, self._slabs, self._slabs, *plain)
