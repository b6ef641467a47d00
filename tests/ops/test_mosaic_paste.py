"""mosaic_paste against the bilinear definition: what is written, where, and that the rest is left alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

import ops

CANVAS = (40, 50)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def sample(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of a picture at pixel coordinates (centres at whole numbers), clamped to it."""
    y, x = np.clip(y, 0, image.shape[0] - 1), np.clip(x, 0, image.shape[1] - 1)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    y1, x1 = np.minimum(y0 + 1, image.shape[0] - 1), np.minimum(x0 + 1, image.shape[1] - 1)
    wy, wx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    grey = image.astype(np.float64)
    upper = grey[y0][:, x0] * (1 - wx) + grey[y0][:, x1] * wx
    lower = grey[y1][:, x0] * (1 - wx) + grey[y1][:, x1] * wx
    return upper * (1 - wy) + lower * wy


# picture, scale, offset, region, written (y0, x0, y1, x1)
PASTES = [
    ((40, 50), (1, 1), (0, 0), None, (0, 0, 40, 50)),
    ((20, 25), (2, 2), (0, 0), None, (0, 0, 40, 50)),
    ((80, 100), (0.5, 0.5), (0, 0), None, (0, 0, 40, 50)),
    ((33, 47), (0.7, 0.9), (3, 4), None, (3, 4, 26, 46)),
    ((33, 47), (1.3, 1.3), (-7.4, -11.6), None, (0, 0, 36, 50)),  # a corner outside, between pixels
    ((33, 47), (1.3, 1.3), (5.5, 6.5), (10, 0, 20, 30), (10, 6, 20, 30)),  # the region cuts
    ((33, 47), (1, 1), (0, 0), (-5, -5, 400, 400), (0, 0, 33, 47)),  # a region larger than the canvas
    ((1, 1), (10, 10), (4, 4), None, (4, 4, 14, 14)),
    ((1, 1), (1, 1), (39, 49), None, (39, 49, 40, 50)),  # the last pixel
    ((2, 3), (100, 100), (-50, -50), None, (0, 0, 40, 50)),  # magnified past the canvas
]


@pytest.mark.parametrize(("size", "scale", "offset", "region", "written"), PASTES)
def test_writes_the_resized_picture_into_its_region_only(
    size: Any, scale: Any, offset: Any, region: Any, written: Any
) -> None:
    image, canvas = picture(size), picture(CANVAS, 1)
    before = canvas.copy()
    assert ops.mosaic_paste(image, canvas, scale=scale, offset=offset, region=region) == written
    y0, x0, y1, x1 = written
    y = (np.arange(y0, y1) + 0.5 - offset[0]) / scale[0] - 0.5
    x = (np.arange(x0, x1) + 0.5 - offset[1]) / scale[1] - 0.5
    assert np.abs(canvas[y0:y1, x0:x1] - sample(image, y, x)).max() <= 0.501  # rounded to whole grey levels
    canvas[y0:y1, x0:x1] = before[y0:y1, x0:x1]
    np.testing.assert_array_equal(canvas, before)


@pytest.mark.parametrize("size", [(20, 25), (80, 100), (120, 150), (13, 7)])
def test_stays_within_a_grey_level_of_opencv(size: Any) -> None:
    image, canvas = picture(size), np.zeros((*CANVAS, 3), np.uint8)
    ops.mosaic_paste(image, canvas, scale=(CANVAS[0] / size[0], CANVAS[1] / size[1]), offset=(0, 0))
    opencv = cv2.resize(image, CANVAS[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(canvas.astype(int) - opencv).max() <= 1


def test_unscaled_paste_is_a_copy() -> None:
    image, canvas = picture((10, 12)), picture(CANVAS, 1)
    ops.mosaic_paste(image, canvas, scale=(1, 1), offset=(5, 6))
    np.testing.assert_array_equal(canvas[5:15, 6:18], image)


@pytest.mark.parametrize(
    ("scale", "offset", "region"),
    [
        ((1, 1), (40, 0), None),  # below the canvas
        ((1, 1), (0, -50), None),  # left of it
        ((1, 1), (1e30, -1e30), None),
        ((1e-9, 1e-9), (0, 0), None),  # too small for a pixel
        ((1, 1), (0, 0), (20, 20, 20, 30)),  # an empty region
        ((1, 1), (0, 0), (30, 0, 20, 10)),  # an inverted one
        ((1, 1), (0, 0), (100, 100, 200, 200)),
    ],
)
def test_writes_nothing_where_nothing_is_to_be_seen(scale: Any, offset: Any, region: Any) -> None:
    canvas = picture(CANVAS, 1)
    before = canvas.copy()
    y0, x0, y1, x1 = ops.mosaic_paste(picture((20, 20)), canvas, scale=scale, offset=offset, region=region)
    assert (y1 - y0, x1 - x0) == (0, 0)
    np.testing.assert_array_equal(canvas, before)


def test_reads_views_and_read_only_pictures() -> None:
    image = picture((20, 20))[::2, ::-1]
    image.flags.writeable = False
    canvas = np.zeros((10, 20, 3), np.uint8)
    ops.mosaic_paste(image, canvas, scale=(1, 1), offset=(0, 0))
    np.testing.assert_array_equal(canvas, image)


def _read_only() -> np.ndarray:
    canvas = np.zeros((8, 8, 3), np.uint8)
    canvas.flags.writeable = False
    return canvas


IMAGE, SHEET = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "canvas", "scale", "offset", "error", "message"),
    [
        (IMAGE / 1, SHEET, (1, 1), (0, 0), TypeError, "image: expected a uint8 array of shape [H, W, 3], got float64"),
        (IMAGE, SHEET / 1, (1, 1), (0, 0), ValueError, "canvas: expected a writable C-contiguous uint8 array of shape"),
        (IMAGE, SHEET[:, ::2], (1, 1), (0, 0), ValueError, "canvas: expected a writable C-contiguous uint8 array"),
        (IMAGE, _read_only(), (1, 1), (0, 0), ValueError, "canvas: expected a writable C-contiguous uint8 array"),
        (
            IMAGE,
            SHEET[..., 0].copy(),
            (1, 1),
            (0, 0),
            ValueError,
            "canvas: expected a uint8 array of shape [h, w, 3], got uint8 array of shape (8, 8)",
        ),
        (IMAGE[:0], SHEET, (1, 1), (0, 0), ValueError, "image: expected at least one pixel, got shape (0, 8, 3)"),
        (
            SHEET[2:],
            SHEET,
            (1, 1),
            (0, 0),
            ValueError,
            "canvas: expected memory of its own, got one that shares memory",
        ),
        (IMAGE, SHEET, (0, 1), (0, 0), ValueError, "scale: expected two positive numbers, got (0, 1)"),
        (IMAGE, SHEET, (1, np.nan), (0, 0), ValueError, "scale: expected two positive numbers, got (1, nan)"),
        (IMAGE, SHEET, (np.inf, 1), (0, 0), ValueError, "scale: expected two positive numbers, got (inf, 1)"),
        (IMAGE, SHEET, (1, 1), (np.nan, 0), ValueError, "offset: expected two finite numbers, got (nan, 0)"),
    ],
)
def test_refuses(image: Any, canvas: Any, scale: Any, offset: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.mosaic_paste(image, canvas, scale=scale, offset=offset)
    assert message in str(caught.value)
