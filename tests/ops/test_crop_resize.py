"""crop_resize against a float64 reference, against resize_normalize box by box, and against OpenCV's crops."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ops
from ops.crop_resize import _parallel, _serial


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def matrix(start: float, extent: float, count: int, size: int, antialias: bool) -> NDArray[np.float64]:
    """One axis of the definition as weights [count, size]: a triangle around each centre, brought to the sum of 1."""
    ratio = extent / count
    support = max(ratio, 1.0) if antialias else 1.0
    centres = start + (np.arange(count) + 0.5) * ratio
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centres[:, None]) / support)
    return weights / weights.sum(1, keepdims=True)


def reference(
    image: NDArray[np.uint8], box: Any, size: tuple[int, int], antialias: bool = True, fill: float = 114
) -> NDArray[np.float64]:
    """The definition in float64, one box, [h, w, 3] grey levels."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (float(v) for v in box)
    if np.isnan([x0, y0, x1, y1]).any():
        return np.full((*size, 3), fill)
    x0, x1, y0, y1 = (*np.clip([x0, x1], 0, width), *np.clip([y0, y1], 0, height))
    if not (x1 > x0 and y1 > y0):
        return np.full((*size, 3), fill)
    rows = matrix(y0, y1 - y0, size[0], height, antialias)
    columns = matrix(x0, x1 - x0, size[1], width, antialias)
    return np.einsum("yi,xj,ijc->yxc", rows, columns, image.astype(np.float64))


BOXES = {
    "whole": (0, 0, 40, 30),
    "inside": (3, 5, 20, 17),
    "fractional": (3.25, 5.5, 20.125, 17.75),
    "one pixel": (7, 8, 8, 9),
    "a sliver of a pixel": (7.25, 8.25, 7.5, 8.5),
    "sticks out": (-10, -3, 12, 50),
    "huge": (-1e30, -1e30, 1e30, 1e30),
    "infinite": (-np.inf, -np.inf, np.inf, np.inf),
    "infinite to the right": (10, 10, np.inf, 20),
    "wholly beside": (50, 5, 60, 15),
    "far beside": (1e30, 5, 2e30, 15),
    "touches the border": (40, 0, 50, 30),
    "empty": (5, 5, 5, 15),
    "inverted": (15, 5, 5, 15),
    "NaN": (np.nan, 5, 15, 15),
    "NaN at the end": (5, 5, 15, np.nan),
}


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (40, 64)])
def test_matches_the_definition(size: tuple[int, int], antialias: bool) -> None:
    image, boxes = picture(30, 40), np.array(list(BOXES.values()), np.float32)
    result = ops.crop_resize(image, boxes, size, antialias=antialias)
    assert (result.shape, result.dtype) == ((len(boxes), 3, *size), np.float32)
    for name, box, crop in zip(BOXES, boxes, result, strict=True):
        expected = reference(image, box, size, antialias).transpose(2, 0, 1)
        np.testing.assert_allclose(crop, expected, atol=2e-3, err_msg=name)


sides = st.one_of(st.floats(-60, 120, width=32), st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0, -0.0]))


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(sides, sides, sides, sides), max_size=4),
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    antialias=st.booleans(),
)
def test_any_boxes(boxes: Any, shape: tuple[int, int], size: tuple[int, int], antialias: bool) -> None:
    image, rows = picture(*shape), np.array(boxes, np.float32).reshape(-1, 4)
    result = ops.crop_resize(image, rows, size, antialias=antialias, fill=3)
    assert result.shape == (len(rows), 3, *size)
    for box, crop in zip(rows, result, strict=True):
        np.testing.assert_allclose(crop, reference(image, box, size, antialias, 3).transpose(2, 0, 1), atol=5e-3)


@pytest.mark.parametrize("swap", [False, True])
def test_is_resize_normalize_of_each_box(swap: bool) -> None:
    image, boxes = picture(333, 257), np.array([(0, 0, 257, 333), (10.5, 20.25, 200, 300), (1, 2, 5, 4)], np.float32)
    options: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
    crops = ops.crop_resize(image, boxes, (31, 33), swap_channels=swap, **options)
    for crop, (x0, y0, x1, y1) in zip(crops, boxes.tolist(), strict=True):
        region = (y0, x0, y1 - y0, x1 - x0)
        alone, _ = ops.resize_normalize(image, (31, 33), region=region, swap_channels=swap, **options)
        np.testing.assert_array_equal(crop, alone)


@pytest.mark.parametrize("box", [(10, 20, 250, 310), (0, 0, 256, 333), (31, 7, 129, 196)])  # each shrinks
def test_is_opencvs_crop(box: tuple[int, int, int, int]) -> None:
    image, (x0, y0, x1, y1) = picture(333, 257), box
    crop = ops.crop_resize(image, np.array([box], np.float32), (31, 33), antialias=False)[0]
    opencv = cv2.resize(image[y0:y1, x0:x1], (33, 31), interpolation=cv2.INTER_LINEAR)
    assert np.abs(crop.transpose(1, 2, 0) - opencv).max() <= 1


