"""channel_statistics against NumPy in float64 and against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import ops

# picture (height, width), region (top, left, height, width)
CASES: list[tuple[Any, Any]] = [
    ((1, 1), None),
    ((7, 5), None),
    ((480, 640), None),
    ((3, 511), None),
    ((3, 512), None),  # one strip of columns
    ((3, 513), None),
    ((2, 2000), None),
    ((70, 90), (0, 0, 70, 90)),
    ((70, 90), (3, 4, 50, 60)),
    ((70, 90), (69, 89, 1, 1)),
    ((70, 1300), (10, 7, 33, 1200)),
    ((70, 90), np.array([3, 4, 50, 60])),
]


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize(("shape", "region"), CASES)
def test_matches_numpy(shape: Any, region: Any) -> None:
    image = picture(shape)
    mean, std = ops.channel_statistics(image, region)
    assert mean.dtype == std.dtype == np.float64
    top, left, height, width = (0, 0, *shape) if region is None else region
    part = image[top : top + height, left : left + width].astype(np.float64)
    np.testing.assert_allclose(mean, part.mean((0, 1)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(std, part.std((0, 1)), rtol=0, atol=1e-9)


def test_matches_exact_fractions() -> None:
    image = picture((37, 41), 3)
    mean, std = ops.channel_statistics(image)
    for c in range(3):
        values = [int(v) for v in image[..., c].ravel()]
        exact = Fraction(sum(values), len(values))
        variance = sum((v - exact) ** 2 for v in values) / len(values)
        assert mean[c] == float(exact)
        assert std[c] == math.sqrt(variance)


@pytest.mark.parametrize("height", [65536, 65537, 140000])
def test_white_columns_of_many_rows_do_not_overflow(height: int) -> None:
    image = np.full((height, 2, 3), 255, np.uint8)
    mean, std = ops.channel_statistics(image)
    assert mean.tolist() == [255, 255, 255]
    assert std.tolist() == [0, 0, 0]
    image[0, 0] = 254
    mean, std = ops.channel_statistics(image)
    assert mean[1] == 255 - 1 / (2 * height)
    assert std[1] == pytest.approx(math.sqrt(2 * height - 1) / (2 * height), rel=1e-12)


def test_reads_views_and_read_only_pictures() -> None:
    image = picture((40, 50))[::-2, 3:40:3, ::-1]
    image.flags.writeable = False
    mean, std = ops.channel_statistics(image)
    np.testing.assert_allclose(mean, image.mean((0, 1)), atol=1e-9)
    np.testing.assert_allclose(std, image.std((0, 1)), atol=1e-9)


IMAGE = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "region", "error", "message"),
    [
        (IMAGE / 1, None, TypeError, "image: expected a uint8 array of shape [H, W, 3], got float64 array"),
        (IMAGE[..., 0], None, ValueError, "image: expected a uint8 array of shape [H, W, 3], got uint8 array of shape"),
        (IMAGE[:0], None, ValueError, "image: expected at least one pixel, got shape (0, 5, 3)"),
        (
            IMAGE,
            (0, 0, 4),
            ValueError,
            "region: expected (top, left, height, width) within the picture of 4 x 5, got (0",
        ),
        (IMAGE, (0, 0, 5, 4), ValueError, "the picture of 4 x 5, got (0, 0, 5, 4)"),
        (IMAGE, (-1, 0, 2, 2), ValueError, "the picture of 4 x 5, got (-1, 0, 2, 2)"),
        (IMAGE, (1, 1, 0, 2), ValueError, "the picture of 4 x 5, got (1, 1, 0, 2)"),
        (IMAGE, (3, 3, -1, 1), ValueError, "the picture of 4 x 5, got (3, 3, -1, 1)"),
        (IMAGE, (0, 0, 1.5, 2), TypeError, "region: expected whole numbers of pixels, got (0, 0, 1.5, 2)"),
    ],
)
def test_refuses(image: Any, region: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.channel_statistics(image, region)
    assert message in str(caught.value)
