"""The twins of a user's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


@ops.operator("elementwise")
def affine(x, gain, offset):  # type: ignore[no-untyped-def]
    return x * gain + offset


@ops.operator("elementwise", dtype=np.uint8)
def as_byte(x):  # type: ignore[no-untyped-def]
    return x * 100.0


@ops.operator("reduce", initial=0)
def total(a, b):  # type: ignore[no-untyped-def]
    return a + b


@ops.operator("gather")
def moved(y, x, down, right):  # type: ignore[no-untyped-def]
    return y + down, x + right


@pytest.mark.parametrize(
    ("a", "b"), [((4, 5, 3), (4, 5, 1)), ((2, 3, 4), (3, 1)), ((7,), (7,)), ((2, 3), (3,)), ((0, 3), ())]
)
def test_elementwise(twin: Any, a: Any, b: Any) -> None:
    twin.check(affine, normal(*a), normal(*b), 0.5)
    twin.check(as_byte, normal(*a))


def test_lists_are_brought_to_the_device(twin: Any) -> None:
    twin.check(affine, normal(2, 2, 3), [1.0, 2.0, 3.0], 0.25, moves=12)


def test_into_out(twin: Any) -> None:
    twin.check(affine, normal(3, 4), 2.0, 1.0, out=np.zeros((3, 4), np.float32), on_device=("out",))


@pytest.mark.parametrize("length", [0, 1, 129])
def test_reduce(twin: Any, length: int) -> None:
    twin.check(total, normal(2, length))
    twin.check(total, normal(2, length), axis=-1)


def test_reduce_in_several_parts(twin: Any) -> None:
    twin.check(total, normal(1, 8200))


@pytest.mark.parametrize("by", [(1, -2), (0.25, -0.5), (np.nan, 0.0)])
def test_gather(twin: Any, by: tuple[float, float]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    twin.check(moved, picture, *by, fill=9)
    twin.check(moved, normal(4, 5), *by, shape=(3, 7))
