"""roi_align against sample-by-sample interpolation in float64, and its gradient against the transposed operator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ops
from ops.roi_align import _parallel, _parallel_backward, _serial, _serial_backward


def sample(plane: NDArray[np.float64], y: float, x: float) -> float:
    """One bilinear sample as Detectron2 takes it: clamped up to one feature beside the map, 0 beyond."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    i, j = int(y), int(x)
    below, right = min(i + 1, height - 1), min(j + 1, width - 1)
    upper = plane[i, j] * (1 - (x - j)) + plane[i, right] * (x - j)
    lower = plane[below, j] * (1 - (x - j)) + plane[below, right] * (x - j)
    return float(upper * (1 - (y - i)) + lower * (y - i))


def reference(
    features: NDArray[Any], boxes: Any, size: tuple[int, int], pictures: Any, scale: float, ratio: int, aligned: bool
) -> NDArray[np.float64]:
    result = np.zeros((len(boxes), features.shape[1], *size))
    for k, box in enumerate(np.asarray(boxes, np.float64)):
        if not np.isfinite(box).all():
            result[k] = np.nan
            continue
        x0, y0, x1, y1 = box * scale - (0.5 if aligned else 0.0)
        high, wide = (y1 - y0, x1 - x0) if aligned else (max(y1 - y0, 1.0), max(x1 - x0, 1.0))
        bin_y, bin_x = high / size[0], wide / size[1]
        count_y, count_x = (ratio, ratio) if ratio else (max(math.ceil(bin_y), 0), max(math.ceil(bin_x), 0))
        for i, j in np.ndindex(*size):
            ys = [y0 + (i + (s + 0.5) / count_y) * bin_y for s in range(count_y)]
            xs = [x0 + (j + (s + 0.5) / count_x) * bin_x for s in range(count_x)]
            for c in range(features.shape[1]):
                plane = features[pictures[k], c].astype(np.float64)
                total = sum(sample(plane, y, x) for y in ys for x in xs)
                result[k, c, i, j] = total / max(count_y * count_x, 1)
    return result


def maps(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


BOXES = {
    "inside": (10, 12, 60, 70),
    "whole": (0, 0, 104, 72),
    "fractional": (3.3, 5.7, 50.1, 33.9),
    "smaller than a feature": (20.5, 20.5, 22.5, 23.5),
    "sticks out": (-30, -20, 40, 50),
    "up to a feature beside": (104, 10, 110, 20),
    "wholly beside": (200, 10, 300, 50),
    "empty": (20, 20, 20, 40),
    "inverted": (60, 50, 20, 10),
    "a point": (33, 17, 33, 17),
}


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 7)])
def test_matches_the_definition(size: tuple[int, int], ratio: int, aligned: bool) -> None:
    features, boxes = maps(2, 3, 9, 13), np.array(list(BOXES.values()), np.float32)
    pictures = np.arange(len(boxes)) % 2
    found = ops.roi_align(features, boxes, size, pictures=pictures, scale=1 / 8, sampling_ratio=ratio, aligned=aligned)
    expected = reference(features, boxes, size, pictures, 1 / 8, ratio, aligned)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    for name, one, wanted in zip(BOXES, found, expected, strict=True):
        np.testing.assert_allclose(one, wanted, atol=2e-6, err_msg=name)


sides = st.integers(-300, 600).map(lambda eighths: eighths / 8)  # sums are exact, so that ceil has one answer


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(sides, sides, sides, sides), max_size=3),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.sampled_from([(1, 1), (2, 4), (4, 1)]),
    ratio=st.integers(0, 2),
    aligned=st.booleans(),
)
def test_any_boxes(boxes: Any, shape: Any, size: Any, ratio: int, aligned: bool) -> None:
    features, rows = maps(1, 1, *shape), np.array(boxes, np.float32).reshape(-1, 4)
    options: dict[str, Any] = {"scale": 0.25, "sampling_ratio": ratio, "aligned": aligned}
    found = ops.roi_align(features, rows, size, **options)
    expected = reference(features, rows, size, [0] * len(rows), 0.25, ratio, aligned)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("box", [(-1e30, -1e30, 1e30, 1e30), (-3e38, 0, 3e38, 8), (1e30, 1e30, 2e30, 2e30)])
