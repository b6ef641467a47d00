"""Rows [P, C] walked in tiles, blocks and parts, and the mean and variance of each channel, for `batch_norm_act`."""

from __future__ import annotations

import numpy as np
from numba import njit

# The rows [P, C] are walked flat, in tiles of whole rows, with the per-channel numbers repeated over a tile: the inner
# loop is long for few channels too. Sums are taken in float32 over a block of tiles, and in float64 over blocks.
# A part of blocks is one thread's work; parts do not depend on the thread count.
_TILE = 512
_TILES = 16
_PART = 65536

# Division must not raise (a branch per element), and multiply-add may contract; sums keep their order.
compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@compiled
def _tile_size(channels):  # type: ignore[no-untyped-def]
    return channels * max(1, _TILE // channels)


@compiled
def layout(size, channels):  # type: ignore[no-untyped-def]
    """Return the elements of a tile, of a block and of a part: each a multiple of the one before."""
    tile = _tile_size(channels)
    block = tile * _TILES
    wanted = min(_PART, (size + 7) // 8)
    return tile, block, block * ((wanted + block - 1) // block)


@compiled
def repeat(values, tile):  # type: ignore[no-untyped-def]
    """Repeat float [C] numbers over a tile, as float32."""
    out = np.empty(tile, np.float32)
    for start in range(0, tile, values.size):
        for c in range(values.size):
            out[start + c] = values[c]
    return out


@compiled
def fold(tiled, out):  # type: ignore[no-untyped-def]
    """Add a tile's float32 sums to the float64 sums of the channels, and clear them."""
    for start in range(0, tiled.size, out.size):
        for c in range(out.size):
            out[c] += tiled[start + c]
    tiled[:] = 0


@compiled
def _add_moments(x, pivot, total, squares):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        d = x[i] - pivot[i]
        total[i] += d
        squares[i] += d * d


@compiled
def _merge(mean, squares, count, block_mean, block_squares, block_count):  # type: ignore[no-untyped-def]
    """Join the mean and the sum of squared deviations of two groups (Chan, Golub and LeVeque 1983)."""
    weight = block_count / (count + block_count)
    for c in range(mean.size):
        delta = block_mean[c] - mean[c]
        mean[c] += delta * weight
        squares[c] += block_squares[c] + delta * delta * (count * weight)


@compiled
def _part_moments(x, tile, block, mean, squares):  # type: ignore[no-untyped-def]
    """Write mean and sum of squared deviations [C] of one part.

    Deviations are taken from the mean of the block's first tile. It is at least a sixteenth of the block, so the
    block's variance is at least a fifteenth of its squared distance to the mean: nothing cancels.
    """
    channels = mean.size
    total, total_squares = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    pivot = np.empty(channels, np.float64)
    block_mean, block_squares = np.empty(channels, np.float64), np.empty(channels, np.float64)
    mean[:] = 0
    squares[:] = 0
    for start in range(0, x.size, block):
        values = x[start : start + block]
        head = min(tile, values.size)
        pivot[:] = 0
        for row in range(0, head, channels):
            for c in range(channels):
                pivot[c] += values[row + c]
        for c in range(channels):
            pivot[c] = np.float32(pivot[c] * channels / head)
        tiled_pivot = repeat(pivot, tile)
        for first in range(0, values.size, tile):
            _add_moments(values[first : first + tile], tiled_pivot, total, total_squares)
        block_mean[:] = 0
        block_squares[:] = 0
        fold(total, block_mean)
        fold(total_squares, block_squares)
        count = values.size // channels
        for c in range(channels):
            distance = block_mean[c] / count
            block_mean[c] = pivot[c] + distance
            block_squares[c] = max(0.0, block_squares[c] - distance * distance * count)
        _merge(mean, squares, start // channels, block_mean, block_squares, count)


@compiled
def moments(x, tile, block, size, first, end, means, squares):  # type: ignore[no-untyped-def]
    for part in range(first, end):
        _part_moments(x[part * size : (part + 1) * size], tile, block, means[part], squares[part])


@compiled
def join_moments(means, squares, part_rows, rows, mean, variance):  # type: ignore[no-untyped-def]
    mean[:] = 0
    variance[:] = 0
    for part in range(means.shape[0]):
        first = part * part_rows
        _merge(mean, variance, first, means[part], squares[part], min(part_rows, rows - first))
    variance /= rows


@compiled
def share(parts, worker, workers):  # type: ignore[no-untyped-def]
    """Return the first and past-the-last part of a worker."""
    return parts * worker // workers, parts * (worker + 1) // workers
