"""The twin of rle_decode: a mask that is made on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@pytest.mark.parametrize("shape", [(1, 1), (9, 14), (40, 3)])
def test_decodes_into_device_memory(twin: Any, shape: tuple[int, int]) -> None:
    mask = (np.random.default_rng(10).integers(0, 4, shape) > 1).astype(np.uint8)
    rle = ops.rle_encode(mask)
    out = np.full(shape, 9, np.uint8)
    twin.check(ops.rle_decode, rle, out=out, on_device=("out",), moves=8 * (mask.size + 1))
    np.testing.assert_array_equal(out, mask)


def test_runs_of_no_pixel(twin: Any) -> None:
    rle = {"size": [2, 3], "counts": [0, 1, 0, 2, 3, 0]}
    twin.check(ops.rle_decode, rle, out=np.zeros((2, 3), np.uint8), on_device=("out",), moves=48)
