"""resize_normalize against Pillow's antialiased resize, OpenCV's plain one and the triangle filter in float64."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ops
from ops import Placement
from ops.resize_normalize import _parallel, _serial

# picture (height, width), result (height, width), region (top, left, height, width)
CASES: list[tuple[Any, Any, Any]] = [
    ((32, 32), (32, 32), None),  # nothing to do
    ((64, 64), (32, 32), None),  # half
    ((16, 16), (32, 32), None),  # double
    ((480, 640), (224, 224), None),
    ((333, 217), (96, 160), None),  # smaller one way, almost kept the other
    ((97, 33), (64, 300), None),  # smaller one way, larger the other
    ((1, 1), (5, 7), None),
    ((1, 50), (3, 8), None),
    ((50, 1), (8, 3), None),
    ((2, 3), (31, 32), None),
    ((5, 7), (1, 1), None),
    ((1, 4000), (2, 3), None),  # windows of thousands of pixels
    ((4000, 1), (1, 1), None),
    ((60, 80), (32, 40), (10, 20, 32, 40)),  # cut out, not resized
    ((60, 80), (40, 40), (0, 20, 32, 60)),  # to the right border
    ((60, 80), (20, 21), (28.25, 0.5, 31.75, 40.125)),  # between pixels, to the lower border
    ((60, 80), (33, 44), (12.3, 45.6, 7.8, 9.1)),  # magnified: the neighbours beside the region count
    ((60, 80), (4, 6), (59.25, 79.5, 0.5, 0.25)),  # within the last pixel
    ((60, 80), (3, 3), (0.75, 0.25, 59, 79)),
]


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def triangle(start: float, extent: float, new: int, old: int) -> np.ndarray:
    """The definition, averaging: weights [new, old] of each source pixel's centre, of sum 1."""
    ratio = extent / new
    centre = start + (np.arange(new) + 0.5) * ratio
    distance = np.abs(np.arange(old) + 0.5 - centre[:, None]) / max(ratio, 1)
    weights: np.ndarray = np.maximum(0, 1 - distance)
    weights /= weights.sum(1, keepdims=True)
    return weights


def nearest_two(start: float, extent: float, new: int, old: int) -> np.ndarray:
    """The definition, not averaging: weights [new, old], the border's pixels repeated."""
    at = np.clip(start + (np.arange(new) + 0.5) * extent / new - 0.5, 0, old - 1)
    low = np.floor(at).astype(int)
    weights, rows = np.zeros((new, old)), np.arange(new)
    weights[rows, low] = 1 - (at - low)
    weights[rows, np.minimum(low + 1, old - 1)] += at - low
    return weights


def expected(image: np.ndarray, size: Any, region: Any, antialias: bool) -> np.ndarray:
    top, left, height, width = region or (0, 0, *image.shape[:2])
    weights = triangle if antialias else nearest_two
    rows = weights(top, height, size[0], image.shape[0])
    columns = weights(left, width, size[1], image.shape[1])
    result: np.ndarray = np.einsum("ai,ijc,bj->abc", rows, image.astype(np.float64), columns, optimize=True)
    return result


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("shape", "size", "region"), CASES)
def test_matches_the_definition(shape: Any, size: Any, region: Any, antialias: bool) -> None:
    image = picture(shape)
    result, placement = ops.resize_normalize(image, size, region=region, antialias=antialias)
    assert result.shape == (3, *size)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.transpose(1, 2, 0), expected(image, size, region, antialias), atol=1e-3)
    top, left, height, width = region or (0, 0, *shape)
    scale_y, scale_x = size[0] / height, size[1] / width
    assert placement == pytest.approx(Placement(scale_y, scale_x, -top * scale_y, -left * scale_x))


@pytest.mark.parametrize(("shape", "size", "region"), CASES)
def test_stays_within_a_grey_level_of_pillow(shape: Any, size: Any, region: Any) -> None:
    image = picture(shape)
    result, _ = ops.resize_normalize(image, size, region=region)
    top, left, height, width = region or (0, 0, *shape)
    box = (left, top, left + width, top + height)
    pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box=box))
    assert np.abs(result.transpose(1, 2, 0) - pillow).max() <= 1.001  # it rounds twice, to whole grey levels


