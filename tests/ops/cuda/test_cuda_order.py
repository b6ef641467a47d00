"""Sorting and picking on the device, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ops import _cuda_order
from ops._cuda_order import marked_indices, stable_order
from ops._device import memory_of


@pytest.mark.parametrize("count", [1, 3, 4, 5, 23, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_stable_order(twin: Any, monkeypatch: pytest.MonkeyPatch, count: int, dtype: Any) -> None:
    monkeypatch.setattr(_cuda_order, "_TILE", 4)
    keys = np.random.default_rng(count).integers(-3, 4, count).astype(dtype)
    if dtype == np.float32 and count > 4:
        keys[1], keys[3], keys[4], keys[0] = np.nan, np.inf, -0.0, np.nan
    there = twin.send(keys)
    sorted_keys, order = map(twin.fetch, stable_order(memory_of(keys=there), there))
    expected = np.argsort(keys, kind="stable")
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(sorted_keys, keys[expected])


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("count", [0, 1, 64, 65, 9000])
def test_marked_indices(twin: Any, count: int, limit: int | None) -> None:
    flags = (np.random.default_rng(count).integers(0, 3, count) == 1).astype(np.uint8)
    there = twin.send(flags)
    twin.moved.clear()
    answer = marked_indices(memory_of(flags=there), there, limit)
    assert sum(twin.moved) <= 8
    np.testing.assert_array_equal(twin.fetch(answer), np.flatnonzero(flags)[:limit])