def test_no_boxes() -> None:
    result = ops.crop_resize(picture(9, 9), np.empty((0, 4), np.float32), (5, 6))
    assert result.shape == (0, 3, 5, 6)


def test_float16_is_the_float32_rounded() -> None:
    image, boxes = picture(90, 80), np.array([(3, 5, 50, 60), (np.nan, 0, 1, 1), (0, 0, 80, 90)], np.float32)
    options: dict[str, Any] = {"mean": (120, 110, 100), "std": (58, 57, 1e-4)}  # the last channel overflows
    whole = ops.crop_resize(image, boxes, (9, 7), **options)
    half = ops.crop_resize(image, boxes, (9, 7), dtype=np.float16, **options)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half, whole.astype(np.float16))
    assert np.isinf(half).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_writes_all_of_out_and_nothing_else(dtype: Any) -> None:
    image, boxes = picture(20, 30), np.array([(1, 2, 19, 17), (5, 5, 5, 5)], np.float32)
    held = np.full((4, 3, 6, 8), np.nan, dtype)
    result = ops.crop_resize(image, boxes, (6, 8), dtype=dtype, out=held[1:3])
    assert np.shares_memory(result, held)
    np.testing.assert_array_equal(held[1:3], ops.crop_resize(image, boxes, (6, 8), dtype=dtype))
    assert np.isnan(held[[0, 3]]).all()


def test_reads_any_layout() -> None:
    image = picture(24, 36)
    boxes = np.array([(1, 2, 30, 20), (4.5, 3, 9, 23)], np.float32)
    wide = np.zeros((2, 8), np.float32)
    wide[:, ::2] = boxes
    fixed = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)  # read-only
    expected = ops.crop_resize(image, boxes, (5, 7))
    for one in (fixed, np.asfortranarray(image)):
        np.testing.assert_array_equal(ops.crop_resize(one, wide[:, ::2], (5, 7)), expected)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    np.testing.assert_array_equal(
        ops.crop_resize(image[:, ::-1], boxes, (5, 7)), ops.crop_resize(mirrored, boxes, (5, 7))
    )


def test_serial_and_parallel_are_equal_to_the_bit() -> None:
    image, boxes = picture(333, 257), np.array([*BOXES.values()] * 3, np.float32)
    results = []
    for run in (_serial, _parallel):
        out = np.empty((len(boxes), 3, 23, 17), np.float32)
        gain, shift, fill = (np.array(v, np.float32) for v in ((0.017, 0.018, 0.019), (-2.1, -2, -1.8), (1, 2, 3)))
        run(image, boxes, True, np.arange(3), gain, shift, fill, out)
        results.append(out)
    np.testing.assert_array_equal(*results)


IMAGE, BOX = np.zeros((4, 5, 3), np.uint8), np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("image", "boxes", "size", "options", "error", "message"),
    [
        (IMAGE.astype(float), BOX, (8, 8), {}, TypeError, "image: expected a uint8 array of shape [H, W, 3], got"),
        (IMAGE[..., 0], BOX, (8, 8), {}, ValueError, "image: expected a uint8 array of shape [H, W, 3], got uint8"),
        (IMAGE[:0], BOX, (8, 8), {}, ValueError, "image: expected at least one pixel, got shape (0, 5, 3)"),
        (IMAGE, BOX.astype(float), (8, 8), {}, TypeError, "boxes: expected a float32 array of shape [N, 4], got float"),
        (IMAGE, BOX[0], (8, 8), {}, ValueError, "boxes: expected a float32 array of shape [N, 4], got float32 array"),
        (IMAGE, BOX[:, :3], (8, 8), {}, ValueError, "got float32 array of shape (2, 3)"),
        (IMAGE, BOX, (0, 8), {}, ValueError, "size: expected a positive (height, width), got (0, 8)"),
        (IMAGE, BOX, (8, 8), {"fill": -1}, ValueError, "fill: expected a grey level from 0 to 255, got -1"),
        (IMAGE, BOX, (8, 8), {"std": (1, 0, 1)}, ValueError, "std positive, got"),
        (IMAGE, BOX, (8, 8), {"dtype": np.float64}, TypeError, "dtype: expected float32 or float16, got float64"),
        (IMAGE, BOX, (8, 8), {"out": np.zeros((2, 3, 8, 9), np.float32)}, ValueError, "float32 array of shape (2, 3,"),
        (IMAGE, BOX, (8, 8), {"out": np.zeros((2, 3, 8, 8), np.float16)}, ValueError, "C-contiguous float32 array"),
    ],
)  # fmt: skip
def test_refuses(
    image: Any, boxes: Any, size: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ops.crop_resize(image, boxes, size, **options)
    assert message in str(caught.value)
