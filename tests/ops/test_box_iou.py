"""box_iou against exact fractions, and what odd boxes give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou
from hypothesis import given, settings
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
            assert result[i, j] == pytest.approx(exact, rel=1e-5, abs=1e-12)
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


def test_reads_views_and_read_only_arrays() -> None:
    base = np.zeros((6, 8), np.float32)
    base[:, 2:6] = [0, 0, 10, 10]
    view = base[::2, 2:6]
    view.flags.writeable = False
    np.testing.assert_array_equal(ops.box_iou(view, view), np.ones((3, 3), np.float32))


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
    with pytest.raises(error) as caught:
        ops.box_iou(a, b)
    assert message in str(caught.value)
