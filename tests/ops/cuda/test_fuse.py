"""The twins of fused operators."""

from __future__ import annotations

from typing import Any

import numpy as np

import ops


@ops.operator("elementwise", dtype=np.uint8)
def brighter(x, gain):  # type: ignore[no-untyped-def]
    return x * gain


@ops.operator("elementwise", dtype=np.float32)
def normalised(x, mean):  # type: ignore[no-untyped-def]
    return (x - mean) * 0.25


@ops.operator("reduce", initial=0)
def total(a, b):  # type: ignore[no-untyped-def]
    return a + b


def test_fused(twin: Any) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    means = np.array([1, 2, 3], np.float32)
    twin.check(ops.fuse(brighter, normalised), picture, 1.7, means)
    twin.check(ops.fuse(brighter, total), picture, 1.7)
