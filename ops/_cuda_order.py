"""Sorting, and picking out what a flag marks, on the device: the same answer every time, ties by the lower index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory

# Keys that are ordered by counting, each against all of its tile, before tiles are merged two by two.
_TILE = 1024
# Flags that one thread looks at, one after the other.
_STRIP = 64


@njit(nogil=True, cache=True)
def _before(a, b):  # type: ignore[no-untyped-def]
    """Whether ``a`` comes before ``b``, NaN last."""
    return a < b or (b != b and a == a)


@njit(nogil=True, cache=True)
def first_from(keys, low, high, key):  # type: ignore[no-untyped-def]
    """The first of the sorted keys from ``low`` to ``high`` that is not before ``key``."""
    while low < high:
        middle = (low + high) // 2
        if _before(keys[middle], key):
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def first_after(keys, low, high, key):  # type: ignore[no-untyped-def]
    """The first of the sorted keys from ``low`` to ``high`` that comes after ``key``."""
    while low < high:
        middle = (low + high) // 2
        if _before(key, keys[middle]):
            high = middle
        else:
            low = middle + 1
    return low


def _sort_tiles(keys, tile, sorted_keys, order):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        start = k // tile * tile
        key, place = keys[k], start
        for j in range(start, min(start + tile, keys.size)):
            if _before(keys[j], key) or (j < k and not _before(key, keys[j])):
                place += 1
        sorted_keys[place], order[place] = key, k


def _merge(keys, order, run, merged_keys, merged):  # type: ignore[no-untyped-def]
    """Merge neighbouring sorted runs: a key's place is that in its own run and how many precede it in the other."""
    for k in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        start = k // (2 * run) * (2 * run)
        middle, end = min(start + run, keys.size), min(start + 2 * run, keys.size)
        if k < middle:
            place = k + first_from(keys, middle, end, keys[k]) - middle
        else:
            place = first_after(keys, start, middle, keys[k]) + k - middle
        merged_keys[place], merged[place] = keys[k], order[k]


_KEYS = ("float32", "int64")
_SORT = {
    key: cuda_kernel(f"void(Array({key}, 1, 'C', readonly=True), int64, {key}[::1], int64[::1])", label=key)(
        _sort_tiles
    )
    for key in _KEYS
}
_MERGE = {
    key: cuda_kernel(f"void({key}[::1], int64[::1], int64, {key}[::1], int64[::1])", label=key)(_merge) for key in _KEYS
}


def stable_order(memory: DeviceMemory, keys: Any) -> tuple[Any, Any]:
    """Return keys (float32 or int64) in rising order, NaN last, and the index of each; equal keys as they come."""
    count, key = keys.size, keys.dtype.name
    here = memory.empty(count, keys.dtype), memory.empty(count, np.int64)
    there = memory.empty(count, keys.dtype), memory.empty(count, np.int64)
    memory.launch(_SORT[key], count, keys, _TILE, *here)
    run = _TILE
    while run < count:
        memory.launch(_MERGE[key], count, *here, run, *there)
        here, there, run = there, here, 2 * run
    return here


@cuda_kernel("void(int64[::1])")
def _counting_twin(out):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[k] = k


def counting(memory: DeviceMemory, count: int) -> Any:
    """Return int64 0, 1, ... on the device."""
    out = memory.empty(count, np.int64)
    memory.launch(_counting_twin, count, out)
    return out


@cuda_kernel("void(Array(uint8, 1, 'C', readonly=True), int64[::1])")
def _count_strips(flags, counts):  # type: ignore[no-untyped-def]
    for strip in range(cuda.grid(1), counts.size, cuda.gridsize(1)):
        count = 0
        for i in range(strip * _STRIP, min((strip + 1) * _STRIP, flags.size)):
            count += flags[i] != 0
        counts[strip] = count


_SUMMERS = 128


@cuda_kernel("void(int64[::1], int64[::1])", block=_SUMMERS, fixed=True)
def _sum_before(counts, total):  # type: ignore[no-untyped-def]
    """Replace each count by the sum of those before it. One block: a thread adds its part, then all add their sums."""
    if cuda.blockIdx.x > 0:
        return
    sums = cuda.shared.array(_SUMMERS, np.int64)
    thread = cuda.threadIdx.x
    part = (counts.size + _SUMMERS - 1) // _SUMMERS
    begin, end = min(thread * part, counts.size), min((thread + 1) * part, counts.size)
    own = np.int64(0)
    for i in range(begin, end):
        own += counts[i]
    sums[thread] = own
    cuda.syncthreads()
    step = 1
    while step < _SUMMERS:
        other = sums[thread - step] if thread >= step else np.int64(0)
        cuda.syncthreads()
        sums[thread] += other
        cuda.syncthreads()
        step *= 2
    before = sums[thread] - own
    for i in range(begin, end):
        count = counts[i]
        counts[i] = before
        before += count
    if thread == _SUMMERS - 1:
        total[0] = sums[thread]


@cuda_kernel("void(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1])")
def _write_marked(flags, places, marked):  # type: ignore[no-untyped-def]
    for strip in range(cuda.grid(1), places.size, cuda.gridsize(1)):
        place = places[strip]
        for i in range(strip * _STRIP, min((strip + 1) * _STRIP, flags.size)):
            if flags[i] != 0 and place < marked.size:
                marked[place] = i
                place += 1


def marked_indices(memory: DeviceMemory, flags: Any, limit: int | None = None) -> Any:
    """Return the int64 indices of the uint8 flags that are set, rising, at most ``limit``. Reads their number back."""
    if flags.size == 0:
        return memory.empty(0, np.int64)
    places, total = memory.empty(-(-flags.size // _STRIP), np.int64), memory.empty(1, np.int64)
    memory.launch(_count_strips, places.size, flags, places)
    memory.launch(_sum_before, 1, places, total)
    count = memory.numbers(total)[0]
    marked = memory.empty(count if limit is None else min(count, limit), np.int64)
    memory.launch(_write_marked, places.size if marked.size else 0, flags, places, marked)
    return marked


@njit(nogil=True, cache=True)
def _precedes(key, index, other_key, other_index):  # type: ignore[no-untyped-def]
    """Whether a key comes before another one: the lower, NaN last, of equal ones the one with the lower index."""
    if key < other_key or other_key < key:
        return key < other_key
    return index < other_index if (key == key) == (other_key == other_key) else key == key


# Threads of a block that looks for the next best together.
CHOOSERS = 64


@njit(nogil=True, cache=True)
def next_of(values, sign, marks, none, last_key, last, keys, places):  # type: ignore[no-untyped-def]
    """For a whole block: the candidate that comes next after ``last`` by ``sign * value``, or -1.

    One whose mark is ``none`` is no candidate.
    """
    thread = cuda.threadIdx.x
    best_key, best = 0.0, -1
    for a in range(thread, marks.size, CHOOSERS):
        key = sign * np.float64(values[a])
        if marks[a] == none or (last >= 0 and not _precedes(last_key, last, key, a)):
            continue
        if best < 0 or _precedes(key, a, best_key, best):
            best_key, best = key, a
    keys[thread], places[thread] = best_key, best
    cuda.syncthreads()
    for other in range(CHOOSERS):
        if places[other] >= 0 and (best < 0 or _precedes(keys[other], places[other], best_key, best)):
            best_key, best = keys[other], places[other]
    cuda.syncthreads()
    return best_key, best
