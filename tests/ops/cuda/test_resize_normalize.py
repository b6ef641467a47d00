"""The twins of resize_normalize. The CPU's kernel may contract and reorder, so the last bits of both differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

CASES: list[tuple[tuple[int, int], tuple[int, int], dict[str, Any]]] = [
    ((1, 1), (3, 4), {}),
    ((40, 33), (7, 9), {}),  # averages
    ((40, 33), (7, 9), {"antialias": False}),
    ((5, 4), (11, 17), {}),  # magnifies
    ((20, 30), (6, 6), {"region": (2.5, 3.25, 12.5, 20.0), "swap_channels": True}),
    ((9, 12), (9, 12), {"mean": (10, 20, 30), "std": (50, 60, 70)}),
]


@pytest.mark.parametrize(("shape", "size", "options"), CASES)
def test_pictures(twin: Any, shape: tuple[int, int], size: tuple[int, int], options: dict[str, Any]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    twin.check(ops.resize_normalize, picture, size, within=1e-4, **options)


def test_writes_into_out(twin: Any) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (6, 6, 3), np.uint8)
    out = twin.send(np.zeros((3, 4, 4), np.float32))
    answer, _ = ops.resize_normalize(twin.send(picture), (4, 4), out=out)
    assert answer is out
    assert np.abs(twin.fetch(out) - ops.resize_normalize(picture, (4, 4))[0]).max() < 1e-4
