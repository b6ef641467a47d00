"""The twins of window_hu."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

VALUES = [-32768, -1351, -1350, -1000, -600, -599, 0, 149, 150, 3000, 32767]


@pytest.mark.parametrize("target", [np.float32, np.uint8])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_values(twin: Any, dtype: Any, target: Any) -> None:
    for values in (VALUES, [], [VALUES, VALUES]):
        volume = np.array(values, dtype)
        twin.check(ops.window_hu, volume, -600, 1500, dtype=target)
    if dtype == np.float32:
        twin.check(ops.window_hu, np.array([np.nan, np.inf, -np.inf, -600.123], dtype), -600, 1499, dtype=target)


def test_refuses(twin: Any) -> None:
    with pytest.raises(TypeError, match="volume: expected int16 or float32, got int64 device array of shape"):
        ops.window_hu(twin.send(np.zeros(3, np.int64)), 0, 1)