@pytest.mark.parametrize(("shape", "size", "region"), [case for case in CASES if case[2] is None])
def test_without_averaging_it_stays_within_a_grey_level_of_opencv(shape: Any, size: Any, region: Any) -> None:
    image = picture(shape)
    result, _ = ops.resize_normalize(image, size, antialias=False)
    opencv = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(result.transpose(1, 2, 0) - opencv).max() <= 1


@settings(max_examples=100, deadline=None)
@given(st.data(), st.booleans())
def test_matches_the_definition_anywhere(data: Any, antialias: bool) -> None:
    draw = data.draw
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    top, left = (draw(st.floats(0, side - 0.0625)) for side in shape)
    height, width = (draw(st.floats(0.03125, side - at)) for side, at in zip(shape, (top, left), strict=True))
    image, region = picture(shape), (top, left, height, width)
    result, _ = ops.resize_normalize(image, size, region=region, antialias=antialias)
    np.testing.assert_allclose(result.transpose(1, 2, 0), expected(image, size, region, antialias), atol=1e-3)


@pytest.mark.parametrize("size", [(32, 32), (7, 5), (200, 150)])
@pytest.mark.parametrize("swap", [False, True])
def test_normalises_and_orders_channels(size: Any, swap: bool) -> None:
    image, mean, std = picture((40, 30)), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    result, _ = ops.resize_normalize(image, size, mean=mean, std=std, swap_channels=swap)
    wanted = (expected(image, size, None, True)[..., :: -1 if swap else 1] - mean) / std
    np.testing.assert_allclose(result, wanted.transpose(2, 0, 1), atol=1e-4)


@pytest.mark.parametrize("antialias", [True, False])
def test_untouched_size_keeps_the_grey_levels(antialias: bool) -> None:
    image = picture((32, 48))
    result, placement = ops.resize_normalize(image, (32, 48), antialias=antialias)
    np.testing.assert_array_equal(result, image.transpose(2, 0, 1).astype(np.float32))
    assert placement == Placement(1.0, 1.0, 0.0, 0.0)
    part, placement = ops.resize_normalize(image, (10, 20), region=(5, 6, 10, 20), antialias=antialias)
    np.testing.assert_array_equal(part, image[5:15, 6:26].transpose(2, 0, 1).astype(np.float32))
    assert placement == Placement(1.0, 1.0, -5.0, -6.0)


def test_fills_a_fitting_size_as_letterbox_does() -> None:
    image = picture((60, 80))
    for size in ((30, 40), (45, 60), (120, 160)):
        plain, placement = ops.resize_normalize(image, size, antialias=False)
        boxed, other = ops.letterbox(image, size)
        np.testing.assert_allclose(plain, boxed, atol=1e-3)
        assert placement == other


def test_placement_leads_from_the_picture_to_the_input() -> None:
    image, region = np.zeros((200, 300, 3), np.uint8), (20, 30, 160, 240)
    image[60:140, 90:210] = 255
    result, (scale_y, scale_x, top, left) = ops.resize_normalize(image, (80, 60), region=region)
    rows, columns = np.nonzero(result[0] > 127)
    assert (rows.min(), rows.max() + 1) == (60 * scale_y + top, 140 * scale_y + top)
    assert (columns.min(), columns.max() + 1) == (90 * scale_x + left, 210 * scale_x + left)


def test_a_region_may_stick_out_by_rounding() -> None:
    image = picture((60, 80))
    exact, _ = ops.resize_normalize(image, (9, 9), region=(10, 20, 50, 60))
    rounded, _ = ops.resize_normalize(image, (9, 9), region=(float(np.float32(10.0002)), 20, 50, 60.0001))
    np.testing.assert_allclose(rounded, exact, atol=0.01)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[..., ::-1],  # RGB seen as BGR
        lambda a: a[3:20:2, 5:30],
        np.asfortranarray,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.frombuffer(a.tobytes(), np.uint8).reshape(a.shape),  # read-only
    ],
)
def test_reads_any_layout(view: Any) -> None:
    image = view(picture((24, 36)))
    wanted = ops.resize_normalize(np.array(image, order="C"), (13, 17))[0]
    np.testing.assert_array_equal(ops.resize_normalize(image, (13, 17))[0], wanted)


