"""Against OpenCV's distance of each pixel's middle to the outline."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.data.polygon import polygon_mask


def by_distance(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    outline = points.astype(np.float32)
    return np.array(
        [[cv2.pointPolygonTest(outline, (x + 0.5, y + 0.5), True) for x in range(size[1])] for y in range(size[0])]
    )


@pytest.mark.parametrize("seed", range(30))
def test_random_polygons(seed: int) -> None:
    """Stars around a point, partly outside of the picture; a middle on the outline may fall either way."""
    random = np.random.default_rng(seed)
    size = (24, 31)
    angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 40))))
    lengths = random.uniform(2, 20, len(angles))
    points = random.uniform((0, 0), (31, 24)) + lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distance = by_distance(points, size)
    differ = polygon_mask(points, size) != (distance > 0)
    assert np.abs(distance[differ]).max(initial=0) < 1e-4


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([[10, 5], [30, 5], [30, 20], [10, 20]], 300),
        ([[30, 20], [10, 20], [10, 5], [30, 5]], 300),  # the other way round
        ([[0, 0], [40, 0], [40, 30], [0, 30]], 1200),
        ([[-5, -5], [99, -5], [99, 99], [-5, 99]], 1200),
        ([[50, 5], [60, 5], [60, 15]], 0),
        ([[-9, 5], [-1, 5], [-1, 15]], 0),
        ([[3, 3], [3.4, 3], [3.4, 3.4]], 0),  # no middle inside
        ([[3.4, 3.4], [3.6, 3.4], [3.6, 3.6], [3.4, 3.6]], 1),  # around one middle
        ([[0, 0], [20, 20], [20, 0], [0, 20]], 200),  # a bow tie
        ([[0, 0], [20, 0], [20, 20], [0, 20], [0, 0], [20, 0], [20, 20], [0, 20]], 0),  # twice round: even
    ],
)
def test_areas(points: list[list[float]], area: int) -> None:
    mask = polygon_mask(np.array(points, np.float64), (30, 40))
    assert (mask.shape, mask.dtype) == ((30, 40), np.bool_)
    # The bow tie's crossing goes through middles: each of its 20 rows may have one pixel more or less.
    assert abs(int(mask.sum()) - area) <= (20 if area == 200 else 0)
