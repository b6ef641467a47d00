"""The focal loss of independent (sigmoid) labels and its gradient, each in one pass over the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import exp32, lower_of
from ops._cuda import cuda, cuda_kernel
from ops._device import Memory, memory_of
from ops._kernel import kernel, lone_caller

# Division must not raise (a branch per element), so that the compiler may do eight elements at once.
_compiled = njit(nogil=True, cache=True, error_model="numpy")

_0, _1, _2 = np.float32(0.0), np.float32(1.0), np.float32(2.0)
# 2 artanh(s) = 2 s (1 + s^2/3 + s^4/5 + ...): with s up to 1/3 eight terms are good to 2e-8.
_TERMS = tuple(np.float32(1 / n) for n in (13, 11, 9, 7, 5, 3))


@_compiled
def _log1p(e):  # type: ignore[no-untyped-def]
    """log(1 + e) for e in 0..1, with all digits of a small e: libm's cannot be vectorised."""
    s = e / (_2 + e)
    square = s * s
    sum_ = np.float32(1 / 15)
    for term in _TERMS:
        sum_ = sum_ * square + term
    return _2 * s * (sum_ * square + _1)


@_compiled
def _parts(x, t):  # type: ignore[no-untyped-def]
    """The probability and its complement (each exact where small), what is missed of the target, the cross-entropy."""
    e = exp32(-lower_of(abs(x), np.float32(87.0)))
    large = _1 / (_1 + e)
    small = e * large
    p, q = (large, small) if x >= 0 else (small, large)
    softplus = _log1p(e)
    below, above = (_0, x) if x >= 0 else (-x, _0)
    return p, q, q * t + p * (_1 - t), (softplus + below) * t + (softplus + above) * (_1 - t)


@_compiled
def _loss(x, t, ones, zeros, gamma):  # type: ignore[no-untyped-def]
    _, _, missed, entropy = _parts(x, t)
    factor = missed * missed if gamma == 2.0 else np.float32(np.float64(missed) ** gamma)
    return factor * entropy * (ones * t + zeros * (_1 - t))


@_compiled
def _slope(x, t, ones, zeros, gamma):  # type: ignore[no-untyped-def]
    p, q, missed, entropy = _parts(x, t)
    falling = p * q * (_1 - _2 * t)  # of what is missed
    off = p * (_1 - t) - q * t  # the slope of the cross-entropy, p - t
    if gamma == 2.0:
        slope = missed * (_2 * falling * entropy + missed * off)
    else:
        # missed^(gamma - 1) could be infinite where missed * falling is not: divide first.
        factor = np.float32(np.float64(missed) ** gamma)
        slope = factor * (np.float32(gamma) * (falling / missed) * entropy + off)
    return slope * (ones * t + zeros * (_1 - t))


