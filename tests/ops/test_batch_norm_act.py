"""Fused batch normalisation and activation against the formulas in float64 NumPy."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ops

kernels = importlib.import_module("ops.batch_norm_act")

SHAPES = [
    (2, 1), (2, 3), (5, 64), (7, 16), (33, 24), (170, 3), (171, 3), (512, 16), (4097, 24), (100_000, 1),
    (100_000, 3), (50_001, 16), (20_000, 64), (12_345, 256), (300, 1024), (3, 9000),
]  # fmt: skip
# name: value and slope at z, in float64
ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.where(z < 0, 0, z), lambda z: np.where(z <= 0, 0.0, 1.0)),
    "relu6": (
        lambda z: np.where(z < 0, 0, np.where(z > 6, 6, z)),
        lambda z: np.where((z <= 0) | (z >= 6), 0.0, 1.0),
    ),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
}
OFFSETS = [(0.0, 1.0), (-3.0, 20.0), (1e3, 1e-2), (1e3, 1.0), (5.0, 1e-4)]

each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def case(rows, channels, offset=0.5, spread=2.0, seed=0):
    random = np.random.default_rng(seed)
    x = (offset + spread * random.standard_normal((rows, channels))).astype(np.float32)
    weight = random.uniform(0.3, 2.0, channels).astype(np.float32)
    bias = random.standard_normal(channels).astype(np.float32)
    dy = random.standard_normal((rows, channels)).astype(np.float32)
    return x, weight, bias, dy


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def reference(x, weight, bias, eps, activation, dy=None):
    """Forward as (y, mean, variance), or with dy the gradients of x, weight and bias."""
    value, slope = ACTIVATIONS[activation]
    x, weight, bias = (a.astype(np.float64) for a in (x, weight, bias))
    mean, variance = x.mean(0), x.var(0)
    normalised = (x - mean) / np.sqrt(variance + eps)
    z = normalised * weight + bias
    if dy is None:
        return value(z), mean, variance
    dz = dy * slope(z)
    dnormalised = dz * weight
    dx = dnormalised - dnormalised.mean(0) - normalised * (dnormalised * normalised).mean(0)
    return dx / np.sqrt(variance + eps), (dz * normalised).sum(0), dz.sum(0)


def away_from_the_ends(dy, x, weight, bias, eps):
    """The gradient with zeros where rounding decides on which side of an end (0 or 6) a value lies."""
    z, _, _ = reference(x, weight, bias, eps, "identity")
    return np.where((np.abs(z) < 1e-4) | (np.abs(z - 6) < 1e-4), np.float32(0), dy)


def assert_close(actual, expected, tolerance=1e-5):
    """Each channel's greatest error, relative to its greatest value."""
    actual, expected = np.atleast_2d(actual), np.atleast_2d(expected)
    error = np.abs(actual - expected).max(0) / np.maximum(np.abs(expected).max(0), 1e-30)
    assert error.max() < tolerance, f"channel {error.argmax()}: relative error {error.max():.3g}"


@each_activation
@pytest.mark.parametrize(("rows", "channels"), SHAPES)
def test_forward_and_backward_agree_with_float64(rows, channels, activation):
    x, weight, bias, dy = case(rows, channels)
    dy = away_from_the_ends(dy, x, weight, bias, 1e-3)
    y, mean, variance = ops.batch_norm_act(x, weight, bias, 1e-3, activation=activation)
    expected, expected_mean, expected_variance = reference(x, weight, bias, 1e-3, activation)
    assert (y.dtype, mean.dtype, variance.dtype) == (np.float32, np.float64, np.float64)
    assert_close(y, expected) if rows > 4 else np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-6)
    gradients = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, 1e-3, activation=activation)
    dx, dweight, dbias = gradients
    expected_dx, expected_dweight, expected_dbias = reference(x, weight, bias, 1e-3, activation, dy)
    # Two rows normalise to +1 and -1 whatever they are: dx is almost nothing and lives from cancellation.
    scale = np.abs(dy).max() * weight / np.sqrt(variance + 1e-3)
    assert (np.abs(dx - expected_dx) / scale).max() < 1e-6
    if rows > 4:
        assert_close(dx, expected_dx)
    size = np.sqrt(rows) * np.abs(dy).max()  # sums of random signs may be near zero
    np.testing.assert_allclose(dweight, expected_dweight, rtol=1e-5, atol=1e-6 * size)
    np.testing.assert_allclose(dbias, expected_dbias, rtol=1e-5, atol=1e-6 * size)


