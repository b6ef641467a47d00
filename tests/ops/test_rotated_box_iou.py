"""rotated_box_iou against the hull of the shared points in float64 and OpenCV, and where boxes touch or are equal."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from box_reference import exact_iou
from hypothesis import given, settings
from hypothesis import strategies as st
from rotated_reference import rotated_iou

import ops
from ops.rotated_box_iou import _parallel, _serial

ANGLE = st.one_of(st.floats(-10, 10, width=32), st.sampled_from([0, math.pi / 2, math.pi, math.pi / 4, -math.pi / 4]))
PLACE = st.one_of(st.integers(-6, 6).map(float), st.floats(-20, 20, width=32))
SIDE = st.one_of(st.integers(0, 8).map(float), st.floats(0.125, 30, width=32))
BOXES = st.lists(st.tuples(PLACE, PLACE, SIDE, SIDE, ANGLE), max_size=5)


def boxes(rows: Any) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def crowd(count: int, seed: int, spread: float = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, spread, (count, 2)), rng.uniform(2, 40, (count, 2)), rng.uniform(-7, 7, (count, 1))
    return np.concatenate(rows, 1).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(BOXES, BOXES)
def test_matches_the_hull_of_shared_points(a: Any, b: Any) -> None:
    a, b = boxes(a), boxes(b)
    result = ops.rotated_box_iou(a, b)
    assert (result.shape, result.dtype) == ((len(a), len(b)), np.float32)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_allclose(result, ops.rotated_box_iou(b, a).T, atol=1e-6)
    expected = [[rotated_iou(p, q) for q in b] for p in a]
    np.testing.assert_allclose(result, np.reshape(expected, result.shape), atol=1e-6)


def test_matches_opencv() -> None:
    a = crowd(40, 0)
    result = ops.rotated_box_iou(a, a)
    rectangles = [((x, y), (w, h), math.degrees(angle)) for x, y, w, h, angle in a.tolist()]
    for i, first in enumerate(rectangles):
        for j, second in enumerate(rectangles):
            _, points = cv2.rotatedRectangleIntersection(first, second)
            shared = 0.0 if points is None else cv2.contourArea(cv2.convexHull(points))
            union = first[1][0] * first[1][1] + second[1][0] * second[1][1] - shared
            assert float(result[i, j]) == pytest.approx(shared / union, abs=1e-3)  # OpenCV works in float32


@pytest.mark.parametrize("quarters", range(-3, 4))
def test_at_right_angles_it_is_the_upright_iou(quarters: int) -> None:
    rng = np.random.default_rng(0)
    a = boxes([(*rng.integers(0, 9, 2), *rng.integers(1, 9, 2), 0) for _ in range(12)])
    turned = a.copy()
    turned[:, 4] = quarters * math.pi / 2
    if quarters % 2:
        turned[:, [2, 3]] = turned[:, [3, 2]]
    upright = ops.box_convert(a[:, :4], "cxcywh", "xyxy")
    expected = [[float(exact_iou(p, q)) for q in upright] for p in upright]
    np.testing.assert_allclose(ops.rotated_box_iou(a, turned), expected, atol=1e-6)


ROOT = math.sqrt(2)
PAIRS = [
    # a, b, IoU
    ((0, 0, 2, 2, 0), (0, 0, 2, 2, math.pi / 4), (8 * ROOT - 8) / (8 - (8 * ROOT - 8))),  # an octagon
    ((0, 0, 4, 2, 0.3), (0, 0, 4, 2, 0.3 + math.pi), 1),  # turned by a half
    ((0, 0, 4, 2, 0.3), (0, 0, 2, 4, 0.3 + math.pi / 2), 1),
    ((0, 0, 4, 2, 0), (0, 0, 2, 4, 0), 1 / 3),
    ((0, 0, 9, 9, 1), (0, 0, 3, 3, 2), 1 / 9),  # inside
    ((0, 0, 2, 2, 0), (2, 0, 2, 2, 0), 0),  # a common edge
    ((0, 0, 2, 2, 0), (2, 2, 2, 2, 0), 0),  # a common corner
    ((0, 0, 2, 2, 0), (1 + ROOT, 0, 2, 2, math.pi / 4), 0),  # a corner at an edge
    ((0, 0, 2, 2, 0), (9, 9, 2, 2, 1), 0),
    ((0, 0, 0, 2, 0.5), (0, 0, 2, 2, 0), 0),  # no width
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0),
    ((0, 0, -2, 2, 0), (0, 0, 2, 2, 0), 0),  # inverted
    ((0, 0, 2, 2, 1e6), (0, 0, 2, 2, 1e6), 1),
    ((1e30, 1e30, 1e30, 2e30, 0.7), (1e30, 1e30, 1e30, 2e30, 0.7), 1),
    ((1e-30, 0, 1e-30, 2e-30, 0.7), (1e-30, 0, 1e-30, 2e-30, 0.7), 1),
    ((1e6, -1e6, 3, 1, 0.7), (1e6 + 1, -1e6, 3, 1, 0.7), None),  # far from the origin no digit is lost
]


@pytest.mark.parametrize(("a", "b", "expected"), PAIRS)
def test_pairs(a: Any, b: Any, expected: float | None) -> None:
    if expected is None:
        expected = rotated_iou((0, 0, *a[2:]), (b[0] - a[0], b[1] - a[1], *b[2:]))
    assert float(ops.rotated_box_iou(boxes([a]), boxes([b]))[0, 0]) == pytest.approx(expected, abs=1e-6)


def test_equal_boxes_have_exactly_1() -> None:
    a = crowd(300, 1)
    assert (ops.rotated_box_iou(a, a).diagonal() == 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(5))
def test_not_finite_is_0_or_nan_and_stays_in_its_row(column: int, value: float) -> None:
    a = boxes([(0, 0, 10, 10, 0.5)] * 3)
    a[1, column] = value
    result = ops.rotated_box_iou(a, a)
    assert result[0, 0] == result[0, 2] == result[2, 2] == 1
    odd = np.concatenate([result[1], result[:, 1]])
    assert (np.isnan(odd) | (odd == 0)).all()


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (70, 61)])  # the last is over the parallel size
def test_shapes_and_threads(n: int, m: int) -> None:
    a, b = crowd(n, 0), crowd(m, 1)
    one, many = np.empty((n, m), np.float32), np.empty((n, m), np.float32)
    _serial(a, b, one)
    _parallel(a, b, many)
    np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(ops.rotated_box_iou(a, b), one)


def test_reads_views_and_read_only_arrays() -> None:
    wide = np.zeros((6, 10), np.float32)
    wide[:, ::2] = crowd(6, 2)
    view = wide[::2, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(ops.rotated_box_iou(view, view), ops.rotated_box_iou(view.copy(), view.copy()))


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((2, 5)), boxes([]), TypeError, "a: expected a float32 array of shape [N, 5], got"),
        (
            boxes([]),
            np.zeros((2, 4), np.float32),
            ValueError,
            "b: expected a float32 array of shape [M, 5], got",
        ),
        (np.zeros(5, np.float32), boxes([]), ValueError, "a: expected a float32 array of shape [N, 5], got"),
    ],
)
def test_refuses(a: Any, b: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rotated_box_iou(a, b)
    assert message in str(caught.value)
