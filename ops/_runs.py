"""The runs of voxels of a mask, by words of 64 voxels, and which of them touch; for the CPU.

Rows become bits, and what is joined are bundles of them: a row alone where voxels touch by faces only, two by two rows
side by side where they touch by corners too, as voxels there touch whenever one is next to the other along the bundle.
A run is a stretch of a bundle without a gap. Which run a voxel belongs to is counted from the bits at which runs start.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._bits import ones, packed
from ops._kernel import kernel

# In numba's own code already: compiled one by one, these would take half as long again.
inlined = njit(nogil=True, inline="always")

_0, _1, _63 = np.uint64(0), np.uint64(1), np.uint64(63)


class Shape(NamedTuple):
    """Of a mask: its size, the rows to a side of a bundle (1, or 2 with corners), and how many bundles a slice has."""

    depth: int
    height: int
    width: int
    side: int
    across: int


class Runs(NamedTuple):
    """By bundle and word: ``bits`` uint64 [bundles, rows of a bundle, words], the rows numbered along y, then z;
    ``starts`` uint64, where runs begin; ``before`` uint32, the last run that begins before. By run: ``names`` uint32,
    the run that it hangs on, later the part of its slab that it belongs to."""

    bits: NDArray[np.uint64]
    starts: NDArray[np.uint64]
    before: NDArray[np.uint32]
    names: NDArray[np.uint32]


def shape_of(mask: NDArray[np.uint8], reach: int) -> Shape:
    depth, height, width = (1, *mask.shape)[-3:]
    return Shape(depth, height, width, 1 + reach, -(-height // (1 + reach)))


def room_for(shape: Shape) -> Runs:
    """Memory for all the runs that there may be, and one a bundle that is none: what nobody writes to costs nothing."""
    bundles, words = shape.across * -(-shape.depth // shape.side) if shape.width else 0, -(-shape.width // 64)
    return Runs(
        np.empty((bundles, shape.side**2, words), np.uint64),
        np.empty((bundles, words), np.uint64),
        np.empty((bundles, words), np.uint32),
        np.empty(bundles * ((shape.width + 1) // 2 + 1), np.uint32),
    )


SHAPE = "UniTuple(int64, 5)"
RUNS = "Tuple((uint64[:,:,::1], uint64[:,::1], uint32[:,::1], uint32[::1]))"


@inlined
def slab_of(bundles, slabs, slab):  # type: ignore[no-untyped-def]
    return bundles * slab // slabs, bundles * (slab + 1) // slabs


@inlined
def first_run(slab, slabs, runs):  # type: ignore[no-untyped-def]
    """Where the names of a slab's runs begin; there must be bundles."""
    bundles = runs[1].shape[0]
    return slab_of(bundles, slabs, slab)[0] * (runs[3].size // bundles) + 1


@inlined
def _pack_row(flat, begin, width, foreground, bits, r, n):  # type: ignore[no-untyped-def]
    whole = width // 64
    for j in range(whole):
        word = packed(flat, begin + 64 * j)
        bits[r, n, j] = word if foreground else ~word
    if width % 64:
        word = _0
        for x in range(64 * whole, width):
            word |= np.uint64((flat[begin + x] != 0) == foreground) << np.uint64(x % 64)
        bits[r, n, whole] = word


@inlined
def _start_runs(bits, starts, before, r, run):  # type: ignore[no-untyped-def]
    """Find where the runs of a bundle begin, the first as ``run + 1``; return the last."""
    left = _0
    for j in range(starts.shape[1]):
        word = _0
        for n in range(bits.shape[1]):
            word |= bits[r, n, j]
        starts[r, j], before[r, j] = word & ~(word << _1 | left), run
        run += ones(starts[r, j])
        left = word >> _63
    return run


@inlined
def _root(tree, i):  # type: ignore[no-untyped-def]
    while tree[i] != i:
        tree[i] = tree[tree[i]]
        i = tree[i]
    return i


@inlined
def _unite(tree, i, k):  # type: ignore[no-untyped-def]
    """Hang one root on the other; return 1, or 0 where they are the same."""
    i, k = _root(tree, i), _root(tree, k)
    tree[max(i, k)] = min(i, k)
    return np.int64(i != k)


@inlined
def _first_of_each(touching, same, done):  # type: ignore[no-untyped-def]
    """Of the places that touch, those before which no other is from which ``same`` leads here without a gap.

    ``done`` is 1 where a way leads here from the word before; returns it for the next, too.
    """
    reached, ways = touching | same & done, same
    for k in range(6):
        step = _1 << np.uint64(k)
        reached |= ways & (reached << step)
        ways &= ways << step
    return touching & ~(same & (reached << _1 | done)), reached >> _63


# How many steps in y and z a bundle lies from another, and which of its rows touch which of the other's.
_BEFORE = np.array([(0, 1), (1, 0), (1, 1), (-1, 1)])
_TOUCHING = np.array([[(0, 0, 0, 0)] * 4, [(0, 1, 2, 3), (0, 2, 1, 3), (0, 0, 3, 3), (1, 1, 2, 2)]])


@inlined
def _join_bundles(runs, tree, r, q, corners, step):  # type: ignore[no-untyped-def]
    """Unite the runs of bundle ``r`` that touch those of bundle ``q``, a step before it; count the unions."""
    bits, starts, before, names = runs
    a0, a1, b0, b1 = (
        _TOUCHING[corners, step, 0], _TOUCHING[corners, step, 1],
        _TOUCHING[corners, step, 2], _TOUCHING[corners, step, 3],
    )  # fmt: skip
    unions, a_left, b_left, done = 0, _0, _0, _0
    for j in range(starts.shape[1]):
        a, b = bits[r, a0, j] | bits[r, a1, j], bits[q, b0, j] | bits[q, b1, j]
        touching = a & b
        if corners:
            touching |= a & (b << _1 | b_left) | b & (a << _1 | a_left)
            a_left, b_left = a >> _63, b >> _63
        left, done = _first_of_each(touching, ~(starts[r, j] | starts[q, j]), done)
        while left != _0:
            here = left ^ (left - _1)  # the lowest bit and those below it
            left &= ~here
            i = names[before[r, j] + ones(starts[r, j] & here)]
            k = names[before[q, j] + ones(starts[q, j] & here)]
            if i != k:
                unions += _unite(tree, i, k)
    return unions


@kernel(f"void(int64, int64, Array(uint8, 1, 'C', readonly=True), boolean, {SHAPE}, {RUNS}, int64[::1])")
def find_runs(slab, slabs, flat, foreground, shape, runs, counts):  # type: ignore[no-untyped-def]
    """Find a slab's runs, and how many there are."""
    bits, starts, before, names = runs
    depth, height, width, side, across = shape
    begin, end = slab_of(bits.shape[0], slabs, slab)
    first = first_run(slab, slabs, runs)
    run = first - 1
    for r in range(begin, end):
        for n in range(bits.shape[1]):
            y, z = r % across * side + n % 2, r // across * side + n // 2
            if y < height and z < depth:
                _pack_row(flat, (z * height + y) * width, width, foreground, bits, r, n)
            else:
                for j in range(bits.shape[2]):
                    bits[r, n, j] = _0
        run = _start_runs(bits, starts, before, r, run)
    for i in range(first, run + 1):
        names[i] = i
    counts[slab] = run + 1 - first


@kernel(f"void(int64, int64, boolean, {SHAPE}, {RUNS}, uint32[::1], int64[::1])")
def join_runs(slab, slabs, outside, shape, runs, tree, counts):  # type: ignore[no-untyped-def]
    """Unite a slab's runs with those that touch them, in the slabs before it or in it; count the trees that vanish."""
    begin, end = slab_of(runs[1].shape[0], slabs, slab)
    across = shape[4]
    for r in range(begin, min(end, begin + across + 1) if outside else end):
        for step in range(4 if shape[3] == 2 else 2):
            y, z = r % across - _BEFORE[step, 0], r // across - _BEFORE[step, 1]
            q = z * across + y
            if 0 <= y < across and z >= 0 and (q < begin) == outside:
                counts[slab] -= _join_bundles(runs, tree, r, q, shape[3] - 1, step)
