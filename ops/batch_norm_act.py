"""Batch normalisation with batch statistics and the activation after it: what training a network repeats most.

Forward and backward together move the activation about 8 times through memory instead of about 15. Only training needs
this file: with fixed statistics the normalisation folds into the convolution. No CUDA twin: it stands in for torch's
layers where they take half of a step, on the CPU.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from ops._arith import exp32
from ops._check import host_array, output_array
from ops._kernel import kernel, lone_caller
from ops._moments import compiled, fold, join_moments, layout, moments, repeat, share

# Numbers for the kernels. The first three clip, between ends of which each has the gradient 0, as torch has it.
_ACTIVATIONS = {"identity": 0, "relu": 1, "relu6": 2, "silu": 3}
_IDENTITY, _RELU6, _SILU = (_ACTIVATIONS[name] for name in ("identity", "relu6", "silu"))

# Below this many elements the threads cost more than they save.
_PARALLEL_ELEMENTS = 32768


@compiled
def _sigmoid(z):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-z)) to 2e-7."""
    return np.float32(1.0) / (np.float32(1.0) + exp32(min(max(-z, np.float32(-87.0)), np.float32(87.0))))


@compiled
def _silu_slope(z):  # type: ignore[no-untyped-def]
    s = _sigmoid(z)
    return s * (z * (np.float32(1.0) - s) + np.float32(1.0))


@compiled
def _ends(activation):  # type: ignore[no-untyped-def]
    """Return between what ``activation`` clips."""
    floor = np.float32(-np.inf) if activation == _IDENTITY else np.float32(0.0)
    return floor, np.float32(6.0) if activation == _RELU6 else np.float32(np.inf)


@compiled
def _normalise(activation, x, high, scale, shift, y):  # type: ignore[no-untyped-def]
    if activation == _SILU:
        for i in range(x.size):
            z = (x[i] - high[i]) * scale[i] + shift[i]
            y[i] = z * _sigmoid(z)
        return
    floor, ceiling = _ends(activation)
    for i in range(x.size):
        z = (x[i] - high[i]) * scale[i] + shift[i]
        z = floor if z < floor else z  # unlike min and max, this keeps NaN
        y[i] = ceiling if z > ceiling else z


@compiled
def _add_gradients(activation, dy, x, high, scale, shift, dz_total, dz_d_total):  # type: ignore[no-untyped-def]
    if activation == _SILU:
        for i in range(x.size):
            d = x[i] - high[i]
            dz = dy[i] * _silu_slope(d * scale[i] + shift[i])
            dz_total[i] += dz
            dz_d_total[i] += dz * d
        return
    floor, ceiling = _ends(activation)
    for i in range(x.size):
        d = x[i] - high[i]
        z = d * scale[i] + shift[i]
        dz = dy[i] if floor < z < ceiling else np.float32(0.0)
        dz_total[i] += dz
        dz_d_total[i] += dz * d


@compiled
def _input_gradient(activation, dy, x, high, scale, shift, slope, offset, dx):  # type: ignore[no-untyped-def]
    if activation == _SILU:
        for i in range(x.size):
            d = x[i] - high[i]
            dz = dy[i] * _silu_slope(d * scale[i] + shift[i])
            dx[i] = dz * scale[i] - (d * slope[i] + offset[i])
        return
    floor, ceiling = _ends(activation)
    for i in range(x.size):
        d = x[i] - high[i]
        z = d * scale[i] + shift[i]
        dz = dy[i] if floor < z < ceiling else np.float32(0.0)
        dx[i] = dz * scale[i] - (d * slope[i] + offset[i])


@compiled
def _coefficients(mean, variance, weight, bias, eps, tile):  # type: ignore[no-untyped-def]
    """Return float32 high, scale, shift over a tile, with normalised = (x - high) * scale + shift.

    ``high`` is the mean as float32; the rest goes into the shift, or a mean far from zero would cost digits.
    """
    scale, shift = np.empty_like(mean), np.empty_like(mean)
    for c in range(mean.size):
        scale[c] = weight[c] / np.sqrt(variance[c] + eps)
        shift[c] = bias[c] - (mean[c] - np.float32(mean[c])) * scale[c]
    return repeat(mean, tile), repeat(scale, tile), repeat(shift, tile)


