"""Masks of pictures and volumes to try the operators on volumes with, and SciPy's word for a connectivity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

CONNECTIVITIES = {2: (4, 8), 3: (6, 26)}

SIDES = st.one_of(arrays.array_shapes(min_dims=2, max_dims=2, max_side=24), arrays.array_shapes(min_dims=3, max_dims=3))
MASKS = SIDES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 255])))


def structure(dimensions: int, connectivity: int) -> np.ndarray:
    """What SciPy calls this connectivity."""
    return ndimage.generate_binary_structure(dimensions, 1 if connectivity in (4, 6) else dimensions)


def noise(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    """Bool, each voxel foreground with this probability."""
    mask: np.ndarray = np.random.default_rng(seed).random(shape) < density
    return mask


def checkerboard(shape: tuple[int, ...]) -> np.ndarray:
    mask: np.ndarray = np.indices(shape).sum(0) % 2 == 0
    return mask


def spiral(size: int) -> np.ndarray:
    """One path of one voxel's width to the middle: the runs of a row are joined only far below."""
    mask = np.zeros((size, size), np.uint8)
    y, x, dy, dx = 0, 0, 0, 1
    mask[0, 0] = 1
    for length in (n for k in range(size - 1, 0, -2) for n in (k, k)):
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = 1
        dy, dx = dx, -dy
    return mask


def comb(shape: tuple[int, int]) -> np.ndarray:
    """Teeth that only the last row joins, every other one shorter."""
    mask = np.zeros(shape, np.uint8)
    mask[:, ::2] = 1
    mask[: shape[0] // 2, ::4] = 0
    mask[-1] = 1
    return mask


ODD_MASKS: dict[str, np.ndarray] = {
    "one pixel of background": np.zeros((1, 1), np.uint8),
    "one pixel of foreground": np.ones((1, 1), np.uint8),
    "one voxel of foreground": np.ones((1, 1, 1), np.bool_),
    "no rows": np.zeros((0, 5), np.uint8),
    "no columns": np.zeros((5, 0), np.bool_),
    "no slices": np.zeros((0, 3, 4), np.uint8),
    "slices without pixels": np.zeros((4, 0, 0), np.uint8),
    "all foreground": np.full((5, 7, 9), 255, np.uint8),
    "one column": noise((67, 1), 0.5),
    "one row of odd length": noise((1, 65), 0.5),
    "a line along the slices": noise((67, 1, 1), 0.5),
    "picture checkerboard": checkerboard((9, 15)),
    "volume checkerboard": checkerboard((5, 7, 9)),
    "full rows of one pixel": np.ones((40, 1), np.uint8),
    "spiral": spiral(31),
    "spiral, standing": np.ascontiguousarray(spiral(17)[:, None, :]),
    "comb": comb((20, 33)),
    "comb, upside down": comb((20, 33))[::-1].copy(),
    "a row that ends and one that begins": np.array([[0, 1], [1, 0]], np.uint8),
    "two slices that touch at a corner": np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], np.uint8),
}

SIZES = [(3, 5), (17, 64), (64, 17), (33, 67), (2, 3, 5), (7, 31, 65), (20, 9, 67), (67, 5, 3)]


def drawn() -> Iterator[Any]:
    """Noise of many sizes and densities."""
    for seed, shape in enumerate(SIZES):
        for density in (0.05, 0.3, 0.5, 0.7, 0.95):
            yield noise(shape, density, seed)
