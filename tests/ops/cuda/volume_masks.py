"""Small masks for the twins' tests."""

from __future__ import annotations

import numpy as np


def masks() -> dict[str, np.ndarray]:
    """By name: pictures and volumes, odd ones among them."""
    rng = np.random.default_rng(3)
    board = np.indices((3, 4, 5)).sum(0) % 2 == 0
    shell = np.pad(np.zeros((1, 2, 2), np.uint8), 1, constant_values=9)
    return {
        "no voxels": np.zeros((2, 0, 3), np.uint8),
        "one voxel": np.ones((1, 1, 1), np.bool_),
        "no foreground": np.zeros((3, 4), np.uint8),
        "all foreground": np.full((2, 3, 4), 255, np.uint8),
        "checkerboard": board,
        "shell": shell,
        "open shell": np.ascontiguousarray(shell[:, :, :-1]),
        "ring": np.pad(shell[1], 1),
        "picture": rng.random((7, 37)) < 0.55,
        "volume": (rng.random((3, 5, 7)) < 0.4).astype(np.uint8),
    }
