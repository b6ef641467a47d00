"""The twin of letterbox. The CPU's kernel may contract and reorder, so the last bits of both differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

PICTURES = [(1, 1), (5, 9), (17, 4), (40, 33)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", PICTURES)
@pytest.mark.parametrize("size", [(8, 12), (20, 35)])
def test_grey_levels(twin: Any, shape: tuple[int, int], size: tuple[int, int]) -> None:
    twin.check(ops.letterbox, picture(*shape), size, within=1e-4)


@pytest.mark.parametrize("options", [{"swap_channels": True}, {"center": True, "fill": 0}, {"center": False}])
def test_options(twin: Any, options: dict[str, Any]) -> None:
    twin.check(ops.letterbox, picture(13, 30), (16, 20), mean=(1, 2, 3), std=(50, 60, 70), within=1e-5, **options)


def test_border_is_left_as_it_is(twin: Any) -> None:
    for border in (True, False):
        out = np.full((3, 9, 9), -7, np.float32)
        twin.check(ops.letterbox, picture(4, 9), (9, 9), border=border, out=out, on_device=("out",), within=1e-4)
