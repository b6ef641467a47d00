"""masks_from_rois against a float64 reference of detectron2's paste: bilinear, centres at halves, zeros around."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

MODULE = sys.modules["ops.masks_from_rois"]


def weights(pixels: int, start: float, stop: float, size: int) -> np.ndarray:
    """How much each sample counts at each pixel along an axis: a tent of width 2 around each sample."""
    if not start < stop or not np.isfinite([start, stop]).all():
        return np.zeros((pixels, size))
    at = (np.arange(pixels) + 0.5 - start) / (stop - start) * size - 0.5
    tent: np.ndarray = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))
    return tent


def reference(rois: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    values = []
    for roi, (x0, y0, x1, y1) in zip(rois.astype(np.float64), boxes.astype(np.float64), strict=True):
        along_y, along_x = weights(size[0], y0, y1, roi.shape[0]), weights(size[1], x0, x1, roi.shape[1])
        empty = not (along_y.any() and along_x.any())
        values.append(np.zeros(size) if empty else along_y @ roi @ along_x.T)
    return np.array(values).reshape(len(rois), *size)


def check(rois: np.ndarray, boxes: np.ndarray, size: tuple[int, int], threshold: float = 0.5) -> np.ndarray:
    found = ops.masks_from_rois(rois, boxes, size, threshold=threshold)
    assert (found.dtype, found.shape) == (np.uint8, (len(rois), *size))
    values = reference(rois, boxes, size)
    near = np.abs(values - threshold) < 1e-5
    assert near.mean() < 0.02 if near.size > 500 else True
    np.testing.assert_array_equal(found[~near], (values >= threshold)[~near])
    return found


def drawn(count: int, shape: tuple[int, int], seed: int = 0, span: float = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, span, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, span, (count, 2))], 1)
    return rng.random((count, *shape), np.float32), boxes.astype(np.float32)


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (14, 3), (1, 9)])
@pytest.mark.parametrize("size", [(1, 1), (37, 65), (64, 3)])
def test_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    for threshold in (0.5, 0.3, 0.9):
        check(*drawn(9, shape), size, threshold)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_rois(data: st.DataObject) -> None:
    sides, coordinate = st.integers(1, 9), st.floats(-1e4, 1e4, width=32) | st.integers(-5, 30)
    count = data.draw(st.integers(0, 3))
    rois, _ = drawn(count, (data.draw(sides), data.draw(sides)), data.draw(st.integers(0, 99)))
    boxes = data.draw(st.lists(st.tuples(*[coordinate] * 4), min_size=count, max_size=count))
    check(rois, np.array(boxes, np.float32).reshape(-1, 4), (data.draw(sides), data.draw(sides)), 0.4)


def test_a_box_of_whole_pixels_with_a_part_for_each_is_copied() -> None:
    roi = np.random.default_rng(0).random((5, 7), np.float32)
    mask = ops.masks_from_rois(roi[None], np.array([[3, 2, 10, 7]], np.float32), (9, 12))[0]
    np.testing.assert_array_equal(mask[2:7, 3:10], roi >= 0.5)
    assert mask.sum() == (roi >= 0.5).sum()


def test_the_threshold_itself_is_foreground() -> None:
    roi = np.full((1, 2, 2), 0.5, np.float32)
    assert ops.masks_from_rois(roi, np.array([[0, 0, 2, 2]], np.float32), (2, 2)).all()
    # Twice as large: the outermost pixels lie half a part from the last centre, and are three quarters of it, or less.
    assert ops.masks_from_rois(roi, np.array([[0, 0, 4, 4]], np.float32), (4, 4))[0].tolist() == [
        [0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]  # fmt: skip


@pytest.mark.parametrize(
    "box",
    [
        (5, 5, 5, 9), (5, 5, 9, 5), (9, 9, 5, 5), (np.nan, 0, 9, 9), (0, 0, 9, np.nan), (0, 0, np.inf, 9),
        (-np.inf, 0, 9, 9), (-np.inf, -np.inf, np.inf, np.inf), (3e38, 0, 3.1e38, 9), (-90, -90, -80, -80),
    ],
)  # fmt: skip
def test_boxes_without_a_pixel(box: Any) -> None:
    assert not check(np.ones((1, 4, 4), np.float32), np.array([box], np.float32), (20, 30)).any()


def test_a_huge_box_covers_the_picture() -> None:
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9], [-3e38, -3e38, 3e38, 3e38]], np.float32)
    assert ops.masks_from_rois(np.ones((2, 4, 4), np.float32), boxes, (20, 30)).all()


def test_nan_is_background_and_inf_foreground() -> None:
    roi = np.array([[[np.nan, 1], [1, np.inf]]], np.float32)
    assert ops.masks_from_rois(roi, np.array([[0, 0, 2, 2]], np.float32), (2, 2)).tolist() == [[[0, 1], [1, 1]]]


def test_reads_views_and_read_only_arrays_and_writes_into_out() -> None:
    rois, boxes = drawn(8, (10, 12))
    rois, boxes = np.asfortranarray(rois)[::2, ::-1, 1:], boxes[::2]
    rois.flags.writeable = boxes.flags.writeable = False
    wanted = check(rois, boxes, (40, 50))
    out = np.full((4, 40, 50), 7, np.uint8)
    assert ops.masks_from_rois(rois, boxes, (40, 50), out=out) is out
    np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("lanes", [2, 3, 999])
def test_any_number_of_threads(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rois, boxes = drawn(5, (14, 14))
    wanted = ops.masks_from_rois(rois, boxes, (41, 50))
    monkeypatch.setattr(MODULE, "lanes_for", lambda *_: lanes)
    np.testing.assert_array_equal(ops.masks_from_rois(rois, boxes, (41, 50)), wanted)


def test_eight_threads_at_once() -> None:
    cases = [drawn(3, (7, 7), seed) for seed in range(32)]
    wanted = [ops.masks_from_rois(*case, (30, 40)) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(lambda c: ops.masks_from_rois(*c, (30, 40)), cases), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


R, B = np.zeros((2, 3, 4), np.float32), np.zeros((2, 4), np.float32)
REFUSED: list[tuple[Any, Any, Any, dict[str, Any], type[Exception], str]] = [
    (R.astype(float), B, (5, 6), {}, TypeError, "rois: expected a float32 array of shape [N, h, w], got float64"),
    (R[0], B, (5, 6), {}, ValueError, "rois: expected a float32 array of shape [N, h, w], got float32"),
    (R[:, :0], B, (5, 6), {}, ValueError, "rois: expected at least one value for each box, got shape (2, 0, 4)"),
    (R, B[:1], (5, 6), {}, ValueError, "expected equal lengths, got rois 2, boxes 1"),
    (R, B.astype(int), (5, 6), {}, TypeError, "boxes: expected a float32 array of shape [N, 4], got int64"),
    (R, B, (0, 6), {}, ValueError, "size: expected a positive (height, width), got (0, 6)"),
    (R, B, (5, 6), {"threshold": 0}, ValueError, "threshold: expected a number above 0, got 0"),
    (R, B, (5, 6), {"threshold": np.nan}, ValueError, "threshold: expected a number above 0, got nan"),
    (R, B, (5, 6), {"out": np.zeros((2, 5, 6))}, ValueError, "out: expected a writable C-contiguous uint8 array"),
]  # fmt: skip


@pytest.mark.parametrize(("rois", "boxes", "size", "options", "error", "message"), REFUSED)
def test_refuses(rois: Any, boxes: Any, size: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.masks_from_rois(rois, boxes, size, **options)
    assert message in str(caught.value)
