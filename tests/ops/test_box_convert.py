"""box_convert against the definitions in float64, there and back, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

FORMATS = ("xyxy", "xywh", "cxcywh")
WAYS = [(source, target) for source in FORMATS for target in FORMATS]
NUMBER = st.one_of(st.integers(-99, 99).map(float), st.floats(width=32))  # NaN, inf and huge ones among them
ROWS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=5)


def reference(boxes: np.ndarray, source: str, target: str) -> np.ndarray:
    first, second = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    low, high, centre, size = {
        "xyxy": lambda: (first, second, (first + second) / 2, second - first),
        "xywh": lambda: (first, first + second, first + second / 2, second),
        "cxcywh": lambda: (first - second / 2, first + second / 2, first, second),
    }[source]()
    pair = {"xyxy": (low, high), "xywh": (low, size), "cxcywh": (centre, size)}[target]
    return np.concatenate(pair, 1).astype(np.float32)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the reference's, of inf - inf and of what overflows float32
@pytest.mark.parametrize(("source", "target"), WAYS)
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_matches_the_definitions(source: Any, target: Any, rows: Any) -> None:
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    result = ops.box_convert(boxes, source, target)
    assert (result.shape, result.dtype) == (boxes.shape, np.float32)
    assert result is not boxes
    np.testing.assert_array_equal(result, reference(boxes, source, target))


BY_HAND = [
    ("xyxy", (10, 20, 40, 60)),
    ("xywh", (10, 20, 30, 40)),
    ("cxcywh", (25, 40, 30, 40)),
]


@pytest.mark.parametrize(("source", "box"), BY_HAND)
@pytest.mark.parametrize(("target", "expected"), BY_HAND)
def test_by_hand(source: Any, box: Any, target: Any, expected: Any) -> None:
    assert ops.box_convert(np.array([box], np.float32), source, target).tolist() == [list(expected)]


def test_an_inverted_box_has_negative_sizes_and_comes_back() -> None:
    boxes = np.array([(8, 9, 2, 1)], np.float32)
    sizes = ops.box_convert(boxes, "xyxy", "xywh")
    assert sizes.tolist() == [[8, 9, -6, -8]]
    np.testing.assert_array_equal(ops.box_convert(sizes, "xywh", "xyxy"), boxes)


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_writes_into_the_boxes_themselves(source: Any, target: Any) -> None:
    boxes = np.random.default_rng(0).uniform(-9, 9, (4097, 4)).astype(np.float32)
    expected = reference(boxes, source, target)
    assert ops.box_convert(boxes, source, target, out=boxes) is boxes
    np.testing.assert_array_equal(boxes, expected)


def test_reads_views_and_read_only_arrays() -> None:
    base = np.arange(48, dtype=np.float32).reshape(6, 8)
    view = base[::2, ::2]
    view.flags.writeable = False
    np.testing.assert_array_equal(ops.box_convert(view, "xywh", "xyxy"), reference(view, "xywh", "xyxy"))


BOXES = np.zeros((2, 4), np.float32)


@pytest.mark.parametrize(
    ("boxes", "source", "target", "out", "error", "message"),
    [
        (BOXES, "xxyy", "xyxy", None, ValueError, "source: expected xyxy, xywh, cxcywh, got 'xxyy'"),
        (BOXES, "xyxy", None, None, ValueError, "target: expected xyxy, xywh, cxcywh, got None"),
        (BOXES[:, :3], "xyxy", "xywh", None, ValueError, "boxes: expected a float32 array of shape [N, 4], got"),
        (BOXES.astype(int), "xyxy", "xywh", None, TypeError, "boxes: expected a float32 array of shape [N, 4], got"),
        (BOXES, "xyxy", "xywh", np.zeros((3, 4), np.float32), ValueError, "out: expected a writable C-contiguous"),
    ],
)  # fmt: skip
def test_refuses(boxes: Any, source: Any, target: Any, out: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.box_convert(boxes, source, target, out=out)
    assert message in str(caught.value)
