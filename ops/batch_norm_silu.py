"""Batch normalisation with batch statistics and SiLU, fused: what training a convolutional network repeats most.

Forward and backward together move the activation about 8 times through memory instead of about 15. Only training needs
this file: with fixed statistics the normalisation folds into the convolution.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._check import host_array, output_array
from ops._kernel import kernel, lone_caller

# The rows [P, C] are walked flat, in tiles of whole rows, with the per-channel numbers repeated over a tile: the inner
# loop is long for few channels too. Sums are taken in float32 over a block of tiles, which the first-level cache
# holds, and in float64 over blocks. A part of blocks is one thread's work; parts do not depend on the thread count.
_TILE = 512
_BLOCK = 8192
_PART = 65536
# Below this many elements the threads cost more than they save.
_PARALLEL_ELEMENTS = 32768

# Division must not raise (a branch per element), and multiply-add may contract; sums keep their order.
_compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@_compiled
def _sigmoid(z):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-z)) to 2e-7: numba has no vector exp, this is a polynomial that the compiler vectorises."""
    t = min(max(-z, np.float32(-87.0)), np.float32(87.0))
    # Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    shifted = t * np.float32(1.4426950408889634) + np.float32(12582912.0)
    whole = shifted - np.float32(12582912.0)
    # ln 2 in two pieces, the first exact in few bits; a minimax fit of exp on |r| <= ln(2) / 2.
    r = t - whole * np.float32(0.693359375)
    r = r + whole * np.float32(2.12194440e-4)
    p = np.float32(8.312501013e-3)
    p = p * r + np.float32(4.189033061e-2)
    p = p * r + np.float32(1.666711569e-1)
    p = p * r + np.float32(4.999923110e-1)
    p = p * (r * r) + r + np.float32(1.0)
    power = np.int32((np.float32(shifted).view(np.int32) << 23) + 0x3F800000).view(np.float32)
    return np.float32(1.0) / (np.float32(1.0) + p * power)


@_compiled
def _add_moments(x, pivot, total, squares):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        d = x[i] - pivot[i]
        total[i] += d
        squares[i] += d * d


@_compiled
def _normalise(x, high, scale, shift, y):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        z = (x[i] - high[i]) * scale[i] + shift[i]
        y[i] = z * _sigmoid(z)


@_compiled
def _add_gradients(dy, x, high, scale, shift, dz_total, dz_d_total):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        d = x[i] - high[i]
        z = d * scale[i] + shift[i]
        s = _sigmoid(z)
        dz = dy[i] * (s * (z * (np.float32(1.0) - s) + np.float32(1.0)))
        dz_total[i] += dz
        dz_d_total[i] += dz * d


@_compiled
def _input_gradient(dy, x, high, scale, shift, slope, offset, dx):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        d = x[i] - high[i]
        z = d * scale[i] + shift[i]
        s = _sigmoid(z)
        dz = dy[i] * (s * (z * (np.float32(1.0) - s) + np.float32(1.0)))
        dx[i] = dz * scale[i] - (d * slope[i] + offset[i])


