"""Boxes for the twins' tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def boxes(count: int, seed: int, size: float = 60.0) -> NDArray[np.float32]:
    """Random boxes, many of which overlap."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size / 2, (count, 2))], 1).astype(np.float32)


def odd_boxes() -> NDArray[np.float32]:
    """Equal, empty, inverted, huge, tiny, infinite and NaN."""
    rows = [
        (0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 5), (10, 0, 20, 10), (5, 5, 5, 9), (8, 0, 2, 10), (2, 2, 4, 4),
        (0, 0, 1e30, 1e30), (0, 0, 1e-30, 2e-30), (0, 0, np.inf, 5), (-np.inf, 0, np.inf, 5), (np.nan, 0, 10, 10),
        (0, 0, 10, np.nan), (np.inf, np.inf, np.inf, np.inf),
    ]  # fmt: skip
    return np.array(rows, np.float32)


def turned_boxes(count: int, seed: int, size: float = 30.0) -> NDArray[np.float32]:
    """Random rotated boxes, many of which overlap."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, size, (count, 2)), rng.uniform(2, size / 2, (count, 2)), rng.uniform(-4, 4, (count, 1))
    return np.concatenate(rows, 1).astype(np.float32)
