"""box_iou and its kinds with a penalty against exact fractions, and what odd boxes give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou, penalised_iou
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ops

COORDINATE = st.one_of(
    st.integers(-20, 20).map(float),  # many equal edges
    st.floats(-1e4, 1e4, width=32),
    st.floats(-float(np.float32(1e30)), float(np.float32(1e30)), width=32),  # areas beyond float32
)
BOXES = st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), max_size=6)


def boxes(rows: Any) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def _exact_float32_sides(box: Any) -> bool:
    """Whether float32 holds the box's sides; where not, the operator works with the rounded ones."""
    x1, y1, x2, y2 = (float(v) for v in box)
    return float(np.float32(x2 - x1)) == x2 - x1 and float(np.float32(y2 - y1)) == y2 - y1


@settings(max_examples=150, deadline=None)
@given(BOXES, BOXES)
def test_matches_exact_fractions(a: Any, b: Any) -> None:
    a, b = boxes(a), boxes(b)
    result = ops.box_iou(a, b)
    assert (result.shape, result.dtype) == ((len(a), len(b)), np.float32)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_array_equal(result, ops.box_iou(b, a).T)
    for i in range(len(a)):
        for j in range(len(b)):
            exact = float(exact_iou(a[i], b[j]))
            assert float(result[i, j]) == pytest.approx(exact, rel=1e-5, abs=1e-12)
            if exact in (0, 1) and _exact_float32_sides(a[i]) and _exact_float32_sides(b[j]):
                assert result[i, j] == exact


PAIRS = [
    ((0, 0, 10, 10), (0, 0, 10, 10), 1),
    ((0, 0, 10, 10), (0, 0, 10, 5), 0.5),
    ((0, 0, 10, 10), (10, 0, 20, 10), 0),  # one common edge
    ((0, 0, 10, 10), (2, 2, 4, 4), 0.04),  # inside
    ((-10, -10, 10, 10), (0, 0, 20, 20), 1 / 7),
    ((5, 5, 5, 9), (0, 0, 10, 10), 0),  # no width
    ((5, 5, 5, 5), (5, 5, 5, 5), 0),
    ((8, 0, 2, 10), (0, 0, 10, 10), 0),  # inverted
    ((0, 0, 1e30, 1e30), (0, 0, 1e30, 1e30), 1),  # the area is beyond float32
    ((0, 0, 1e-30, 1e-30), (0, 0, 1e-30, 2e-30), 0.5),  # the area is below float32
    ((0, 0, 3e38, 1), (0, 0, 3e38, 1), 1),
]


@pytest.mark.parametrize(("a", "b", "expected"), PAIRS)
def test_pairs(a: Any, b: Any, expected: float) -> None:
    assert ops.box_iou(boxes([a]), boxes([b]))[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
def test_not_finite_is_0_or_nan_and_stays_in_its_row(value: float, column: int) -> None:
    a = boxes([(0, 0, 10, 10)] * 3)
    a[1, column] = value
    result = ops.box_iou(a, a)
    assert result[0, 0] == result[0, 2] == result[2, 2] == 1
    odd = np.concatenate([result[1], result[:, 1]])
    assert (np.isnan(odd) | ((odd >= 0) & (odd <= 1))).all()


@pytest.mark.parametrize(
    ("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 300), (300, 300)]
)  # the last is over the parallel size
def test_shapes(n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 99, (k, 2, 2)), 1).reshape(k, 4).astype(np.float32) for k in (n, m))
    result = ops.box_iou(a, b)
    assert result.shape == (n, m)
    meet = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0, None)
    both = meet.astype(np.float64).prod(2)
    area_a, area_b = (np.prod(k[:, 2:] - k[:, :2], 1, dtype=np.float64) for k in (a, b))
    np.testing.assert_allclose(result, both / (area_a[:, None] + area_b - both), rtol=1e-5, atol=1e-9)


PENALISED = {"giou": ops.generalized_box_iou, "diou": ops.distance_box_iou, "ciou": ops.complete_box_iou}
KIND = pytest.mark.parametrize("kind", PENALISED)


@KIND
@settings(max_examples=100, deadline=None)
@given(a=BOXES, b=BOXES)
@example(a=[(0.0, 0.0, 0.0, 0.0)], b=[(0.0, 0.0, 0.0, -0.0), (0.0, 0.0, -0.0, 0.0)])
def test_kinds_match_exact_fractions(kind: str, a: Any, b: Any) -> None:
    a, b = boxes(a), boxes(b)
    result = PENALISED[kind](a, b)
    assert (result.shape, result.dtype) == ((len(a), len(b)), np.float32)
    np.testing.assert_allclose(result, PENALISED[kind](b, a).T, rtol=1e-6, atol=1e-6)
    for i in range(len(a)):
        for j in range(len(b)):
            expected = penalised_iou(kind, a[i], b[j])
            # Of inverted boxes it may be beyond float32, and must be infinite then.
            room = 1e-5 * max(1.0, abs(expected))
            with np.errstate(over="ignore"):
                least, most = np.float32(expected - room), np.float32(expected + room)
            assert least <= result[i, j] <= most


