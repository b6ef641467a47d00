"""The twins of connected_components."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from volume_masks import masks

import ops


@pytest.mark.parametrize("name", masks())
def test_masks(twin: Any, name: str) -> None:
    mask = masks()[name]
    for connectivity in (4, 8) if mask.ndim == 2 else (6, 26):
        twin.check(ops.connected_components, mask, connectivity, moves=8)
        twin.check(ops.label_components, mask, connectivity, moves=8)


def test_out_and_refusals(twin: Any) -> None:
    mask = masks()["picture"]
    out = twin.send(np.zeros(mask.shape, np.int32))
    found = ops.connected_components(twin.send(mask), 8, out=out)
    np.testing.assert_array_equal(twin.fetch(out), ops.connected_components(mask, 8).labels)
    assert found.labels is out
    with pytest.raises(TypeError, match="mask: expected a uint8 array of shape"):
        ops.connected_components(twin.send(np.zeros((2, 3))), 4)
    with pytest.raises(ValueError, match="connectivity: expected 4 or 8 for 2 dimensions, got 6"):
        ops.connected_components(twin.send(mask), 6)
