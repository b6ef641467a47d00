"""The twins of boundary_distance."""

from __future__ import annotations

from typing import Any

import pytest
from volume_masks import masks

import ops


@pytest.mark.parametrize("name", [name for name in masks() if name != "picture"])
def test_masks(twin: Any, name: str) -> None:
    mask = masks()[name]
    # Among voxels at one distance the twin may take another one, whose sides add up to the last digit otherwise.
    for spacing in ((1, 1, 1), (2.5, 0.7, 0.9)):
        twin.check(ops.boundary_distance, mask, mask[::-1].copy(), spacing[-mask.ndim :], moves=16, within=1e-12)


def test_refuses(twin: Any) -> None:
    mask = masks()["ring"]
    with pytest.raises(ValueError, match=r"b: expected a bool array of shape \[6, 6\], got bool device array of shape"):
        ops.boundary_distance(twin.send(mask), twin.send(mask[1:] != 0), (1, 1))
