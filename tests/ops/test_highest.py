"""The highest of a row and where it stands first, against NumPy: rows shorter and longer than a vector, odd numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from ops._highest import first_place, highest_number


@njit
def found(row: Any, start: int, count: int) -> Any:
    highest = highest_number(row, start, count)
    return highest, first_place(row, start, count, highest)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 32, 33, 80, 97])
@pytest.mark.parametrize("kind", ["random", "below 0", "few values", "zeros", "lowest", "infinite", "NaN between"])
def test_matches_numpy(count: int, kind: str) -> None:
    rng = np.random.default_rng(count)
    row = np.full(count + 8, 1e30, np.float32)  # higher, but outside
    for start in range(6):
        numbers = {
            "random": rng.normal(size=count),
            "below 0": -rng.random(count) - 1,
            "few values": rng.integers(0, 3, count),
            "zeros": rng.choice([0.0, -0.0], count),
            "lowest": np.full(count, -np.inf),
            "infinite": rng.choice([np.inf, -np.inf, 1], count),
            "NaN between": np.where((np.arange(count) > 0) & (rng.random(count) < 0.3), np.nan, rng.normal(size=count)),
        }[kind].astype(np.float32)
        row[start : start + count] = numbers
        highest, place = found(row, start, count)
        assert highest == np.nanmax(numbers)
        assert place == np.nanargmax(numbers)
        row[start : start + count] = 1e30
