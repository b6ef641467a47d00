"""clip_boxes against NumPy's clip, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

NUMBER = st.one_of(st.integers(-20, 120).map(float), st.floats(width=32))  # NaN and inf among them
ROWS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=5)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.integers(0, 100), st.integers(0, 100))
def test_matches_numpy(rows: Any, height: int, width: int) -> None:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    result = ops.clip_boxes(boxes, (height, width))
    assert (result.shape, result.dtype) == (boxes.shape, np.float32)
    np.testing.assert_array_equal(result, np.clip(boxes, 0, np.float32([width, height, width, height])))


BY_HAND = [
    ((-5, -6, 200, 300), (0, 0, 80, 60)),
    ((10, 20, 30, 40), (10, 20, 30, 40)),
    ((90, 70, 99, 80), (80, 60, 80, 60)),  # beside the picture: no area
    ((80, 60, 80, 60), (80, 60, 80, 60)),
    ((-np.inf, 0, np.inf, 9), (0, 0, 80, 9)),
    ((np.nan, -1, 5, np.nan), (np.nan, 0, 5, np.nan)),
]


@pytest.mark.parametrize(("box", "expected"), BY_HAND)
def test_by_hand(box: Any, expected: Any) -> None:
    np.testing.assert_array_equal(ops.clip_boxes(np.array([box], np.float32), (60, 80))[0], expected)


def test_writes_into_the_boxes_themselves() -> None:
    boxes = np.random.default_rng(0).uniform(-50, 150, (4097, 4)).astype(np.float32)
    expected = boxes.clip(0, 100)
    assert ops.clip_boxes(boxes, (100, 100), out=boxes) is boxes
    np.testing.assert_array_equal(boxes, expected)


def test_reads_views_read_only_arrays_and_a_size_from_an_array() -> None:
    base = np.arange(48, dtype=np.float32).reshape(6, 8)
    view = base[::2, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(ops.clip_boxes(view, np.array([20, 10])), view.clip(0, [10, 20, 10, 20]))


BOXES = np.zeros((2, 4), np.float32)


@pytest.mark.parametrize(
    ("boxes", "size", "out", "error", "message"),
    [
        (BOXES, (-1, 5), None, ValueError, "image_size: expected (height, width), finite and at least 0, got (-1, 5)"),
        (BOXES, (5, np.nan), None, ValueError, "image_size: expected (height, width), finite and at least 0"),
        (BOXES, (np.inf, 5), None, ValueError, "image_size: expected (height, width), finite and at least 0"),
        (BOXES[0], (5, 5), None, ValueError, "boxes: expected a float32 array of shape [N, 4], got float32 array"),
        (BOXES.astype(float), (5, 5), None, TypeError, "boxes: expected a float32 array of shape [N, 4], got float64"),
        (BOXES, (5, 5), np.zeros((2, 4)), ValueError, "out: expected a writable C-contiguous float32 array"),
    ],
)  # fmt: skip
def test_refuses(boxes: Any, size: Any, out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.clip_boxes(boxes, size, out=out)
    assert message in str(caught.value)
