"""soft_nms against the paper's loop over exact fractions, and what odd boxes and scores give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

SIDE = st.integers(0, 10)
CANDIDATE = st.tuples(SIDE, SIDE, SIDE, SIDE, st.sampled_from([0, 0.25, 0.5, 1]), st.integers(-1, 1))


def reference(
    boxes: Any,
    scores: Any,
    ids: Any,
    method: str = "linear",
    threshold: float = 0.3,
    sigma: float = 0.5,
    least: float = 0.001,
) -> tuple[list[int], list[Any]]:
    """Over all classes at once, as the operator does not; each score is float32 after each step, as its result is."""
    scores, left, kept = list(map(np.float32, scores)), list(range(len(scores))), []
    while left := [i for i in left if scores[i] >= np.float32(least)]:
        best = max(left, key=lambda i: (scores[i], -i))
        left.remove(best)
        kept.append(best)
        for i in left:
            iou = float(exact_iou(boxes[best], boxes[i])) if ids[i] == ids[best] else 0.0
            if method == "gaussian":
                scores[i] = np.float32(float(scores[i]) * math.exp(-(iou**2) / sigma))
            elif iou > threshold:
                scores[i] = np.float32(float(scores[i]) * (1 - iou))
    return kept, [scores[i] for i in kept]


OPTIONS = st.one_of(
    st.fixed_dictionaries({"method": st.just("linear"), "iou_threshold": st.sampled_from([0.0, 0.3, 0.5, 1.0])}),
    st.fixed_dictionaries({"method": st.just("gaussian"), "sigma": st.sampled_from([0.1, 0.5, 2.0])}),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CANDIDATE, max_size=12), OPTIONS, st.sampled_from([0.0, 0.001, 0.3]))
def test_matches_the_papers_loop(rows: Any, options: dict[str, Any], least: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 6)
    boxes, scores, ids = table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int64)
    before = scores.copy()
    for classes in (ids, None):
        kept, softened = ops.soft_nms(boxes, scores, class_ids=classes, score_threshold=least, **options)
        assert (kept.dtype, softened.dtype) == (np.int64, np.float32)
        method, threshold = options["method"], options.get("iou_threshold", 0.3)
        plain_ids = ids if classes is not None else ids * 0
        expected = reference(boxes, scores, plain_ids, method, threshold, options.get("sigma", 0.5), least)
        assert kept.tolist() == expected[0]
        np.testing.assert_array_equal(softened, np.array(expected[1], np.float32))
    np.testing.assert_array_equal(scores, before)  # the caller's are left alone


SQUARE, HALF = (0, 0, 10, 10), (0, 0, 10, 5)  # IoU 0.5
LINEAR, GAUSSIAN = {"method": "linear"}, {"method": "gaussian"}
CASES = [
    # boxes, scores, options, kept, scores after
    ([], [], LINEAR, [], []),
    ([SQUARE], [0.5], LINEAR, [0], [0.5]),
    ([SQUARE, HALF], [0.9, 0.8], LINEAR, [0, 1], [0.9, 0.4]),
    ([SQUARE, HALF], [0.9, 0.8], GAUSSIAN, [0, 1], [0.9, 0.8 * math.exp(-0.5)]),
    ([SQUARE, HALF], [0.9, 0.8], {"iou_threshold": 0.5}, [0, 1], [0.9, 0.8]),  # an IoU at the threshold costs nothing
    ([SQUARE, SQUARE], [0.9, 0.8], LINEAR, [0], [0.9]),
    ([SQUARE, SQUARE], [0.9, 0.8], {"score_threshold": 0.0}, [0, 1], [0.9, 0]),
    ([SQUARE, SQUARE, SQUARE], [0.5, 0.5, 0.5], GAUSSIAN, [0, 1, 2], [0.5, 0.5 * math.exp(-2), 0.5 * math.exp(-4)]),
    ([SQUARE, HALF, (50, 0, 60, 9)], [0.9, 0.8, 0.7], LINEAR, [0, 2, 1], [0.9, 0.7, 0.4]),  # overtaken
    ([SQUARE, HALF], [0.9, np.nan], LINEAR, [0], [0.9]),
    ([SQUARE, HALF], [np.inf, -0.5], LINEAR, [0], [np.inf]),
    ([SQUARE, SQUARE], [np.inf, np.inf], LINEAR, [0], [np.inf]),
    ([(np.nan, 0, 10, 10), SQUARE], [0.9, 0.8], GAUSSIAN, [0, 1], [0.9, 0.8]),  # a NaN box softens nothing
    ([(5, 5, 5, 5), SQUARE], [0.9, 0.8], GAUSSIAN, [0, 1], [0.9, 0.8]),
    ([(0, 0, 1e30, 1e30), (0, 0, 1e30, 1e30)], [0.9, 0.8], LINEAR, [0], [0.9]),
]


@pytest.mark.parametrize(("boxes", "scores", "options", "kept", "after"), CASES)
def test_cases(boxes: Any, scores: Any, options: Any, kept: Any, after: Any) -> None:
    found, softened = ops.soft_nms(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), **options)
    assert found.tolist() == kept
    np.testing.assert_allclose(softened, np.array(after, np.float32), rtol=1e-6)


def test_many_boxes_and_classes_however_large_their_numbers() -> None:
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.integers(1, 30, (200, 2))], 1).astype(np.float32)
    scores, ids = rng.integers(0, 9, 200).astype(np.float32) / 8, rng.integers(-1, 2, 200) * 2**62
    kept, softened = ops.soft_nms(boxes, scores, class_ids=ids)
    expected = reference(boxes, scores, ids)
    assert kept.tolist() == expected[0]
    np.testing.assert_array_equal(softened, np.array(expected[1]))
    assert (np.diff(softened) <= 0).all()


def test_reads_views_and_read_only_arrays() -> None:
    wide = np.zeros((2, 8), np.float32)
    wide[:, ::2] = SQUARE, HALF
    wide.flags.writeable = False
    kept, _ = ops.soft_nms(wide[:, ::2], np.float32([1, 0, 0.5])[::2], class_ids=np.zeros(4, int)[::2])
    assert kept.tolist() == [0, 1]


BOXES, SCORES = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("boxes", "scores", "options", "error", "message"),
    [
        (BOXES, SCORES[:1], {}, ValueError, "expected equal lengths, got boxes 2, scores 1"),
        (BOXES, SCORES, {"class_ids": np.zeros(2)}, TypeError, "class_ids: expected a int64 array of shape [N], got"),
        (BOXES[:, :3], SCORES, {}, ValueError, "boxes: expected a float32 array of shape [N, 4], got"),
        (BOXES.astype(float), SCORES, {}, TypeError, "boxes: expected a float32 array of shape [N, 4], got"),
        (BOXES, SCORES, {"method": "hard"}, ValueError, "method: expected linear or gaussian, got 'hard'"),
        (BOXES, SCORES, {"sigma": 0}, ValueError, "sigma: expected a finite number above 0, got 0"),
        (BOXES, SCORES, {"sigma": math.nan}, ValueError, "sigma: expected a finite number above 0, got nan"),
        (BOXES, SCORES, {"iou_threshold": -1}, ValueError, "iou_threshold: expected a number from 0 to 1, got -1"),
        (BOXES, SCORES, {"score_threshold": 2}, ValueError, "score_threshold: expected a number from 0 to 1, got 2"),
    ],
)  # fmt: skip
def test_refuses(boxes: Any, scores: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.soft_nms(boxes, scores, **options)
    assert message in str(caught.value)
