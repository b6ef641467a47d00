"""Decoding of one COCO run-length encoded mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._cuda_order import first_after
from ops._device import memory_of
from ops._kernel import kernel
from ops._rle import read_runs


@kernel("void(Array(uint32, 1, 'C', readonly=True), uint8[:,::1])")
def _decode(counts, out):  # type: ignore[no-untyped-def]
    """Mark where the value changes down each column, then carry the marks down, whole rows at a time.

    Filling the runs themselves would write down the columns, across the memory.
    """
    height = out.shape[0]
    out[:] = 0
    stop = np.int64(0)
    for i in range(counts.size):
        start, stop = stop, stop + np.int64(counts[i])
        if i % 2 == 0:
            continue
        while start < stop:  # one column after the other
            x = start // height
            top, foot = start - x * height, min(stop - x * height, height)
            out[top, x] ^= 1
            if foot < height:
                out[foot, x] ^= 1
            start = x * height + foot
    for y in range(1, height):
        above, row = out[y - 1], out[y]
        for x in range(row.size):
            row[x] ^= above[x]


@cuda_kernel("void(int64[::1], uint8[:,::1])")
def _twin(ends, out):  # type: ignore[no-untyped-def]
    """One thread a pixel: its run is the first that ends after it, and every second run is foreground."""
    height, width = out.shape
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        y, x = k // width, k % width
        out[y, x] = first_after(ends, 0, ends.size, x * height + y) & 1


def rle_decode(rle: Any, *, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Decode one mask.

    Args:
        rle: a dict ``{"size": [height, width], "counts": ...}``; counts as a compressed str or bytes, or as a list of
            run lengths down the columns, background first.
        out: uint8 [H, W] to write into, one mask of a stack for example. Takes device arrays too: the mask is made
            there.

    Returns:
        uint8 [H, W] of 0 and 1, C-contiguous (pycocotools gives columns that are contiguous).

    Raises:
        TypeError: for what is no such dict.
        ValueError: for a damaged one: a bad character, a negative run, runs that do not sum to height x width.
    """
    runs = read_runs(rle, "rle")
    memory = memory_of(out=out)
    mask: NDArray[np.uint8] = memory.output(out, np.uint8, (runs.height, runs.width))
    if memory.on_device:
        memory.launch(_twin, mask.size, memory.table(np.cumsum(runs.counts, dtype=np.int64), np.int64), mask)
    else:
        _decode(runs.counts, mask)
    return mask
