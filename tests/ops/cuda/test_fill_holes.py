"""The twins of fill_holes."""

from __future__ import annotations

from typing import Any

import pytest
from volume_masks import masks

import ops


@pytest.mark.parametrize("name", masks())
def test_masks(twin: Any, name: str) -> None:
    mask = masks()[name]
    for connectivity in (None, 8 if mask.ndim == 2 else 26):
        twin.check(ops.fill_holes, mask, connectivity, moves=8)
