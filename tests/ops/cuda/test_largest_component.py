"""The twins of largest_component."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from volume_masks import masks

import ops


@pytest.mark.parametrize("name", masks())
def test_masks(twin: Any, name: str) -> None:
    mask = masks()[name]
    twin.check(ops.largest_component, mask, 4 if mask.ndim == 2 else 26, moves=8)


def test_of_equal_ones_the_first(twin: Any) -> None:
    kept = twin.check(ops.largest_component, np.array([[0, 1, 0, 1, 1, 0, 1, 1]], np.uint8), 4, moves=8)
    assert kept.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]
