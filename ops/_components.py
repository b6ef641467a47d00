"""Connected components by runs: which stretches of a row touch which, numbered in raster order; for the CPU.

Rows are brought to runs, and only runs are joined (union-find, the earlier one being the root), counted and painted:
a voxel is read once and written once. Slabs of rows are scanned at once and joined where they meet, so the answer does
not depend on their number.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._kernel import Kernel, kernel, lone_caller

_compiled = njit(nogil=True, cache=True)


@_compiled
def _edges_of_row(row, foreground, changed, edges, count):  # type: ignore[no-untyped-def]
    """Append where runs begin and end. ``changed`` has zeros behind its first ``row.size + 1`` bytes."""
    width = row.size
    changed[0] = (row[0] != 0) == foreground
    for x in range(1, width):
        changed[x] = (row[x] != 0) != (row[x - 1] != 0)
    changed[width] = (row[width - 1] != 0) == foreground
    words = changed.view(np.uint64)  # 8 at a time: most say that nothing changed
    for word in range(words.size):
        if words[word] != 0:
            for x in range(8 * word, 8 * word + 8):
                edges[count] = x  # without a branch: in noise nobody could guess it
                count += changed[x]
    return count


@_compiled
def _root(tree, i):  # type: ignore[no-untyped-def]
    while tree[i] != i:
        tree[i] = tree[tree[i]]
        i = tree[i]
    return i


@_compiled
def _join_rows(edges, names, tree, a, a_end, b, b_end, reach):  # type: ignore[no-untyped-def]
    """Unite runs from ``a`` on, of one row, with those from ``b`` on, of another, that touch them; count the unions.

    Run ``i`` lies from ``edges[2 * i]`` to before ``edges[2 * i + 1]`` and belongs to the tree of ``names[i]``.
    """
    unions = 0
    for run in range(a, a_end):
        start, stop = edges[2 * run], edges[2 * run + 1] + reach
        while b < b_end and edges[2 * b + 1] + reach <= start:
            b += 1
        if b < b_end and edges[2 * b] < stop:
            i = _root(tree, names[run])
            while True:
                j = _root(tree, names[b])
                if i != j:
                    tree[max(i, j)] = min(i, j)
                    i = min(i, j)
                    unions += 1
                if b + 1 == b_end or edges[2 * b + 2] >= stop:
                    break  # the next run of the row may touch this one too
                b += 1
    return unions


@_compiled
def _rows_above(r, height, reach):  # type: ignore[no-untyped-def]
    """The rows before row ``r`` that border on it, below 0 where there is none."""
    y, above = r % height, r - height
    around = above if reach else -2
    return r - 1 if y > 0 else -1, above, around - 1 if y > 0 else -1, around + 1 if y < height - 1 else -1


@_compiled
def _slab_of(rows, slabs, slab):  # type: ignore[no-untyped-def]
    return rows * slab // slabs, rows * (slab + 1) // slabs


@_compiled
def _scan_slab(flat, height, width, foreground, reach, slabs, slab, first, last, edges, names):  # type: ignore[no-untyped-def]
    """Find the runs of a slab's rows and unite them among themselves; return the number of trees."""
    changed = np.zeros((width + 8) // 8 * 8, np.uint8)
    begin, end = _slab_of(first.size, slabs, slab)
    run, trees = begin * (names.size // first.size), 0
    for r in range(begin, end):
        row = flat[r * width : (r + 1) * width]
        stop = _edges_of_row(row, foreground, changed, edges, 2 * run) // 2
        first[r], last[r] = run, stop
        for i in range(run, stop):
            names[i] = i
        trees += stop - run
        for q in _rows_above(r, height, reach):
            if q >= begin:
                trees -= _join_rows(edges, names, names, run, stop, first[q], last[q], reach)
        run = stop
    return trees


_SCAN = (
    "void(Array(uint8, 1, 'C', readonly=True), int64, int64, boolean, int64,"
    " int64[::1], int64[::1], uint32[::1], uint32[::1], int64[::1])"
)


@kernel(_SCAN)
def _scan_serial(flat, height, width, foreground, reach, first, last, edges, names, trees):  # type: ignore[no-untyped-def]
    trees[0] = _scan_slab(flat, height, width, foreground, reach, 1, 0, first, last, edges, names)


@kernel(_SCAN, parallel=True)
def _scan_parallel(flat, height, width, foreground, reach, first, last, edges, names, trees):  # type: ignore[no-untyped-def]
    for s in prange(trees.size):
        trees[s] = _scan_slab(
            flat, height, width, foreground, reach, trees.size, np.int64(s), first, last, edges, names
        )


@_compiled
def _add_run(total, box, x, stop, y, z):  # type: ignore[no-untyped-def]
    count = stop - x
    total[0] += count
    total[1] += count * (x + stop - 1) // 2
    total[2] += count * y
    total[3] += count * z
    box[0], box[1] = min(box[0], x), min(box[1], y)
    box[3], box[4], box[5] = max(box[3], stop), max(box[4], y + 1), z + 1


@_compiled
def _count_slab(height, slabs, slab, first, last, edges, names, part, sums, boxes):  # type: ignore[no-untyped-def]
    """Number the slab's trees from ``part`` on, name each run by its number, and add up what each consists of."""
    begin, end = _slab_of(first.size, slabs, slab)
    for r in range(begin, end):
        z, y = r // height, r % height
        for i in range(first[r], last[r]):
            x, stop = np.int64(edges[2 * i]), np.int64(edges[2 * i + 1])
            if names[i] == i:
                names[i] = part
                box = boxes[part]
                box[0], box[1], box[2] = x, y, z
                part += 1
            else:
                names[i] = names[names[i]]
            _add_run(sums[names[i]], boxes[names[i]], x, stop, y, z)


_COUNT = "void(int64, int64[::1], int64[::1], uint32[::1], uint32[::1], int64[::1], int64[:,::1], int32[:,::1])"


@kernel(_COUNT)
def _count_serial(height, first, last, edges, names, parts, sums, boxes):  # type: ignore[no-untyped-def]
    _count_slab(height, 1, 0, first, last, edges, names, 0, sums, boxes)


@kernel(_COUNT, parallel=True)
def _count_parallel(height, first, last, edges, names, parts, sums, boxes):  # type: ignore[no-untyped-def]
    for s in prange(parts.size):
        _count_slab(height, parts.size, np.int64(s), first, last, edges, names, parts[s], sums, boxes)


@_compiled
def _merge(total, box, other_total, other_box):  # type: ignore[no-untyped-def]
    for i in range(4):
        total[i] += other_total[i]
    for i in range(3):
        box[i], box[i + 3] = min(box[i], other_box[i]), max(box[i + 3], other_box[i + 3])


@kernel(
    "int64(int64, int64, int64, int64[::1], int64[::1], uint32[::1], uint32[::1], uint32[::1], int64[:,::1],"
    " int32[:,::1], int32[::1])"
)
def _join_slabs(height, reach, slabs, first, last, edges, names, tree, sums, boxes, label):  # type: ignore[no-untyped-def]
    """Unite the parts that slabs cut apart and number what is left: each part's label, and how many there are.

    The sums and boxes of the components are brought to the front.
    """
    for slab in range(1, slabs):
        begin, end = _slab_of(first.size, slabs, slab)
        for r in range(begin, min(end, begin + height + 1)):
            for q in _rows_above(r, height, reach):
                if 0 <= q < begin:
                    _join_rows(edges, names, tree, first[r], last[r], first[q], last[q], reach)
    count = 0
    for i in range(tree.size):
        if tree[i] == i:
            for k in range(4):
                sums[count, k] = sums[i, k]
            for k in range(6):
                boxes[count, k] = boxes[i, k]
            count += 1
            label[i] = count
        else:
            label[i] = label[tree[i]]
            _merge(sums[label[i] - 1], boxes[label[i] - 1], sums[i], boxes[i])
    return count


@_compiled
def _paint_slab(slabs, slab, width, first, last, edges, names, values, rest, out):  # type: ignore[no-untyped-def]
    begin, end = _slab_of(first.size, slabs, slab)
    for r in range(begin, end):
        row = out[r * width : (r + 1) * width]
        row[:] = rest
        for i in range(first[r], last[r]):
            value = values[names[i]]
            for x in range(edges[2 * i], edges[2 * i + 1]):
                row[x] = value


_PAINT = "void(int64, int64, int64[::1], int64[::1], uint32[::1], uint32[::1], {0}[::1], {0}, {0}[::1])"


@kernel(_PAINT.format("int32"))
def _paint_labels_serial(slabs, width, first, last, edges, names, values, rest, out):  # type: ignore[no-untyped-def]
    _paint_slab(1, 0, width, first, last, edges, names, values, rest, out)


@kernel(_PAINT.format("int32"), parallel=True)
def _paint_labels_parallel(slabs, width, first, last, edges, names, values, rest, out):  # type: ignore[no-untyped-def]
    for s in prange(slabs):
        _paint_slab(slabs, np.int64(s), width, first, last, edges, names, values, rest, out)


@kernel(_PAINT.format("uint8"))
def _paint_mask_serial(slabs, width, first, last, edges, names, values, rest, out):  # type: ignore[no-untyped-def]
    _paint_slab(1, 0, width, first, last, edges, names, values, rest, out)


@kernel(_PAINT.format("uint8"), parallel=True)
def _paint_mask_parallel(slabs, width, first, last, edges, names, values, rest, out):  # type: ignore[no-untyped-def]
    for s in prange(slabs):
        _paint_slab(slabs, np.int64(s), width, first, last, edges, names, values, rest, out)


# Voxels from which on a team of threads pays: one reads and writes about as many in a millisecond.
_PARALLEL_VOXELS = 1_000_000


class HostComponents:
    """The components of a mask in host memory, found and counted, not yet painted.

    ``sums`` int64 [N, 4]: voxels, and what their x, y and z add up to; ``boxes`` int32 [N, 6]: xyzxyz, ends exclusive.
    """

    def __init__(self, mask: NDArray[np.uint8], reach: int, foreground: bool) -> None:
        self._shape = mask.shape
        height, width = mask.shape[-2:]
        rows = mask.size // max(width, 1)
        self._team = mask.size > _PARALLEL_VOXELS and lone_caller()
        # Memory for all the runs that there may be, and one more a row, as a place behind the last edge is written to,
        # too: what nobody writes to costs nothing.
        room = rows * ((width + 3) // 2)
        first, last = np.empty(rows, np.int64), np.empty(rows, np.int64)
        edges, names = np.empty(2 * room, np.uint32), np.empty(room, np.uint32)
        self._runs = first, last, edges, names
        trees = np.zeros(numba.get_num_threads() if self._team else 1, np.int64)
        scan, count = (_scan_parallel, _count_parallel) if self._team else (_scan_serial, _count_serial)
        if mask.size:
            scan(mask.reshape(mask.size), height, width, foreground, reach, *self._runs, trees)
        ends = np.cumsum(trees)
        sums, boxes = np.zeros((ends[-1], 4), np.int64), np.zeros((ends[-1], 6), np.int32)
        count(height, *self._runs, ends - trees, sums, boxes)
        self._label = np.empty(ends[-1], np.int32)
        tree = np.arange(ends[-1], dtype=np.uint32)
        found = _join_slabs(height, reach, trees.size, *self._runs, tree, sums, boxes, self._label)
        self.sums, self.boxes = sums[:found], boxes[:found]

    def labels(self, out: NDArray[np.int32]) -> None:
        """Write 1 to N where the components are, 0 elsewhere."""
        paint = _paint_labels_parallel if self._team else _paint_labels_serial
        self._paint(paint, self._label, 0, out)

    def mask(self, chosen: NDArray[np.bool_], rest: int, out: NDArray[np.uint8]) -> None:
        """Write 1 or 0 where the components are, as ``chosen`` [N] says, and ``rest`` elsewhere."""
        paint = _paint_mask_parallel if self._team else _paint_mask_serial
        self._paint(paint, chosen.astype(np.uint8)[self._label - 1], rest, out)

    def _paint(self, paint: Kernel, values: NDArray[Any], rest: int, out: NDArray[Any]) -> None:
        if out.size:
            paint(numba.get_num_threads(), self._shape[-1], *self._runs, values, rest, out.reshape(out.size))