_IN = "Array(float32, 1, 'C', readonly=True)"
_IN64 = "Array(float64, 1, 'C', readonly=True)"
_FORWARD = f"void(int64, {_IN}, {_IN}, {_IN}, float64, int64, float32[::1], float64[::1], float64[::1])"


@compiled
def _results(activation, x, y, tile, size, first, end, high, scale, shift):  # type: ignore[no-untyped-def]
    # Backwards, here and below: the parts read last are still in the cache.
    for part in range(end - 1, first - 1, -1):
        for a in range(part * size, min((part + 1) * size, x.size), tile):
            _normalise(activation, x[a : a + tile], high, scale, shift, y[a : a + tile])


@kernel(_FORWARD)
def _forward_serial(activation, x, weight, bias, eps, workers, y, mean, variance):  # type: ignore[no-untyped-def]
    tile, block, size = layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    means, squares = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    moments(x, tile, block, size, 0, parts, means, squares)
    join_moments(means, squares, size // mean.size, x.size // mean.size, mean, variance)
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    _results(activation, x, y, tile, size, 0, parts, high, scale, shift)


@kernel(_FORWARD, parallel=True)
def _forward_parallel(activation, x, weight, bias, eps, workers, y, mean, variance):  # type: ignore[no-untyped-def]
    tile, block, size = layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    means, squares = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    for worker in prange(workers):
        first, end = share(parts, worker, workers)
        moments(x, tile, block, size, first, end, means, squares)
    join_moments(means, squares, size // mean.size, x.size // mean.size, mean, variance)
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    for worker in prange(workers):
        first, end = share(parts, worker, workers)
        _results(activation, x, y, tile, size, first, end, high, scale, shift)


@compiled
def _part_sums(activation, dy, x, tile, block, high, scale, shift, dz_sum, dz_d_sum):  # type: ignore[no-untyped-def]
    dz_total, dz_d_total = np.zeros(tile, np.float32), np.zeros(tile, np.float32)
    dz_sum[:] = 0
    dz_d_sum[:] = 0
    for start in range(0, x.size, block):
        for first in range(start, min(start + block, x.size), tile):
            gradient, values = dy[first : first + tile], x[first : first + tile]
            _add_gradients(activation, gradient, values, high, scale, shift, dz_total, dz_d_total)
        fold(dz_total, dz_sum)
        fold(dz_d_total, dz_d_sum)


@compiled
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
    return repeat(slope, tile), repeat(offset, tile)


@compiled
def _sums(activation, dy, x, tile, block, size, first, end, high, scale, shift, sums, d_sums):  # type: ignore[no-untyped-def]
    for part in range(first, end):
        a, b = part * size, (part + 1) * size
        _part_sums(activation, dy[a:b], x[a:b], tile, block, high, scale, shift, sums[part], d_sums[part])


@compiled
def _input_gradients(activation, dy, x, dx, tile, size, first, end, high, scale, shift, slope, offset):  # type: ignore[no-untyped-def]
    for part in range(end - 1, first - 1, -1):
        for a in range(part * size, min((part + 1) * size, x.size), tile):
            _input_gradient(
                activation, dy[a : a + tile], x[a : a + tile], high, scale, shift, slope, offset, dx[a : a + tile]
            )


_BACKWARD = (
    f"void(int64, {_IN}, {_IN}, {_IN64}, {_IN64}, {_IN}, {_IN}, float64, int64,"
    " float32[::1], float32[::1], float32[::1])"
)


@kernel(_BACKWARD)
def _backward_serial(activation, dy, x, mean, variance, weight, bias, eps, workers, dx, dweight, dbias):  # type: ignore[no-untyped-def]
    tile, block, size = layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    sums, d_sums = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    _sums(activation, dy, x, tile, block, size, 0, parts, high, scale, shift, sums, d_sums)
    rows = x.size // mean.size
    slope, offset = _join_sums(sums, d_sums, mean, variance, weight, eps, rows, tile, dweight, dbias)
    _input_gradients(activation, dy, x, dx, tile, size, 0, parts, high, scale, shift, slope, offset)


@kernel(_BACKWARD, parallel=True)
def _backward_parallel(activation, dy, x, mean, variance, weight, bias, eps, workers, dx, dweight, dbias):  # type: ignore[no-untyped-def]
    tile, block, size = layout(x.size, mean.size)
    parts = (x.size + size - 1) // size
    high, scale, shift = _coefficients(mean, variance, weight, bias, eps, tile)
    sums, d_sums = np.empty((parts, mean.size)), np.empty((parts, mean.size))
    for worker in prange(workers):
        first, end = share(parts, worker, workers)
        _sums(activation, dy, x, tile, block, size, first, end, high, scale, shift, sums, d_sums)
    rows = x.size // mean.size
    slope, offset = _join_sums(sums, d_sums, mean, variance, weight, eps, rows, tile, dweight, dbias)
    for worker in prange(workers):
        first, end = share(parts, worker, workers)
        _input_gradients(activation, dy, x, dx, tile, size, first, end, high, scale, shift, slope, offset)


def _rows(x: Any) -> NDArray[np.float32]:
    rows = host_array(x, "x", np.float32, ("P", "C"))
    if 0 in rows.shape:
        raise ValueError(f"x: expected at least one row and one channel, got shape {rows.shape}")
    return rows


def _code(activation: str) -> int:
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    return _ACTIVATIONS[activation]


def _positive(eps: float) -> float:
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps: expected a finite number from 0, got {eps!r}")
    return float(eps)


def _workers(size: int) -> int:
    return numba.get_num_threads() if size >= _PARALLEL_ELEMENTS and lone_caller() else 1


def batch_norm_act(
    x: Any, weight: Any, bias: Any, eps: float = 1e-5, *, activation: str, out: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Normalise every channel by its own mean and variance over the rows, scale, shift, activate.

    Args:
        x: float32 [P, C], one row per sample and pixel: a channels-last activation seen flat. At least one row.
        weight, bias: float32 [C]: ``z = (x - mean) / sqrt(variance + eps) * weight + bias``.
        eps: added to the variance.
        activation: "silu" ``z * sigmoid(z)``, "relu", "relu6" ``min(max(z, 0), 6)`` or "identity".
        out: float32 [P, C] to write into.

    Returns:
        float32 [P, C], ``z`` activated; float64 [C] mean; float64 [C] biased variance. The statistics do not cancel
        when the mean is far from zero; all is the same for any number of threads. NaN stays in its channel.

    Raises:
        TypeError, ValueError: for another dtype or shape, or an unknown activation.

    No CUDA twin: torch's own kernels for the GPU are fast.

    Cost: two reads of ``x``, one write. Source: Ioffe and Szegedy 2015 (arXiv 1502.03167); SiLU after Elfwing et al.
    2018 (arXiv 1702.03118), ReLU6 after Krizhevsky 2010.
    """
    code = _code(activation)
    rows = _rows(x)
    channels = rows.shape[1]
    gain = host_array(weight, "weight", np.float32, (channels,))
    shift = host_array(bias, "bias", np.float32, (channels,))
    target = output_array(out, np.float32, rows.shape)
    mean, variance = np.empty(channels), np.empty(channels)
    workers = _workers(rows.size)
    run = _forward_parallel if workers > 1 else _forward_serial
    run(code, rows.reshape(-1), gain, shift, _positive(eps), workers, target.reshape(-1), mean, variance)
    return target, mean, variance


def batch_norm_act_backward(
    dy: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any,
    bias: Any,
    eps: float = 1e-5,
    *,
    activation: str,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of ``sum(dy * batch_norm_act(x, weight, bias, eps, activation=activation)[0])``.

    Args:
        dy: float32 [P, C], the gradient of the result.
        x, weight, bias, eps, activation: as given to `batch_norm_act`. At the ends that ReLU and ReLU6 clip to, the
            gradient is 0.
        mean, variance: float64 [C], as it returned them.
        out: float32 [P, C] to write the gradient of ``x`` into; not one of the inputs.

    Returns:
        float32 [P, C] for ``x`` (through the statistics, too), float32 [C] for ``weight``, float32 [C] for ``bias``.

    Raises:
        TypeError, ValueError: for another dtype or shape, or an unknown activation.

    No CUDA twin, like `batch_norm_act`. Cost: two reads of ``dy`` and of ``x``, one write.
    """
    code = _code(activation)
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
        code, upstream.reshape(-1), rows.reshape(-1), average, spread, gain, shift, _positive(eps), workers,
        target.reshape(-1), dweight, dbias,
    )  # fmt: skip
    return target, dweight, dbias
