"""Masks to try the mask operators on, and what pycocotools makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco


def coco_rle(mask: np.ndarray) -> dict[str, Any]:
    """pycocotools' RLE of what is not zero, with the counts as a str as JSON holds them."""
    rle = coco.encode(np.asfortranarray((mask != 0).astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def random_masks(seed: int, count: int, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [count, H, W] of 0 and 1: noise, discs, an empty and a full one, in turn."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]

    def disc() -> np.ndarray:
        radius = rng.uniform(0.1, 0.6) * max(shape)
        inside: np.ndarray = (y - rng.uniform(0, shape[0])) ** 2 + (x - rng.uniform(0, shape[1])) ** 2 < radius**2
        return inside

    kinds = [disc, lambda: rng.random(shape) < 0.5, disc, lambda: rng.random(shape) < 0.02]
    kinds += [lambda: np.zeros(shape, np.bool_), lambda: np.ones(shape, np.bool_)]
    return np.array([kinds[i % len(kinds)]() for i in range(count)], np.uint8).reshape(count, *shape)


SIDES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
MASKS = SIDES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 255])))

# Odd masks by name: those that trip an encoder.
ODD_MASKS = {
    "one pixel, background": np.zeros((1, 1), np.uint8),
    "one pixel, foreground": np.ones((1, 1), np.uint8),
    "empty": np.zeros((5, 7), np.uint8),
    "full": np.ones((5, 7), np.uint8),
    "one row": np.array([[0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1]], np.uint8),
    "one column": np.array([[0], [1], [1], [0], [1]], np.uint8),
    "chequered": np.indices((9, 8)).sum(0).astype(np.uint8) % 2,
    "columns that go on from foot to head": np.repeat([[0, 1, 1, 0, 1]], 3, 0).astype(np.uint8),
    "many values, all foreground": np.arange(1, 256, dtype=np.uint8).reshape(15, 17),
    "wide": random_masks(1, 1, (3, 5000))[0],
    "tall": random_masks(2, 1, (5000, 3))[0],
    "long runs": np.pad(np.ones((1, 2), np.uint8), ((2000, 1999), (1500, 1498))),  # five characters a run
    "columns first in memory": np.asfortranarray(random_masks(3, 1, (30, 40))[0]),
    "every second pixel of a larger one": random_masks(4, 1, (60, 80))[0, ::2, ::2],
    "mirrored": random_masks(5, 1, (30, 40))[0, ::-1, ::-1],
    "bool": random_masks(6, 1, (30, 40))[0].astype(np.bool_),
    "no row": np.zeros((0, 3), np.uint8),
    "no column": np.zeros((3, 0), np.uint8),
}
