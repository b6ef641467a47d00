"""sigmoid_focal_loss and its gradient against the paper's formula in float64, and their extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import ops
from ops.sigmoid_focal_loss import _backward, _backward_parallel, _forward, _forward_parallel

Array = np.ndarray[Any, Any]


def plain(x: Array, t: Array, alpha: float | None, gamma: float) -> tuple[Array, Array]:
    """Equation 5 of Lin et al. and its derivative, worked out from log(p) and log(1 - p)."""
    x, t = x.astype(np.float64), t.astype(np.float64)
    log_p, log_q = -np.logaddexp(0, -x), -np.logaddexp(0, x)
    p, q = np.exp(log_p), np.exp(log_q)
    weight = 1.0 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
    missed = q * t + p * (1 - t)
    entropy = -log_p * t - log_q * (1 - t)
    slope = missed**gamma * (p * (1 - t) - q * t)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = slope + gamma * missed**gamma * np.nan_to_num(p * q * (1 - 2 * t) / missed) * entropy
    return weight * missed**gamma * entropy, weight * slope


FLOAT32 = {"dtype": np.float32, "shape": array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)}


@settings(max_examples=150, deadline=None)
@given(
    arrays(elements=st.floats(-50, 50, width=32), **FLOAT32),
    st.sampled_from([None, 0.0, 0.25, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.7]),
    st.booleans(),
)
def test_matches_the_formula(x: Array, alpha: float | None, gamma: float, soft: bool) -> None:
    targets = np.random.default_rng(x.size).uniform(size=x.shape)
    t = np.asarray(targets if soft else targets.round(), np.float32)
    loss, slope = plain(x, t, alpha, gamma)
    found = ops.sigmoid_focal_loss(x, t, alpha=alpha, gamma=gamma)
    assert (found.shape, found.dtype) == (x.shape, np.float32)
    np.testing.assert_allclose(found, loss, rtol=4e-6, atol=1e-30)
    gradient = ops.sigmoid_focal_loss_backward(x, t, np.ones_like(x), alpha=alpha, gamma=gamma)
    assert (gradient.shape, gradient.dtype) == (x.shape, np.float32)
    # Where a soft target is met nearly, what is left is a difference.
    np.testing.assert_allclose(gradient, slope, rtol=2e-5, atol=1e-6 if soft else 1e-30)


def test_by_hand() -> None:
    """p = 0.9 for a one: 0.25 * 0.1^2 * -log(0.9)."""
    found = ops.sigmoid_focal_loss(np.log(np.float32([9])), np.ones(1, np.float32))
    assert found[0] == pytest.approx(0.25 * 0.01 * 0.1053605, rel=1e-5)


EXTREMES = [
    # logit, target, gamma, loss, slope
    (0, 1, 2.0, np.log(2) / 4, -0.125 - np.log(2) / 4),
    (200, 1, 2.0, 0, 0),
    (-200, 0, 2.0, 0, 0),
    (200, 0, 2.0, 200, 1),
    (-200, 1, 2.0, 200, -1),
    (1e30, 0, 2.0, 1e30, 1),
    (-1e4, 1, 0.5, 1e4, -1),
    (1e4, 1, 0.5, 0, 0),
    (-3e38, 0, 0.5, 0, 0),
    (np.nan, 0, 2.0, np.nan, np.nan),
    (np.nan, 1, 0.5, np.nan, np.nan),
    (5, np.nan, 2.0, np.nan, np.nan),
]


@pytest.mark.parametrize(("logit", "target", "gamma", "loss", "slope"), EXTREMES)
def test_extremes(logit: float, target: float, gamma: float, loss: float, slope: float) -> None:
    x, t = np.full(9, logit, np.float32), np.full(9, target, np.float32)  # enough for a vector and a rest
    np.testing.assert_allclose(ops.sigmoid_focal_loss(x, t, alpha=None, gamma=gamma), loss, rtol=1e-6, atol=1e-15)
    found = ops.sigmoid_focal_loss_backward(x, t, np.ones(9, np.float32), alpha=None, gamma=gamma)
    np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-15)


def test_infinity_is_infinite_or_not_a_number() -> None:
    x = np.float32([np.inf, -np.inf, 1])
    found = ops.sigmoid_focal_loss(x, np.float32([0, 1, 1]))
    assert not np.isfinite(found[:2]).any()
    assert np.isfinite(found[2])


@pytest.mark.parametrize("gamma", [2.0, 1.5])
def test_serial_and_parallel_are_equal(gamma: float) -> None:
    x = np.random.default_rng(0).normal(0, 4, 9001).astype(np.float32)
    t = (x > 3).astype(np.float32)
    one, many = np.empty_like(x), np.empty_like(x)
    for serial, parallel, arguments in ((_forward, _forward_parallel, ()), (_backward, _backward_parallel, (x,))):
        serial(x, t, *arguments, np.float32(0.25), np.float32(0.75), gamma, one)
        parallel(x, t, *arguments, np.float32(0.25), np.float32(0.75), gamma, many)
        np.testing.assert_array_equal(one, many)
    np.testing.assert_allclose(one, plain(x, t, 0.25, gamma)[1] * x, rtol=2e-5, atol=1e-7)


def test_large_arrays_and_views() -> None:
    x = np.random.default_rng(0).normal(0, 4, (300, 400)).astype(np.float32)  # over the parallel size
    t = (x > 3).astype(np.float32)
    np.testing.assert_allclose(ops.sigmoid_focal_loss(x, t), plain(x, t, 0.25, 2.0)[0], rtol=4e-6)
    x.flags.writeable = False
    view = x.T[::3]
    np.testing.assert_array_equal(ops.sigmoid_focal_loss(view, t.T[::3]), ops.sigmoid_focal_loss(x, t).T[::3])


X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("logits", "targets", "upstream", "options", "error", "message"),
    [
        (X, X.astype(float), X, {}, TypeError, "targets: expected a float32 array of shape [2, 3], got float64 array"),
        (X.astype(int), X, X, {}, TypeError, "logits: expected a float32 array of shape [..., ...], got int64 array"),
        (X, X[:1], X, {}, ValueError, "targets: expected a float32 array of shape [2, 3], got float32 array of"),
        (X, X, X.T, {}, ValueError, "upstream: expected a float32 array of shape [2, 3], got float32 array of"),
        (X, X, X, {"alpha": 1.5}, ValueError, "alpha: expected 0..1 or None, got 1.5"),
        (X, X, X, {"gamma": -1}, ValueError, "gamma: expected a finite number of at least 0, got -1"),
        (X, X, X, {"gamma": np.nan}, ValueError, "gamma: expected a finite number of at least 0, got nan"),
    ],
)  # fmt: skip
def test_refuses(logits: Any, targets: Any, upstream: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.sigmoid_focal_loss_backward(logits, targets, upstream, **options)
    assert message in str(caught.value)