@_compiled
def _losses(logits, targets, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    if gamma == 2.0:  # a loop of its own, which is vectorised
        for i in range(logits.size):
            out[i] = _loss(logits[i], targets[i], ones, zeros, 2.0)
    else:
        for i in range(logits.size):
            out[i] = _loss(logits[i], targets[i], ones, zeros, gamma)


@_compiled
def _slopes(logits, targets, upstream, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    if gamma == 2.0:
        for i in range(logits.size):
            out[i] = _slope(logits[i], targets[i], ones, zeros, 2.0) * upstream[i]
    else:
        for i in range(logits.size):
            out[i] = _slope(logits[i], targets[i], ones, zeros, gamma) * upstream[i]


_READ = "Array(float32, 1, 'C', readonly=True)"
_FORWARD = f"void({_READ}, {_READ}, float32, float32, float64, float32[::1])"
_BACKWARD = f"void({_READ}, {_READ}, {_READ}, float32, float32, float64, float32[::1])"
_PART = 4096


@kernel(_FORWARD)
def _forward(logits, targets, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    _losses(logits, targets, ones, zeros, gamma, out)


@kernel(_FORWARD, parallel=True)
def _forward_parallel(logits, targets, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    for part in prange((out.size + _PART - 1) // _PART):
        s = slice(part * _PART, min((part + 1) * _PART, out.size))
        _losses(logits[s], targets[s], ones, zeros, gamma, out[s])


@cuda_kernel(_FORWARD)
def _forward_twin(logits, targets, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = _loss(logits[i], targets[i], ones, zeros, gamma)


@kernel(_BACKWARD)
def _backward(logits, targets, upstream, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    _slopes(logits, targets, upstream, ones, zeros, gamma, out)


@kernel(_BACKWARD, parallel=True)
def _backward_parallel(logits, targets, upstream, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    for part in prange((out.size + _PART - 1) // _PART):
        s = slice(part * _PART, min((part + 1) * _PART, out.size))
        _slopes(logits[s], targets[s], upstream[s], ones, zeros, gamma, out[s])


@cuda_kernel(_BACKWARD)
def _backward_twin(logits, targets, upstream, ones, zeros, gamma, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = _slope(logits[i], targets[i], ones, zeros, gamma) * upstream[i]


# About 0.1 ms of one core: below that a team of threads does not pay.
_PARALLEL_ELEMENTS = 65536


def sigmoid_focal_loss(logits: Any, targets: Any, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Any:
    """Return -alpha_t (1 - p_t)^gamma log(p_t) of every element, where p = sigmoid(logit).

    p_t is p where the target is 1 and 1 - p where it is 0, and the mixture in between; alpha_t likewise.

    Args:
        logits: float32 of any shape.
        targets: float32 of the same shape, 0..1.
        alpha: weight of the ones, 0..1 (the zeros weigh 1 - alpha); None weighs both 1.
        gamma: at least 0; 2, as in the paper, is the fast one.

    Returns:
        float32 of the shape of ``logits``, not reduced, to about 1e-6 of each loss; NaN of a logit that is NaN.
        Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017. Takes device arrays too.
    """
    memory = memory_of(logits=logits, targets=targets)
    x, t = _flat(memory, logits=logits, targets=targets)
    settings = _settings(alpha, gamma)
    out = memory.output(None, np.float32, tuple(np.shape(logits)))
    flat = out.reshape(x.size)
    if memory.on_device:
        memory.launch(_forward_twin, x.size, x, t, *settings, flat)
    else:
        parallel = x.size > _PARALLEL_ELEMENTS and lone_caller()
        (_forward_parallel if parallel else _forward)(x, t, *settings, flat)
    return out


def sigmoid_focal_loss_backward(
    logits: Any, targets: Any, upstream: Any, *, alpha: float | None = 0.25, gamma: float = 2.0
) -> NDArray[np.float32]:
    """Return the gradient of ``sum(upstream * sigmoid_focal_loss(logits, targets))`` with respect to ``logits``.

    Args:
        logits, targets, upstream: float32, all of one shape.
        alpha, gamma: as there.

    Returns:
        float32 of that shape. Takes device arrays too.
    """
    memory = memory_of(logits=logits, targets=targets, upstream=upstream)
    x, t, weight = _flat(memory, logits=logits, targets=targets, upstream=upstream)
    settings = _settings(alpha, gamma)
    out: NDArray[np.float32] = memory.output(None, np.float32, tuple(np.shape(logits)))
    flat = out.reshape(x.size)
    if memory.on_device:
        memory.launch(_backward_twin, x.size, x, t, weight, *settings, flat)
    else:
        parallel = x.size > _PARALLEL_ELEMENTS and lone_caller()
        (_backward_parallel if parallel else _backward)(x, t, weight, *settings, flat)
    return out


def _settings(alpha: float | None, gamma: float) -> tuple[np.float32, np.float32, float]:
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected 0..1 or None, got {alpha!r}")
    if not 0 <= gamma < float("inf"):
        raise ValueError(f"gamma: expected a finite number of at least 0, got {gamma!r}")
    ones, zeros = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    return np.float32(ones), np.float32(zeros), float(gamma)


def _flat(memory: Memory, **values: Any) -> list[Any]:
    """Check that all are float32 of the first one's shape, and see them as rows of numbers."""
    shape = tuple(np.shape(next(iter(values.values()))))
    first, *_ = values
    any_shape = tuple("..." for _ in shape)
    arrays = [
        memory.array(value, name, np.float32, any_shape if name == first else shape) for name, value in values.items()
    ]
    return [array.reshape(array.size) for array in arrays]
