"""rotated_nms against brute force over the reference IoU, against nms for upright boxes, and what odd boxes give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotated_reference import rotated_iou

import ops

SIDE = st.integers(0, 8)
ANGLE = st.sampled_from([0.0, 0.4, math.pi / 2, 2.5, -0.4])
CANDIDATE = st.tuples(SIDE, SIDE, SIDE, SIDE, ANGLE, st.sampled_from([0, 0.25, 0.5, 1]), st.integers(-1, 1))


def greedy(boxes: Any, scores: Any, class_ids: Any, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        rivals = (k for k in kept if class_ids[k] == class_ids[i])
        if all(rotated_iou(boxes[k], boxes[i]) <= threshold for k in rivals):
            kept.append(i)
    return kept


@settings(max_examples=100, deadline=None)
@given(st.lists(CANDIDATE, max_size=9), st.sampled_from([0.01234, 0.1234, 0.51234, 0.91234]))  # no IoU lies just there
def test_matches_brute_force(rows: Any, threshold: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 7)
    boxes, scores, ids = table[:, :5].copy(), table[:, 5].copy(), table[:, 6].astype(np.int64)
    kept = ops.rotated_nms(boxes, scores, threshold, class_ids=ids)
    assert kept.dtype == np.int64
    assert kept.tolist() == greedy(boxes, scores, ids, threshold)
    assert ops.rotated_nms(boxes, scores, threshold).tolist() == greedy(boxes, scores, ids * 0, threshold)


def test_many_upright_boxes_are_suppressed_as_nms_does() -> None:
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(0, 60, (300, 2)), rng.uniform(1, 30, (300, 2)), np.zeros((300, 1))], 1)
    boxes, scores, ids = boxes.astype(np.float32), rng.integers(0, 5, 300).astype(np.float32), rng.integers(0, 3, 300)
    upright = ops.box_convert(boxes[:, :4], "cxcywh", "xyxy")
    kept = ops.rotated_nms(boxes, scores, 0.4, class_ids=ids)
    assert kept.tolist() == ops.batched_nms(upright, scores, ids, 0.4).tolist()


SQUARE, TURNED = (0, 0, 10, 10, 0), (0, 0, 10, 10, math.pi / 4)  # their IoU is 0.707
CASES = [
    ([], [], 0.5, []),
    ([SQUARE], [0.1], 0, [0]),
    ([SQUARE, SQUARE, SQUARE], [0.5, 0.5, 0.5], 0.5, [0]),  # all equal: the first
    ([SQUARE, TURNED], [0.4, 0.5], 0.7, [1]),
    ([SQUARE, TURNED], [0.4, 0.5], 0.71, [1, 0]),
    ([SQUARE, SQUARE], [0.9, 0.5], 1, [0, 1]),  # nothing is above 1
    ([SQUARE, (10, 0, 10, 10, 0)], [0.9, 0.5], 0, [0, 1]),  # a common edge is no overlap
    ([SQUARE, (0, 0, 0, 10, 1)], [0.9, 0.5], 0, [0, 1]),  # no area, no overlap
    ([SQUARE, (0, 0, 1, 1, 1)], [0.9, 0.5], 0.02, [0, 1]),
    ([SQUARE, (0, 0, 1, 1, 1)], [0.9, 0.5], 0.009, [0]),
    ([(1e30, 0, 1e30, 1e30, 1), (1e30, 0, 1e30, 1e30, 1)], [0.4, 0.8], 0.5, [1]),
    ([SQUARE, (50, 0, 10, 10, 0), (70, 0, 9, 9, 0)], [np.nan, 0.2, 0.1], 0.5, [1, 2, 0]),  # NaN comes last
    ([(np.nan, 0, 10, 10, 0), SQUARE, (0, 0, 10, 10, np.inf)], [0.9, 0.8, 0.7], 0.5, [0, 1, 2]),
]


@pytest.mark.parametrize(("boxes", "scores", "threshold", "kept"), CASES)
def test_cases(boxes: Any, scores: Any, threshold: float, kept: list[int]) -> None:
    result = ops.rotated_nms(np.array(boxes, np.float32).reshape(-1, 5), np.array(scores, np.float32), threshold)
    assert result.tolist() == kept


def test_reads_views_and_read_only_arrays() -> None:
    wide = np.zeros((4, 10), np.float32)
    wide[:, ::2] = SQUARE
    wide.flags.writeable = False
    scores = np.arange(8, dtype=np.float32)[::2]
    assert ops.rotated_nms(wide[:, ::2], scores, 0.5, class_ids=np.arange(16)[::4] // 8).tolist() == [3, 1]


BOXES, SCORES = np.zeros((2, 5), np.float32), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "ids", "error", "message"),
    [
        (BOXES, SCORES[:1], 0.5, None, ValueError, "expected equal lengths, got boxes 2, scores 1"),
        (BOXES, SCORES, 0.5, np.zeros(3, int), ValueError, "expected equal lengths, got boxes 2, scores 2, class"),
        (BOXES[:, :4], SCORES, 0.5, None, ValueError, "boxes: expected a float32 array of shape [N, 5], got"),
        (BOXES.astype(float), SCORES, 0.5, None, TypeError, "boxes: expected a float32 array of shape [N, 5], got"),
        (BOXES, SCORES, 0.5, np.zeros(2), TypeError, "class_ids: expected a int64 array of shape [N], got"),
        (BOXES, SCORES, 50, None, ValueError, "iou_threshold: expected a number from 0 to 1, got 50"),
    ],
)  # fmt: skip
def test_refuses(boxes: Any, scores: Any, threshold: Any, ids: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rotated_nms(boxes, scores, threshold, class_ids=ids)
    assert message in str(caught.value)
