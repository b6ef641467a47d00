"""The twins of resample_volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

CASES = [
    ((1, 1, 1), (1, 1, 1), (0.5, 1, 2)),
    ((3, 4, 5), (1, 1, 1), (1.5, 0.7, 1.9)),
    ((2, 1, 9), (2, 1, 0.6), (1, 1, 1)),
]


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize(("shape", "spacing", "new_spacing"), CASES)
def test_volumes(twin: Any, shape: Any, spacing: Any, new_spacing: Any, dtype: Any) -> None:
    volume = (200 * np.random.default_rng(4).random(shape)).astype(dtype)
    if dtype == np.float32:
        volume[0, 0, -1] = np.inf
    twin.check(ops.resample_volume, volume, spacing, new_spacing)
    twin.check(ops.resample_volume, volume, spacing, new_spacing, shape=(2, 2, 3))


def test_out_and_refusals(twin: Any) -> None:
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    out = twin.send(np.zeros((2, 3, 2), np.int16))
    assert ops.resample_volume(twin.send(volume), (1, 1, 1), (1, 1, 2), out=out) is out
    np.testing.assert_array_equal(twin.fetch(out), ops.resample_volume(volume, (1, 1, 1), (1, 1, 2)))
    with pytest.raises(TypeError, match="volume: expected int16 or uint8 or float32, got float64 device array"):
        ops.resample_volume(twin.send(volume.astype(float)), (1, 1, 1), (1, 1, 1))
