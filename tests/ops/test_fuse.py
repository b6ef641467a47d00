"""Fused operators give what they give one by one, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@ops.operator("elementwise", dtype=np.uint8)
def brighter(x, gain):  # type: ignore[no-untyped-def]
    return x * gain


@ops.operator("elementwise", dtype=np.float32)
def normalised(x, mean, gain):  # type: ignore[no-untyped-def]
    return (x - mean) * gain


@ops.operator("elementwise")
def squared(x):  # type: ignore[no-untyped-def]
    return x * x


@ops.operator("reduce", initial=0)
def total(a, b):  # type: ignore[no-untyped-def]
    return a + b


PICTURE = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)


def test_steps_keep_their_dtypes() -> None:
    fused = ops.fuse(brighter, normalised, squared)
    one_by_one = squared(normalised(brighter(PICTURE, 1.7), [1.0, 2.0, 3.0], 0.01))
    found = fused(PICTURE, 1.7, [1.0, 2.0, 3.0], 0.01)
    assert found.dtype == one_by_one.dtype == np.float32
    np.testing.assert_array_equal(found, one_by_one)


def test_arguments_are_told_apart() -> None:
    fused = ops.fuse(brighter, normalised)
    assert str(fused.__signature__) == "(x, gain, mean, normalised_gain)"
    expected = normalised(brighter(PICTURE, 1.5), 100.0, 0.5)
    np.testing.assert_array_equal(fused(PICTURE, normalised_gain=0.5, mean=100.0, gain=1.5), expected)


def test_with_a_reduce_at_the_end() -> None:
    fused = ops.fuse(brighter, normalised, squared, total)
    expected = total(squared(normalised(brighter(PICTURE, 1.5), 100.0, 0.5)))
    np.testing.assert_array_equal(fused(PICTURE, 1.5, 100.0, 0.5), expected)
    assert fused(PICTURE, 1.5, 100.0, 0.5, axis=-1).shape == (37, 41)
    long = np.arange(100_000) % 256
    np.testing.assert_array_equal(ops.fuse(squared, total)(long), [(long**2).sum()])


def test_fused_ones_are_fused_again() -> None:
    fused = ops.fuse(ops.fuse(brighter, squared), ops.fuse(squared, total))
    assert fused(np.array([[2, 3]], np.uint8), 2.0)[0] == 4**4 + 6**4


def test_a_default_before_an_argument_without_one_has_to_be_given() -> None:
    offset = ops.operator()(lambda x, by=1: x + by)
    assert str(ops.fuse(offset, brighter).__signature__) == "(x, by, gain)"
    assert str(ops.fuse(brighter, offset).__signature__) == "(x, gain, by=1)"


@pytest.mark.parametrize(
    ("operators", "error", "message"),
    [
        ((), ValueError, "fuse: expected at least one operator, got none"),
        (
            (squared, abs),
            TypeError,
            "fuse: expected elementwise operators, and a reduce at most as the last, got <buil",
        ),
        (
            (total, squared),
            TypeError,
            "fuse: expected elementwise operators, and a reduce at most as the last, got <red",
        ),
        (
            (ops.operator("gather")(lambda i: i), squared),
            TypeError,
            "fuse: expected elementwise operators, and a reduc",
        ),
    ],
)
def test_refuses(operators: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.fuse(*operators)
    assert message in str(caught.value)
