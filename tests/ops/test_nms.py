"""nms and batched_nms against brute force in exact fractions: ties in score and in IoU are the rule here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_reference import greedy_nms
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

SIDE = st.integers(0, 10)
CANDIDATE = st.tuples(SIDE, SIDE, SIDE, SIDE, st.sampled_from([0, 0.25, 0.5, 1]), st.integers(-1, 1))


def arrays(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return np.ascontiguousarray(table[:, :4]), table[:, 4].copy(), table[:, 5].astype(np.int64)


@settings(max_examples=200, deadline=None)
@given(st.lists(CANDIDATE, max_size=12), st.sampled_from(["0", "0.1", "0.3", "0.5", "0.6", "0.7", "1"]))
def test_matches_brute_force(rows: Any, threshold: str) -> None:
    boxes, scores, class_ids = arrays(rows)
    kept = ops.batched_nms(boxes, scores, class_ids, float(threshold))
    assert kept.dtype == np.int64
    assert kept.tolist() == greedy_nms(boxes, scores, class_ids, threshold)
    one_class = np.zeros(len(scores), np.int64)
    assert ops.nms(boxes, scores, float(threshold)).tolist() == greedy_nms(boxes, scores, one_class, threshold)


SQUARE = (0, 0, 10, 10)
CASES = [
    # boxes, scores, IoU threshold, kept
    ([], [], 0.5, []),
    ([SQUARE], [0.1], 0, [0]),
    ([SQUARE, SQUARE, SQUARE], [0.5, 0.5, 0.5], 0.5, [0]),  # all equal: the first
    ([SQUARE, (50, 0, 60, 10), SQUARE], [0.5, 0.5, 0.6], 0.5, [2, 1]),
    ([SQUARE, (0, 0, 10, 7)], [0.9, 0.5], 0.7, [0, 1]),  # IoU exactly at the threshold stays
    ([SQUARE, (0, 0, 10, 7)], [0.9, 0.5], 0.69, [0]),
    ([SQUARE, SQUARE], [0.9, 0.5], 1, [0, 1]),  # nothing is above 1
    ([SQUARE, (10, 0, 20, 10)], [0.9, 0.5], 0, [0, 1]),  # a common edge is no overlap
    ([(0, 0, 10, 10), (0, 4, 10, 14), (0, 8, 10, 18)], [0.9, 0.8, 0.7], 0.3, [0, 2]),  # the dropped one drops nobody
    ([(5, 5, 5, 5), (5, 5, 5, 5)], [0.9, 0.8], 0, [0, 1]),  # no area, no overlap
    ([(-9, -9, -1, -1), (-9, -9, -1, -2)], [0.4, 0.8], 0.5, [1]),
    ([(0, 0, 1e30, 1e30), (0, 0, 1e30, 1e30)], [0.4, 0.8], 0.5, [1]),  # areas beyond float32
    ([SQUARE, SQUARE, SQUARE], [-np.inf, np.inf, 0], 0.5, [1]),
    ([SQUARE, (50, 0, 60, 10), (70, 0, 80, 10)], [np.nan, 0.2, 0.1], 0.5, [1, 2, 0]),  # NaN comes last
    ([(np.nan, 0, 10, 10), SQUARE], [0.9, 0.8], 0.5, [0, 1]),  # and overlaps nothing
]


@pytest.mark.parametrize(("boxes", "scores", "threshold", "kept"), CASES)
def test_cases(boxes: Any, scores: Any, threshold: float, kept: list[int]) -> None:
    result = ops.nms(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), threshold)
    assert result.tolist() == kept


def test_classes_do_not_meet_however_large_their_numbers() -> None:
    boxes = np.array([SQUARE] * 4, np.float32)
    scores = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    class_ids = np.array([2**62, -(2**62), 2**62, 0])
    assert ops.batched_nms(boxes, scores, class_ids, 0.5).tolist() == [3, 2, 1]


def test_pictures_of_a_batch_go_in_one_call() -> None:
    """Ids that tell pictures and classes apart: each picture keeps what it keeps alone."""
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 40, (240, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (240, 2))], 1).astype(np.float32)
    scores, class_ids, pictures = rng.permutation(240).astype(np.float32), rng.integers(0, 5, 240), np.arange(240) // 60
    kept = ops.batched_nms(boxes, scores, pictures * 5 + class_ids, 0.4)
    for picture in range(4):
        own = np.nonzero(pictures == picture)[0]
        alone = ops.batched_nms(boxes[own], scores[own], class_ids[own], 0.4)
        assert kept[pictures[kept] == picture].tolist() == own[alone].tolist()


def test_many_boxes_match_brute_force_and_keep_the_order_of_equal_scores() -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 60, (300, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (300, 2))], 1).astype(np.float32)
    scores = rng.integers(0, 5, 300).astype(np.float32) / 4
    class_ids = rng.integers(0, 3, 300)
    kept = ops.batched_nms(boxes, scores, class_ids, 0.5)
    assert kept.tolist() == greedy_nms(boxes, scores, class_ids, "0.5")


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "error", "message"),
    [
        (np.zeros((2, 4), np.float32), np.zeros(3, np.float32), 0.5, ValueError, "expected equal lengths, got boxes 2"),
        (np.zeros((2, 4)), np.zeros(2, np.float32), 0.5, TypeError, "boxes: expected a float32 array of shape [N, 4]"),
        (np.zeros((2, 4), np.float32), np.zeros(2), 0.5, TypeError, "scores: expected a float32 array of shape [N]"),
        (
            np.zeros((2, 4), np.float32),
            np.zeros((2, 1), np.float32),
            0.5,
            ValueError,
            "scores: expected a float32 array",
        ),
        (
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            50,
            ValueError,
            "iou_threshold: expected a number from",
        ),
        (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.nan, ValueError, "from 0 to 1, got nan"),
    ],
)
def test_refuses(boxes: Any, scores: Any, threshold: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.nms(boxes, scores, threshold)
    assert message in str(caught.value)