@each_activation
@pytest.mark.parametrize(("offset", "spread"), OFFSETS)
@pytest.mark.parametrize("channels", [1, 16, 96])
def test_a_far_mean_costs_no_digits(offset, spread, channels, activation):
    x, weight, bias, dy = case(6000, channels, offset, spread)
    dy = away_from_the_ends(dy, x, weight, bias, 1e-12)
    y, mean, variance = ops.batch_norm_act(x, weight, bias, 1e-12, activation=activation)
    expected, expected_mean, expected_variance = reference(x, weight, bias, 1e-12, activation)
    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-6 * spread)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-6)
    assert_close(y, expected)
    gradients = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, 1e-12, activation=activation)
    for actual, wanted in zip(gradients, reference(x, weight, bias, 1e-12, activation, dy), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_an_unlike_beginning_does_not_spoil_the_variance():
    x = np.random.default_rng(3).standard_normal((90_000, 4)).astype(np.float32) * np.float32(1e-2)
    x[:200] += 1000
    _, mean, variance = ops.batch_norm_act(x, np.ones(4, np.float32), np.zeros(4, np.float32), activation="relu")
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(0), rtol=1e-6)


@each_activation
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_channel_gives_the_bias_activated(value, activation):
    x, weight, bias, dy = case(5000, 8)
    x[:, 3] = value
    y, mean, variance = ops.batch_norm_act(x, weight, bias, 1e-3, activation=activation)
    assert variance[3] <= 1e-12 * value**2
    expected, _, _ = reference(x, weight, bias, 1e-3, activation)
    np.testing.assert_allclose(y[:, 3], expected[:, 3], rtol=1e-5)
    dy = away_from_the_ends(dy, x, weight, bias, 1e-3)
    dx, _, _ = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, 1e-3, activation=activation)
    np.testing.assert_allclose(dx, reference(x, weight, bias, 1e-3, activation, dy)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("activation", "bias", "value", "slope"),
    [
        ("relu", 0.0, 0.0, 0.0), ("relu", 1e-30, 1e-30, 1.0), ("relu", -1e-30, 0.0, 0.0), ("relu", 7.0, 7.0, 1.0),
        ("relu6", 0.0, 0.0, 0.0), ("relu6", 6.0, 6.0, 0.0), ("relu6", 5.5, 5.5, 1.0), ("relu6", 7.0, 6.0, 0.0),
        ("identity", 0.0, 0.0, 1.0), ("silu", 0.0, 0.0, 0.5),
    ],
)  # fmt: skip
def test_a_value_at_an_end_has_the_gradient_of_torch(activation, bias, value, slope):
    """A constant channel lies at its bias exactly."""
    x, weight = np.full((700, 3), 2.5, np.float32), np.ones(3, np.float32)
    shift = np.full(3, bias, np.float32)
    y, *moments = ops.batch_norm_act(x, weight, shift, activation=activation)
    np.testing.assert_array_equal(y, np.float32(value))
    _, _, dbias = ops.batch_norm_act_backward(np.ones_like(x), x, *moments, weight, shift, activation=activation)
    np.testing.assert_array_equal(dbias, 700 * slope)


@each_activation
def test_the_gradient_is_the_slope_of_the_forward_pass(activation):
    random = np.random.default_rng(1)
    x, weight, bias, dy = (random.standard_normal(shape) for shape in ((6, 3), 3, 3, (6, 3)))
    weight, bias = 4 * weight, 3 + bias  # both ends of ReLU6 are met
    if activation == "relu6":
        z, _, _ = reference(x, weight, bias, 1e-3, "identity")
        assert z.min() < 0
        assert z.max() > 6

    def loss(*arguments):
        return (dy * reference(*arguments, 1e-3, activation)[0]).sum()

    inputs = [x, weight, bias]
    single = [a.astype(np.float32) for a in inputs]
    _, mean, variance = ops.batch_norm_act(*single, 1e-3, activation=activation)
    gradients = ops.batch_norm_act_backward(
        dy.astype(np.float32), single[0], mean, variance, *single[1:], 1e-3, activation=activation
    )
    for position, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in inputs]
                moved[position][index] += step
                ends.append(loss(*moved))
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-5)


def test_far_arguments_saturate_as_silu_does():
    y, _, _ = ops.batch_norm_act(
        np.array([[-1, -1], [1, 1]], np.float32), np.array([1e4, 50], np.float32), np.zeros(2, np.float32), 1e-12,
        activation="silu",
    )  # fmt: skip
    np.testing.assert_allclose(y[1], [1e4, 50], rtol=1e-6)
    assert abs(y[0, 0]) < 1e-30
    assert y[0, 1] == pytest.approx(-50 * np.exp(-50.0), rel=1e-5)


