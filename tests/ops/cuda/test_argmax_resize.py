"""The twin of argmax_resize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops
from ops import Placement

CASES: list[tuple[tuple[int, int, int], tuple[int, int], dict[str, Any]]] = [
    ((4, 5, 6), (11, 9), {}),
    ((1, 4, 4), (9, 9), {}),  # one plane against 0
    ((3, 1, 1), (4, 5), {}),
    ((2, 8, 8), (5, 3), {}),  # shrinks
    ((5, 4, 4), (13, 20), {"input_size": (16, 16), "placement": Placement(0.5, 0.6, 1, 2)}),
]


@pytest.mark.parametrize(("shape", "size", "options"), CASES)
def test_masks(twin: Any, shape: tuple[int, int, int], size: tuple[int, int], options: dict[str, Any]) -> None:
    logits = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    twin.check(ops.argmax_resize, logits, size, **options)


def test_ties_and_nan(twin: Any) -> None:
    """Whole numbers, so that nothing is rounded: the lower class wins a tie, NaN never wins."""
    logits = np.random.default_rng(4).integers(0, 2, (3, 4, 4)).astype(np.float32)
    twin.check(ops.argmax_resize, logits, (8, 8))
    logits[1, 1, 2] = np.nan
    twin.check(ops.argmax_resize, logits, (8, 8))
    twin.check(ops.argmax_resize, np.full((2, 2, 2), np.nan, np.float32), (3, 3))
