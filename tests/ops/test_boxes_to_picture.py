"""boxes_to_picture: the inverse of where a picture was put, and what decode_detections does to its boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops
from ops import Placement

INF, NAN = np.inf, np.nan
AT = Placement(0.5, 0.25, 10, 20)

# input box, where the picture of 100 x 200 lies, box in the picture
CASES = [
    ((20, 10, 70, 60), AT, (0, 0, 200, 100)),  # all of it
    ((30, 20, 45, 35), AT, (40, 20, 100, 50)),
    ((0, 0, 1000, 1000), AT, (0, 0, 200, 100)),  # clipped
    ((-INF, -INF, INF, INF), AT, (0, 0, 200, 100)),
    ((-1e38, 5, -1e37, 6), AT, (0, 0, 0, 0)),  # beside
    ((NAN, 20, 45, NAN), AT, (NAN, 20, 100, NAN)),
    ((45, 35, 30, 20), AT, (100, 50, 40, 20)),  # inverted boxes stay so
    ((3, 4, 5, 6), Placement(1, 1, 0, 0), (3, 4, 5, 6)),
    ((3, 4, 5, 6), Placement(2.0, 2.0, -20.5, -8.25), (5.625, 12.25, 6.625, 13.25)),  # a region
]


@pytest.mark.parametrize(("box", "placement", "expected"), CASES)
def test_cases(box: Any, placement: Placement, expected: Any) -> None:
    found = ops.boxes_to_picture(np.array([box], np.float32), placement, (100, 200))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [expected])


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 999), st.integers(1, 999)),
    size=st.tuples(st.integers(16, 99), st.integers(16, 99)),
    at=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    center=st.booleans(),
)
def test_is_the_inverse_of_letterbox(shape: Any, size: Any, at: Any, center: bool) -> None:
    _, placement = ops.letterbox(np.zeros((*shape, 3), np.uint8), size, center=center)
    box = np.array(at) * [*shape[::-1], *shape[::-1]]
    scale = np.array([placement.scale_x, placement.scale_y] * 2)
    inputs = (box * scale + [placement.left, placement.top] * 2).astype(np.float32)
    found = ops.boxes_to_picture(inputs[None], placement, shape)
    np.testing.assert_allclose(found, [box], atol=2e-5 / scale.min() + 1e-4 * max(shape) / 99)


def test_no_boxes_in_place_and_any_layout() -> None:
    assert ops.boxes_to_picture(np.empty((0, 4), np.float32), AT, (9, 9)).shape == (0, 4)
    boxes = np.random.default_rng(0).uniform(0, 99, (5, 4)).astype(np.float32)
    expected = ops.boxes_to_picture(boxes, AT, (100, 200))
    fixed = np.frombuffer(boxes.tobytes(), np.float32).reshape(5, 4)
    np.testing.assert_array_equal(ops.boxes_to_picture(fixed, AT, (100, 200)), expected)
    np.testing.assert_array_equal(ops.boxes_to_picture(np.asfortranarray(boxes), AT, (100, 200)), expected)
    assert ops.boxes_to_picture(boxes, AT, (100, 200), out=boxes) is boxes
    np.testing.assert_array_equal(boxes, expected)


BOX = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("boxes", "placement", "size", "error", "message"),
    [
        (BOX.astype(float), AT, (9, 9), TypeError, "boxes: expected a float32 array of shape [N, 4], got float64"),
        (BOX[0], AT, (9, 9), ValueError, "boxes: expected a float32 array of shape [N, 4], got float32 array of"),
        (BOX, AT._replace(scale_x=0), (9, 9), ValueError, "placement: expected finite numbers, the scales positive"),
        (BOX, AT._replace(top=NAN), (9, 9), ValueError, "placement: expected finite numbers, the scales positive"),
        (BOX, AT, (0, 9), ValueError, "image_size: expected a positive (height, width), got (0, 9)"),
    ],
)
def test_refuses(boxes: Any, placement: Placement, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.boxes_to_picture(boxes, placement, size)
    assert message in str(caught.value)
