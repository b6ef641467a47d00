"""Pictures with as much to tell them apart as photographs have: soft random fields with edges, drawn by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def photo(seed: int, size: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """RGB uint8 [H,W,3] of ``size`` (height, width); another size of the same seed is the same picture rescaled."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size[0] * 1j, 0 : 1 : size[1] * 1j]
    image = np.zeros((*size, 3))
    for _ in range(14):
        across, down = random.uniform(-22, 22, 2)
        phase, strength = random.uniform(0, 6.28), random.uniform(8, 30)
        image += strength * np.sin(across * x + down * y + phase)[..., None] * random.uniform(0.4, 1, 3)
    for _ in range(6):
        centre_y, centre_x, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.06, 0.25)
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
        image[inside] += random.uniform(-70, 70, 3)
    return np.clip(image + 128, 0, 255).astype(np.uint8)
