"""Pictures that a bundle carries to check itself with: drawn, so that they belong to nobody.

They test arithmetic (decoding, scaling, network), not quality; a face detector may find nothing in them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIZES = ((240, 320), (333, 250))


def golden_pictures() -> list[NDArray[np.uint8]]:
    """Return RGB uint8 pictures of different sizes: a shaded ground, ellipses like heads, stripes, noise."""
    return [_draw(np.random.default_rng(seed), size) for seed, size in enumerate(SIZES)]


def _draw(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size
    ramp = np.linspace(40, 200, width, dtype=np.float32)
    ground = np.stack([np.tile(np.roll(ramp, shift), (height, 1)) for shift in (0, width // 3, width // 2)], axis=-1)
    noisy = np.clip(ground + rng.normal(0, 6, ground.shape), 0, 255)
    image: NDArray[np.uint8] = noisy.astype(np.uint8)
    for _ in range(4):
        side = int(rng.integers(24, 80))
        centre = (int(rng.integers(side, width - side)), int(rng.integers(side, height - side)))
        skin = (int(rng.integers(150, 230)), int(rng.integers(110, 180)), int(rng.integers(90, 150)))
        cv2.ellipse(image, centre, (side // 2, int(side * 0.66)), 0, 0, 360, skin, -1, cv2.LINE_AA)
        for eye in (-1, 1):
            at = (centre[0] + eye * side // 5, centre[1] - side // 6)
            cv2.circle(image, at, max(side // 14, 1), (30, 20, 20), -1, cv2.LINE_AA)
        if rng.random() < 0.5:
            low, wide = centre[1] + side // 12, side * 2 // 5
            cv2.rectangle(image, (centre[0] - wide, low), (centre[0] + wide, low + side // 2), (120, 190, 220), -1)
    return image