def test_huge_boxes_end_and_hold_next_to_nothing(box: Any) -> None:
    found = ops.roi_align(np.ones((1, 1, 8, 8), np.float32), np.array([box], np.float32), (1, 1))
    assert 0 <= found[0, 0, 0, 0] < 1e-3


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_not_finite(side: int, value: float) -> None:
    boxes = np.array([(1, 1, 5, 5), (1, 1, 5, 5)], np.float32)
    boxes[0, side] = value
    features = maps(1, 2, 6, 6)
    found = ops.roi_align(features, boxes, (2, 2))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], ops.roi_align(features, boxes[1:], (2, 2)))
    back = ops.roi_align_backward(np.ones((2, 2, 2, 2), np.float32), boxes, features.shape)
    alone = ops.roi_align_backward(np.ones((1, 2, 2, 2), np.float32), boxes[1:], features.shape)
    np.testing.assert_array_equal(back, alone)


def test_nan_features_stay_where_they_are() -> None:
    features = maps(1, 1, 8, 8)
    features[0, 0, 6, 6] = np.nan
    found = ops.roi_align(features, np.array([(0, 0, 4, 4), (4, 4, 8, 8)], np.float32), (2, 2))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1, 0, 1, 1])


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_the_gradient_is_the_transposed_operator(ratio: int, aligned: bool) -> None:
    """Pooling is linear in the features: <pool(f), g> = <f, back(g)> for any f and g."""
    rng, shape = np.random.default_rng(0), (2, 11, 9, 13)
    boxes = np.array(list(BOXES.values()), np.float32)
    options: dict[str, Any] = {"pictures": np.arange(len(boxes)) % 2, "scale": 1 / 8, "sampling_ratio": ratio}
    gradient = rng.normal(size=(len(boxes), 11, 3, 4)).astype(np.float32)
    back = ops.roi_align_backward(gradient, boxes, shape, aligned=aligned, **options)
    assert (back.shape, back.dtype) == (shape, np.float32)
    for seed in range(5):
        features = maps(*shape, seed=seed)
        pooled = ops.roi_align(features, boxes, (3, 4), aligned=aligned, **options)
        left, right = (pooled.astype(np.float64) * gradient).sum(), (features.astype(np.float64) * back).sum()
        assert abs(left - right) < 1e-4


@pytest.mark.parametrize("count", [0, 1])
def test_few_boxes(count: int) -> None:
    boxes = np.array([(0, 0, 4, 4)] * count, np.float32).reshape(-1, 4)
    assert ops.roi_align(maps(1, 2, 5, 5), boxes, (3, 2)).shape == (count, 2, 3, 2)
    back = ops.roi_align_backward(np.ones((count, 2, 3, 2), np.float32), boxes, (1, 2, 5, 5))
    assert back.sum() == pytest.approx(12 * count, abs=1e-5)


def test_writes_all_of_out() -> None:
    features, boxes = maps(1, 2, 6, 6), np.array([(0, 0, 9, 9)], np.float32)
    out = np.full((1, 2, 2, 2), np.nan, np.float32)
    assert ops.roi_align(features, boxes, (2, 2), out=out) is out
    np.testing.assert_array_equal(out, ops.roi_align(features, boxes, (2, 2)))
    back = np.full((1, 2, 6, 6), np.nan, np.float32)
    assert ops.roi_align_backward(out, boxes, (1, 2, 6, 6), out=back) is back
    np.testing.assert_array_equal(back, ops.roi_align_backward(out, boxes, (1, 2, 6, 6)))


def test_reads_any_layout() -> None:
    features, boxes = maps(1, 3, 6, 7), np.array([(0, 0, 5, 5), (1.5, 2, 7, 3)], np.float32)
    expected = ops.roi_align(features, boxes, (2, 2))
    last = np.ascontiguousarray(features.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)  # channels last
    fixed = np.frombuffer(features.tobytes(), np.float32).reshape(features.shape)  # read-only
    for one in (last, fixed):
        np.testing.assert_array_equal(ops.roi_align(one, np.asfortranarray(boxes), (2, 2)), expected)


