"""The twins of crop_resize. The CPU's kernel may contract and reorder, so the last bits of both differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

BOXES = np.array(
    [
        (0, 0, 21, 17), (2.5, 3.25, 12, 16.5), (7, 8, 8, 9), (-5, -5, 9, 40), (5, 5, 5, 9), (9, 2, 3, 9),
        (np.nan, 0, 9, 9), (30, 0, 40, 9), (-np.inf, -1e30, np.inf, 1e30),
    ],
    np.float32,
)  # fmt: skip


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (17, 21, 3), np.uint8)


@pytest.mark.parametrize("options", [{}, {"antialias": False, "swap_channels": True}])
def test_boxes(twin: Any, options: dict[str, Any]) -> None:
    twin.check(ops.crop_resize, picture(), BOXES, (4, 5), within=1e-4, **options)


def test_no_boxes(twin: Any) -> None:
    twin.check(ops.crop_resize, picture(), BOXES[:0], (4, 5))


def test_float16_into_out(twin: Any) -> None:
    out = np.full((2, 3, 3, 4), -7, np.float16)
    options: dict[str, Any] = {"mean": (1, 2, 3), "std": (50, 60, 70), "dtype": np.float16}
    # A sum that differs in its last bit may be rounded to the next float16, 2**-9 away in this range.
    twin.check(ops.crop_resize, picture(), BOXES[1:3], (3, 4), out=out, on_device=("out",), within=2**-9, **options)