@each_activation
def test_not_a_number_stays_in_its_channel(activation):
    x, weight, bias, dy = case(1000, 5)
    x[17, 2] = np.nan
    y, mean, variance = ops.batch_norm_act(x, weight, bias, activation=activation)
    assert np.isnan(y).all(0).tolist() == np.isnan(mean).tolist() == np.isnan(variance).tolist()
    assert np.isnan(y).any(0).tolist() == [False, False, True, False, False]
    dx, _, _ = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, activation=activation)
    assert np.isnan(dx).all(0).tolist() == np.isnan(dx).any(0).tolist() == [False, False, True, False, False]


@each_activation
@pytest.mark.parametrize(("rows", "channels"), [(2, 1), (4097, 24), (100_000, 3), (12_345, 256)])
def test_serial_and_parallel_kernels_agree_to_the_bit(rows, channels, activation):
    code = kernels._ACTIVATIONS[activation]
    x, weight, bias, dy = case(rows, channels)
    results = []
    for forward, backward, workers in (
        (kernels._forward_serial, kernels._backward_serial, 1),
        (kernels._forward_parallel, kernels._backward_parallel, 2),
        (kernels._forward_parallel, kernels._backward_parallel, 5),
    ):
        y, dx = np.empty_like(x), np.empty_like(x)
        mean, variance = np.empty(channels), np.empty(channels)
        dweight, dbias = np.empty_like(weight), np.empty_like(bias)
        forward(code, x.reshape(-1), weight, bias, 1e-3, workers, y.reshape(-1), mean, variance)
        backward(
            code, dy.reshape(-1), x.reshape(-1), mean, variance, weight, bias, 1e-3, workers,
            dx.reshape(-1), dweight, dbias,
        )  # fmt: skip
        results.append((y, mean, variance, dx, dweight, dbias))
    for other in results[1:]:
        for actual, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_eight_threads_at_once():
    x, weight, bias, dy = case(20_000, 16)
    y, mean, variance = ops.batch_norm_act(x, weight, bias, activation="silu")
    dx, _, _ = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, activation="silu")

    def run(_):
        again, *moments = ops.batch_norm_act(x, weight, bias, activation="silu")
        return again, ops.batch_norm_act_backward(dy, x, *moments, weight, bias, activation="silu")[0]

    with ThreadPoolExecutor(8) as pool:
        for again, dx_again in pool.map(run, range(16)):
            np.testing.assert_array_equal(again, y)
            np.testing.assert_array_equal(dx_again, dx)


def test_out_receives_the_result():
    x, weight, bias, dy = case(100, 16)
    out = np.empty_like(x)
    y, mean, variance = ops.batch_norm_act(x, weight, bias, activation="relu", out=out)
    assert y is out
    np.testing.assert_array_equal(out, ops.batch_norm_act(x, weight, bias, activation="relu")[0])
    dx, _, _ = ops.batch_norm_act_backward(dy, x, mean, variance, weight, bias, activation="relu", out=out)
    assert dx is out


ONE = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((4, 3))}, TypeError, "x: expected a float32 array of shape [P, C], got float64"),
        ({"x": np.zeros((4, 3, 1), np.float32)}, ValueError, "x: expected a float32 array of shape [P, C]"),
        ({"x": np.zeros((0, 3), np.float32)}, ValueError, "x: expected at least one row and one channel"),
        ({"weight": np.ones(4, np.float32)}, ValueError, "weight: expected a float32 array of shape [3]"),
        ({"bias": np.ones(3)}, TypeError, "bias: expected a float32 array of shape [3], got float64"),
        ({"activation": "gelu"}, ValueError, "activation: expected one of identity, relu, relu6, silu, got 'gelu'"),
        ({"out": np.zeros((3, 4), np.float32)}, ValueError, "out: expected a writable C-contiguous float32"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"x": np.zeros((4, 3), np.float32), "weight": ONE, "bias": ONE, "activation": "relu"} | change
    with pytest.raises(error) as caught:
        ops.batch_norm_act(**arguments)
    assert message in str(caught.value)


def test_backward_names_a_wrong_gradient_and_wrong_moments():
    x, moments = np.zeros((4, 3), np.float32), np.ones(3)
    with pytest.raises(ValueError, match=r"dy: expected a float32 array of shape \[4, 3\]"):
        ops.batch_norm_act_backward(x[:2], x, moments, moments, ONE, ONE, activation="relu")
    with pytest.raises(TypeError, match=r"mean: expected a float64 array of shape \[3\]"):
        ops.batch_norm_act_backward(x, x, ONE, moments, ONE, ONE, activation="relu")