def test_writes_all_of_out_and_nothing_else() -> None:
    batch = np.full((3, 3, 32, 32), np.nan, np.float32)
    image = picture((20, 90))
    result, _ = ops.resize_normalize(image, (32, 32), out=batch[1])
    assert np.shares_memory(result, batch)
    np.testing.assert_array_equal(batch[1], ops.resize_normalize(image, (32, 32))[0])
    assert np.isnan(batch[[0, 2]]).all()


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(33, 47), (480, 641), (1, 1), (16, 1999)])
def test_serial_and_parallel_are_equal_to_the_bit(shape: Any, antialias: bool) -> None:
    image, results = picture(shape), []
    gain, shift = np.array((0.017, 0.018, 0.019), np.float32), np.array((-2.1, -2, -1.8), np.float32)
    for run in (_serial, _parallel):
        out = np.empty((3, 117, 215), np.float32)
        run(image, 0.1, 0.2, shape[0] - 0.1, shape[1] - 0.3, antialias, np.arange(3), gain, shift, out)
        results.append(out)
    np.testing.assert_array_equal(results[0], results[1])


IMAGE = np.zeros((4, 5, 3), np.uint8)
PLANES = np.zeros((3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("image", "size", "options", "error", "message"),
    [
        (IMAGE / 1, (8, 8), {}, TypeError, "image: expected a uint8 array of shape [H, W, 3], got float64"),
        (IMAGE[..., 0], (8, 8), {}, ValueError, "image: expected a uint8 array of shape [H, W, 3], got uint8 array of"),
        (np.zeros((3, 40, 50), np.uint8), (8, 8), {}, ValueError, "shape (3, 40, 50)"),  # channels first
        (IMAGE[:0], (8, 8), {}, ValueError, "image: expected at least one pixel, got shape (0, 5, 3)"),
        (IMAGE[:, :0], (8, 8), {}, ValueError, "image: expected at least one pixel, got shape (4, 0, 3)"),
        (IMAGE, (0, 8), {}, ValueError, "size: expected a positive (height, width), got (0, 8)"),
        (IMAGE, (8, -1), {}, ValueError, "size: expected a positive (height, width), got (8, -1)"),
        (IMAGE, (8, 8), {"std": (1, 0, 1)}, ValueError, "mean, std: expected three finite numbers each, std positive"),
        (IMAGE, (8, 8), {"mean": (0, np.nan, 0)}, ValueError, "mean, std: expected three finite numbers each"),
        (IMAGE, (8, 8), {"mean": (0, 0)}, ValueError, "mean, std: expected three finite numbers each"),
        (IMAGE, (8, 8), {"out": PLANES[:, :, 1:]}, ValueError, "float32 array of shape (3, 8, 8), got"),
        (IMAGE, (8, 8), {"out": PLANES.astype(np.float64)}, ValueError, "out: expected a writable C-contiguous float"),
        (IMAGE, (8, 8), {"region": (0, 0, 4)}, ValueError, "region: expected (top, left, height, width) within the"),
        (IMAGE, (8, 8), {"region": (0, 0, 5, 4)}, ValueError, "the picture of 4 x 5, got (0, 0, 5, 4)"),  # sides mixed
        (IMAGE, (8, 8), {"region": (1, 0, 3.1, 5)}, ValueError, "the picture of 4 x 5, got (1, 0, 3.1, 5)"),
        (IMAGE, (8, 8), {"region": (0, -1, 2, 2)}, ValueError, "the picture of 4 x 5, got (0, -1, 2, 2)"),
        (IMAGE, (8, 8), {"region": (0, 0, 0, 2)}, ValueError, "the picture of 4 x 5, got (0, 0, 0, 2)"),
        (IMAGE, (8, 8), {"region": (2, 2, -1, 1)}, ValueError, "the picture of 4 x 5, got (2, 2, -1, 1)"),
        (IMAGE, (8, 8), {"region": (0, 0, np.nan, 2)}, ValueError, "the picture of 4 x 5, got (0, 0, nan, 2)"),
        (IMAGE, (8, 8), {"region": (0, 0, 2, np.inf)}, ValueError, "the picture of 4 x 5, got (0, 0, 2, inf)"),
    ],
)
def test_refuses(image: Any, size: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.resize_normalize(image, size, **options)
    assert message in str(caught.value)