@KIND
def test_kinds_of_upright_boxes_stay_in_their_range(kind: str) -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(-9, 9, (40, 2))
    crowd = np.concatenate([corner, corner + rng.integers(0, 9, (40, 2))], 1).astype(np.float32)  # some without area
    result = PENALISED[kind](crowd, crowd)
    assert result.min() >= (-2 if kind == "ciou" else -1)
    assert result.max() <= 1
    assert (result <= ops.box_iou(crowd, crowd) + 1e-6).all()


KINDS_BY_HAND = [
    # a, b, GIoU, DIoU, CIoU
    ((0, 0, 10, 10), (0, 0, 10, 10), 1, 1, 1),
    ((0, 0, 10, 10), (0, 0, 10, 5), 0.5, 0.46875, 0.46875 - 0.003248),  # 2.5^2 / 200; alpha v of 1:1 and 2:1
    ((0, 0, 1, 1), (1, 0, 2, 1), 0, -0.2, -0.2),  # one common edge: the box around is full
    ((0, 0, 1, 1), (3, 0, 4, 1), -0.5, -9 / 17, -9 / 17),
    ((0, 0, 1, 1), (9, 9, 10, 10), -0.98, -0.81, -0.81),
    ((5, 5, 5, 5), (5, 5, 5, 5), 0, 0, 0),  # points: nothing is taken off
    ((0, 0, 0, 0), (4, 4, 4, 4), -1, -1, -1),
    ((0, 0, 0, 0), (4, 0, 4, 0), 0, -1, -1),  # the box around them has no area, but a diagonal
    ((8, 0, 2, 10), (0, 0, 10, 10), 0, 0, -(0.25**2) / 1.25),  # inverted: no area; v = 1/4
    ((0, 0, 1e30, 1e30), (0, 0, 1e30, 1e30), 1, 1, 1),
    ((0, 0, 3e38, 3e38), (-3e38, -3e38, 0, 0), -0.5, -0.25, -0.25),  # the sides around them are beyond float32
    ((0, 0, 1e-30, 1e-30), (0, 0, 1e-30, 1e-30), 1, 1, 1),
]


@pytest.mark.parametrize(("a", "b", "giou", "diou", "ciou"), KINDS_BY_HAND)
def test_kinds_by_hand(a: Any, b: Any, giou: float, diou: float, ciou: float) -> None:
    for kind, expected in (("giou", giou), ("diou", diou), ("ciou", ciou)):
        assert PENALISED[kind](boxes([a]), boxes([b]))[0, 0] == pytest.approx(expected, abs=1e-6), kind


@KIND
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
def test_kinds_of_what_is_not_finite_stay_in_their_row(column: int, value: float, kind: str) -> None:
    a = boxes([(0, 0, 10, 10)] * 3)
    a[1, column] = value
    result = PENALISED[kind](a, a)
    assert result[0, 0] == result[0, 2] == result[2, 2] == 1
    assert np.isnan(result[1, 0]) or not np.isnan(value)


@KIND
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (300, 300)])  # the last is over the parallel size
def test_kinds_at_one_thread_and_many(kind: str, n: int, m: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.uniform(0, 99, (k, 2, 2)), 1).reshape(k, 4).astype(np.float32) for k in (n, m))
    result = PENALISED[kind](a, b)
    alone = [PENALISED[kind](row[None], b) for row in a]  # each too few for the parallel kernel
    np.testing.assert_array_equal(result, np.concatenate([np.zeros((0, m), np.float32), *alone]))


def test_reads_views_and_read_only_arrays() -> None:
    base = np.zeros((6, 8), np.float32)
    base[:, 2:6] = [0, 0, 10, 10]
    view = base[::2, 2:6]
    view.flags.writeable = False
    for function in (ops.box_iou, *PENALISED.values()):
        np.testing.assert_array_equal(function(view, view), np.ones((3, 3), np.float32))


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((2, 4)), np.zeros((2, 4), np.float32), TypeError, "a: expected a float32 array of shape [N, 4]"),
        (
            np.zeros((2, 4), np.float32),
            np.zeros((4, 2), np.float32),
            ValueError,
            "b: expected a float32 array of shape",
        ),
        (np.zeros(4, np.float32), np.zeros((2, 4), np.float32), ValueError, "got float32 array of shape (4,)"),
    ],
)
def test_refuses(a: Any, b: Any, error: type[Exception], message: str) -> None:
    for function in (ops.box_iou, *PENALISED.values()):
        with pytest.raises(error) as caught:
            function(a, b)
        assert message in str(caught.value)