def test_serial_and_parallel_are_equal_to_the_bit() -> None:
    features, boxes = maps(2, 19, 9, 13), np.array([*BOXES.values()] * 5, np.float32)
    pictures, results, backs = np.arange(len(boxes)) % 2, [], []
    for run, back in ((_serial, _serial_backward), (_parallel, _parallel_backward)):
        results.append(np.empty((len(boxes), 19, 7, 7), np.float32))
        run(features, boxes, pictures, 0.125, 0, True, results[-1])
        backs.append(np.empty_like(features))
        back(results[-1], boxes, pictures, 0.125, 0, True, backs[-1])
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(*backs)


MAPS, BOX = np.zeros((2, 3, 4, 5), np.float32), np.ones((6, 4), np.float32)
AT = np.zeros(6, np.int64)


@pytest.mark.parametrize(
    ("features", "boxes", "size", "options", "error", "message"),
    [
        (MAPS.astype(float), BOX, (7, 7), {}, TypeError, "features: expected a float32 array of shape [N, C, H, W]"),
        (MAPS[0], BOX, (7, 7), {}, ValueError, "features: expected a float32 array of shape [N, C, H, W], got float32"),
        (MAPS[:0], BOX, (7, 7), {}, ValueError, "features: expected at least one picture, channel and feature, got"),
        (MAPS, BOX.astype(float), (7, 7), {}, TypeError, "boxes: expected a float32 array of shape [K, 4], got fl"),
        (MAPS, BOX[:, :3], (7, 7), {}, ValueError, "boxes: expected a float32 array of shape [K, 4], got float32"),
        (MAPS, BOX, (7, 7), {}, ValueError, "pictures: expected the picture of each box, as there are 2 pictures"),
        (MAPS, BOX, (7, 7), {"pictures": AT[1:]}, ValueError, "pictures: expected a int64 array of shape [6], got"),
        (MAPS, BOX, (7, 7), {"pictures": AT.astype(float)}, TypeError, "pictures: expected a int64 array of shape [6]"),
        (MAPS, BOX, (7, 7), {"pictures": AT + 2}, ValueError, "pictures: expected numbers from 0 to 1, got 2 to 2"),
        (MAPS, BOX, (7, 7), {"pictures": AT - 1}, ValueError, "pictures: expected numbers from 0 to 1, got -1 to -1"),
        (MAPS, BOX, (0, 7), {"pictures": AT}, ValueError, "size: expected a positive (height, width), got (0, 7)"),
        (MAPS, BOX, (7, 7), {"pictures": AT, "scale": 0}, ValueError, "scale: expected a positive number, got 0"),
        (MAPS, BOX, (7, 7), {"pictures": AT, "sampling_ratio": -1}, ValueError, "sampling_ratio: expected a whole"),
        (MAPS, BOX, (7, 7), {"pictures": AT, "out": MAPS}, ValueError, "float32 array of shape (6, 3, 7, 7), got"),
    ],
)  # fmt: skip
def test_refuses(
    features: Any, boxes: Any, size: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ops.roi_align(features, boxes, size, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("gradient", "shape", "message"),
    [
        (np.zeros((6, 2, 7, 7), np.float32), (2, 3, 4, 5), "gradient: expected a float32 array of shape [K, 3, h, w]"),
        (np.zeros((6, 3, 0, 7), np.float32), (2, 3, 4, 5), "gradient: expected at least one bin, got shape (6, 3, 0"),
        (np.zeros((5, 3, 7, 7), np.float32), (2, 3, 4, 5), "boxes: expected a float32 array of shape [5, 4], got"),
        (
            np.zeros((6, 3, 7, 7), np.float32),
            (2, 3, 4, 0),
            "shape: expected four positive sizes, those of the features",
        ),
    ],
)
def test_the_gradient_refuses(gradient: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        ops.roi_align_backward(gradient, BOX, shape, pictures=AT)
    assert message in str(caught.value)