@_compiled
def _tile_size(channels):  # type: ignore[no-untyped-def]
    return channels * max(1, _TILE // channels)


@_compiled
def _layout(size, channels):  # type: ignore[no-untyped-def]
    """Return the elements of a tile, of a block and of a part: each a multiple of the one before."""
    tile = _tile_size(channels)
    block = tile * max(1, _BLOCK // tile)
    wanted = min(_PART, (size + 7) // 8)
    return tile, block, block * ((wanted + block - 1) // block)


@_compiled
def _repeat(values, tile):  # type: ignore[no-untyped-def]
    """Repeat float [C] numbers over a tile, as float32."""
    out = np.empty(tile, np.float32)
    for start in range(0, tile, values.size):
        for c in range(values.size):
            out[start + c] = values[c]
    return out


@_compiled
def _fold(tiled, out):  # type: ignore[no-untyped-def]
    """Add a tile's float32 sums to the float64 sums of the channels, and clear them."""
    for start in range(0, tiled.size, out.size):
        for c in range(out.size):
            out[c] += tiled[start + c]
    tiled[:] = 0


@_compiled
def _merge(mean, squares, count, block_mean, block_squares, block_count):  # type: ignore[no-untyped-def]
    """Join the mean and the sum of squared deviations of two groups (Chan, Golub and LeVeque 1983)."""
    weight = block_count / (count + block_count)
    for c in range(mean.size):
        delta = block_mean[c] - mean[c]
        mean[c] += delta * weight
        squares[c] += block_squares[c] + delta * delta * (count * weight)


@_compiled
def _part_moments(x, tile, block, mean, squares):  # type: ignore[no-untyped-def]
    """Write mean and sum of squared deviations [C] of one part.

    Deviations are taken from the mean of the block's first tile. It is at least a sixteenth of the block (or all of
    it), so the block's variance is at least a fifteenth of its squared distance to the mean: nothing cancels.
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
        tiled_pivot = _repeat(pivot, tile)
        for first in range(0, values.size, tile):
            _add_moments(values[first : first + tile], tiled_pivot, total, total_squares)
        block_mean[:] = 0
        block_squares[:] = 0
        _fold(total, block_mean)
        _fold(total_squares, block_squares)
        count = values.size // channels
        for c in range(channels):
            distance = block_mean[c] / count
            block_mean[c] = pivot[c] + distance
            block_squares[c] = max(0.0, block_squares[c] - distance * distance * count)
        _merge(mean, squares, start // channels, block_mean, block_squares, count)


@_compiled
def _coefficients(mean, variance, weight, bias, eps, tile):  # type: ignore[no-untyped-def]
    """Return float32 high, scale, shift over a tile, with normalised = (x - high) * scale + shift.

    ``high`` is the mean as float32; the rest goes into the shift, or a mean far from zero would cost digits.
    """
    scale, shift = np.empty_like(mean), np.empty_like(mean)
    for c in range(mean.size):
        scale[c] = weight[c] / np.sqrt(variance[c] + eps)
        shift[c] = bias[c] - (mean[c] - np.float32(mean[c])) * scale[c]
    return _repeat(mean, tile), _repeat(scale, tile), _repeat(shift, tile)


@_compiled
def _join_moments(means, squares, part_rows, rows, mean, variance):  # type: ignore[no-untyped-def]
    mean[:] = 0
    variance[:] = 0
    for part in range(means.shape[0]):
        first = part * part_rows
        _merge(mean, variance, first, means[part], squares[part], min(part_rows, rows - first))
    variance /= rows


@_compiled
def _share(parts, worker, workers):  # type: ignore[no-untyped-def]
    """Return the first and past-the-last part of a worker."""
    return parts * worker // workers, parts * (worker + 1) // workers


_IN = "Array(float32, 1, 'C', readonly=True)"
_IN64 = "Array(float64, 1, 'C', readonly=True)"
_FORWARD = f"void({_IN}, {_IN}, {_IN}, float64, int64, float32[::1], float64[::1], float64[::1])"


@_compiled
def _moments(x, tile, block, size, first, end, means, squares):  # type: ignore[no-untyped-def]
    for part in range(first, end):
        _part_moments(x[part * size : (part + 1) * size], tile, block, means[part], squares[part])


@_compiled
def _results(x, y, tile, size, first, end, high, scale, shift):  # type: ignore[no-untyped-def]
    # Backwards, here and below: the parts read last are still in the cache.
    for part in range(end - 1, first - 1, -1):
        for a in range(part * size, min((part + 1) * size, x.size), tile):
            _normalise(x[a : a + tile], high, scale, shift, y[a : a + tile])


@kernel(_FORWARD)
def _forward_serial(x, weight, bias, eps, workers, y, mean, variance):  # type: ignore[no-untyped-def]
    tile, block, size = _layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    means, squares = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    _moments(x, tile, block, size, 0, parts, means, squares)
    _join_moments(means, squares, size // mean.size, x.size // mean.size, mean, variance)
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    _results(x, y, tile, size, 0, parts, high, scale, shift)


@kernel(_FORWARD, parallel=True)
def _forward_parallel(x, weight, bias, eps, workers, y, mean, variance):  # type: ignore[no-untyped-def]
    tile, block, size = _layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    means, squares = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    for worker in prange(workers):
        first, end = _share(parts, worker, workers)
        _moments(x, tile, block, size, first, end, means, squares)
    _join_moments(means, squares, size // mean.size, x.size // mean.size, mean, variance)
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    for worker in prange(workers):
        first, end = _share(parts, worker, workers)
        _results(x, y, tile, size, first, end, high, scale, shift)


@_compiled
def _part_sums(dy, x, tile, block, high, scale, shift, dz_sum, dz_d_sum):  # type: ignore[no-untyped-def]
    dz_total, dz_d_total = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    dz_sum[:] = 0
    dz_d_sum[:] = 0
    for start in range(0, x.size, block):
        for first in range(start, min(start + block, x.size), tile):
            gradient, values = dy[first : first + tile], x[first : first + tile]
            _add_gradients(gradient, values, high, scale, shift, dz_total, dz_d_total)
        _fold(dz_total, dz_sum)
        _fold(dz_d_total, dz_d_sum)


@_compiled
def _join_sums(dz_sums, dz_d_sums, mean, variance, weight, eps, rows, tile, dweight, dbias):  # type: ignore[no-untyped-def]
    """Write the gradients of weight and bias; return over a tile what ``_input_gradient`` takes off, linear in d."""
    slope, offset = np.empty_like(mean), np.empty_like(mean)
    for c in range(mean.size):
        dz, dz_d = 0.0, 0.0
        for part in range(dz_sums.shape[0]):
            dz += dz_sums[part, c]
            dz_d += dz_d_sums[part, c]
        inverse = 1.0 / np.sqrt(variance[c] + eps)
        low = mean[c] - np.float32(mean[c])
        gain = (dz_d - low * dz) * inverse
        dbias[c], dweight[c] = dz, gain
        # dx = scale * (dz - mean(dz) - normalised * mean(dz * normalised)), normalised = (d - low) * inverse
        scale = weight[c] * inverse
        slope[c] = scale * inverse * gain / rows
        offset[c] = scale * dz / rows - low * slope[c]
    return _repeat(slope, tile), _repeat(offset, tile)


@_compiled
def _sums(dy, x, tile, block, size, first, end, high, scale, shift, sums, d_sums):  # type: ignore[no-untyped-def]
    for part in range(first, end):
        a, b = part * size, (part + 1) * size
        _part_sums(dy[a:b], x[a:b], tile, block, high, scale, shift, sums[part], d_sums[part])


@_compiled
def _input_gradients(dy, x, dx, tile, size, first, end, high, scale, shift, slope, offset):  # type: ignore[no-untyped-def]
    for part in range(end - 1, first - 1, -1):
        for a in range(part * size, min((part + 1) * size, x.size), tile):
            _input_gradient(dy[a : a + tile], x[a : a + tile], high, scale, shift, slope, offset, dx[a : a + tile])


_BACKWARD = (
    f"void({_IN}, {_IN}, {_IN64}, {_IN64}, {_IN}, {_IN}, float64, int64, float32[::1], float32[::1], float32[::1])"
)


@kernel(_BACKWARD)
def _backward_serial(dy, x, mean, variance, weight, bias, eps, workers, dx, dweight, dbias):  # type: ignore[no-untyped-def]
    tile, block, size = _layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    sums, d_sums = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    _sums(dy, x, tile, block, size, 0, parts, high, scale, shift, sums, d_sums)
    rows = x.size // mean.size
    slope, offset = _join_sums(sums, d_sums, mean, variance, weight, eps, rows, tile, dweight, dbias)
    _input_gradients(dy, x, dx, tile, size, 0, parts, high, scale, shift, slope, offset)


@kernel(_BACKWARD, parallel=True)
def _backward_parallel(dy, x, mean, variance, weight, bias, eps, workers, dx, dweight, dbias):  # type: ignore[no-untyped-def]
    tile, block, size = _layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    sums, d_sums = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    for worker in prange(workers):
        first, end = _share(parts, worker, workers)
        _sums(dy, x, tile, block, size, first, end, high, scale, shift, sums, d_sums)
    rows = x.size // mean.size
    slope, offset = _join_sums(sums, d_sums, mean, variance, weight, eps, rows, tile, dweight, dbias)
    for worker in prange(workers):
        first, end = _share(parts, worker, workers)
        _input_gradients(dy, x, dx, tile, size, first, end, high, scale, shift, slope, offset)


def _rows(x: Any) -> NDArray[np.float32]:
    rows = host_array(x, "x", np.float32, ("P", "C"))
    if 0 in rows.shape:
        raise ValueError(f"x: expected at least one row and one channel, got shape {rows.shape}")
    return rows


def _workers(size: int) -> int:
    return numba.get_num_threads() if size >= _PARALLEL_ELEMENTS and lone_caller() else 1


def batch_norm_silu(
    x: Any, weight: Any, bias: Any, eps: float = 1e-5, *, out: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Normalise every channel by its own mean and variance over the rows, scale, shift, and apply SiLU.

    Args:
        x: float32 [P, C], one row per sample and pixel: a channels-last activation seen flat. At least one row.
        weight, bias: float32 [C]: ``z = (x - mean) / sqrt(variance + eps) * weight + bias``.
        eps: added to the variance.
        out: float32 [P, C] to write into.

    Returns:
        float32 [P, C] ``z * sigmoid(z)``; float64 [C] mean; float64 [C] biased variance. The statistics do not cancel
        when the mean is far from zero, and are the same for any number of threads.

    Raises:
        TypeError, ValueError: for another dtype or shape.

    No CUDA twin: torch's own kernels for the GPU are fast.

    Cost: two reads of ``x``, one write. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167); SiLU after Elfwing et al.
    2018 (arXiv 1702.03118).
    """
    rows = _rows(x)
    channels = rows.shape[1]
    gain = host_array(weight, "weight", np.float32, (channels,))
    shift = host_array(bias, "bias", np.float32, (channels,))
    target = output_array(out, np.float32, rows.shape)
    mean, variance = np.empty(channels), np.empty(channels)
    workers = _workers(rows.size)
    run = _forward_parallel if workers > 1 else _forward_serial
    run(rows.reshape(-1), gain, shift, float(eps), workers, target.reshape(-1), mean, variance)
    return target, mean, variance


def batch_norm_silu_backward(
    dy: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any,
    bias: Any,
    eps: float = 1e-5,
    *,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of ``sum(dy * batch_norm_silu(x, weight, bias, eps)[0])``.

    Args:
        dy: float32 [P, C], the gradient of the result.
        x, weight, bias, eps: as given to `batch_norm_silu`.
        mean, variance: float64 [C], as it returned them.
        out: float32 [P, C] to write the gradient of ``x`` into; not one of the inputs.

    Returns:
        float32 [P, C] for ``x`` (through the statistics, too), float32 [C] for ``weight``, float32 [C] for ``bias``.

    Raises:
        TypeError, ValueError: for another dtype or shape.

    No CUDA twin, like `batch_norm_silu`. Cost: two reads of ``dy`` and of ``x``, one write.
    """
    rows = _rows(x)
    channels = rows.shape[1]
    upstream = host_array(dy, "dy", np.float32, rows.shape)
    average = host_array(mean, "mean", np.float64, (channels,))
    spread = host_array(variance, "variance", np.float64, (channels,))
    gain = host_array(weight, "weight", np.float32, (channels,))
    shift = host_array(bias, "bias", np.float32, (channels,))
    target = output_array(out, np.float32, rows.shape)
    dweight, dbias = np.empty(channels, np.float32), np.empty(channels, np.float32)
    workers = _workers(rows.size)
    run = _backward_parallel if workers > 1 else _backward_serial
    run(
        upstream.reshape(-1), rows.reshape(-1), average, spread, gain, shift, float(eps), workers,
        target.reshape(-1), dweight, dbias,
    )  # fmt: skip
    return target, dweight, dbias
