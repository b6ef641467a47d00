"""weighted_box_fusion against a plain reading of the paper, and what odd boxes and scores give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

SIDE = st.integers(0, 8)
ROW = st.tuples(
    SIDE, SIDE, SIDE, SIDE, st.sampled_from([0, 0.25, 0.5, 1]), st.integers(-1, 1), st.integers(0, 2)
)  # coordinates, score, class, model


def reference(boxes: Any, scores: Any, ids: Any, models: int, threshold: float) -> list[tuple[list[float], float, int]]:
    clusters: list[dict[str, Any]] = []
    for i in sorted((i for i in range(len(scores)) if scores[i] > 0), key=lambda i: (-scores[i], i)):
        box, score = boxes[i].astype(np.float64), float(scores[i])
        near = [(float(exact_iou(c["box"], box)), -k) for k, c in enumerate(clusters) if c["id"] == ids[i]]
        if near and max(near)[0] > threshold:
            cluster = clusters[-max(near)[1]]
        else:
            cluster = {"id": ids[i], "members": []}
            clusters.append(cluster)
        cluster["members"].append((score, box))
        total = sum(s for s, _ in cluster["members"])
        cluster["box"] = (sum(s * b for s, b in cluster["members"]) / total).astype(np.float32)
        count = len(cluster["members"])
        cluster["score"] = np.float32(total / count * min(count, models) / models)
    clusters.sort(key=lambda c: -c["score"])  # stable
    return [(c["box"].tolist(), float(c["score"]), int(c["id"])) for c in clusters]


@settings(max_examples=200, deadline=None)
@given(st.lists(ROW, max_size=12), st.sampled_from([0.0, 0.3, 0.55, 1.0]))
def test_matches_the_plain_reading(rows: Any, threshold: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 7)
    boxes, scores, ids = table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int64)
    found = ops.weighted_box_fusion(
        boxes, scores, ids, table[:, 6].astype(np.int64), weights=[2, 2, 2], iou_threshold=threshold
    )
    assert [part.dtype for part in found] == [np.float32, np.float32, np.int64]
    expected = reference(boxes, scores, ids, 3, threshold)
    assert found[2].tolist() == [class_id for *_, class_id in expected]
    np.testing.assert_allclose(found[1], [score for _, score, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(found[0], np.reshape([box for box, *_ in expected], (-1, 4)), rtol=1e-6, atol=1e-6)


SQUARE, WIDER = (0, 0, 10, 10), (0, 0, 12, 10)
CASES = [
    # boxes, scores, models, options, fused boxes, scores
    ([], [], [], {}, [], []),
    ([SQUARE], [0.5], [0], {}, [SQUARE], [0.5]),
    ([SQUARE], [0.5], [1], {}, [SQUARE], [0.25]),  # one of two models
    ([SQUARE, WIDER], [0.5, 0.5], [0, 1], {}, [(0, 0, 11, 10)], [0.5]),
    ([SQUARE, WIDER], [0.75, 0.25], [0, 1], {}, [(0, 0, 10.5, 10)], [0.5]),
    ([SQUARE, WIDER], [0.5, 0.5], [0, 1], {"weights": [3, 1]}, [(0, 0, 10.5, 10)], [0.5]),
    ([SQUARE, WIDER], [0.5, 0.5], [0, 1], {"weights": [0.75, 0.25]}, [(0, 0, 10.5, 10)], [0.5]),  # ratios count
    ([SQUARE, WIDER], [0.5, 0.5], [0, 1], {"iou_threshold": 0.9}, [SQUARE, WIDER], [0.25, 0.25]),
    ([SQUARE, (0, 0, 10, 5)], [0.5, 0.5], [0, 1], {"iou_threshold": 0.5}, [SQUARE, (0, 0, 10, 5)], [0.25, 0.25]),
    ([SQUARE] * 3, [0.5, 0.4, 0.3], [0, 0, 0], {}, [SQUARE], [0.4]),  # more members than models
    ([(5, 5, 5, 5)] * 2, [0.5, 0.5], [0, 1], {}, [(5, 5, 5, 5)] * 2, [0.25, 0.25]),  # no area: alone
    ([SQUARE, SQUARE], [0.5, 0.2], [0, 1], {"score_threshold": 0.2}, [SQUARE], [0.25]),
    ([SQUARE, SQUARE, SQUARE], [0.5, np.nan, np.inf], [0, 0, 0], {}, [SQUARE], [0.5]),
    ([SQUARE, SQUARE], [0.0, -1.0], [0, 1], {}, [], []),
    ([(np.nan, 0, 10, 10), SQUARE], [0.5, 0.5], [0, 1], {}, [(np.nan, 0, 10, 10), SQUARE], [0.25, 0.25]),
    ([(0, 0, 1e30, 1e30)] * 2, [0.5, 0.5], [0, 1], {}, [(0, 0, 1e30, 1e30)], [0.5]),
]


@pytest.mark.parametrize(("boxes", "scores", "models", "options", "fused", "after"), CASES)
def test_cases(boxes: Any, scores: Any, models: Any, options: Any, fused: Any, after: Any) -> None:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    found = ops.weighted_box_fusion(
        array, np.array(scores, np.float32), np.zeros(len(array), int), np.array(models, np.int64), **options
    )
    np.testing.assert_allclose(found[0], np.array(fused, np.float32).reshape(-1, 4), rtol=1e-6)
    np.testing.assert_allclose(found[1], after, rtol=1e-6)


def test_classes_are_not_mixed_and_a_box_joins_the_one_that_it_overlaps_most() -> None:
    boxes = np.float32([SQUARE, (4, 0, 14, 10), (3, 0, 13, 10), SQUARE])
    found = ops.weighted_box_fusion(
        boxes, np.float32([0.9, 0.8, 0.4, 0.7]), np.array([5, 5, 5, 2**62]), np.array([0, 1, 2, 0]), iou_threshold=0.5
    )
    assert found[2].tolist() == [5, 5, 2**62]
    np.testing.assert_allclose(found[0][0], (11 / 3, 0, 41 / 3, 10), rtol=1e-6)  # (4, ..) and (3, ..), 2 to 1


def test_reads_views_and_read_only_arrays() -> None:
    wide = np.zeros((2, 8), np.float32)
    wide[:, ::2] = SQUARE
    wide.flags.writeable = False
    ids = np.zeros(4, int)[::2]
    found = ops.weighted_box_fusion(wide[:, ::2], np.float32([1, 0, 1])[::2], ids, ids)
    assert found[0].tolist() == [list(SQUARE)]


BOXES, SCORES, IDS = np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.array([0, 1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": BOXES[:, :3]}, ValueError, "boxes: expected a float32 array of shape [N, 4], got"),
        ({"scores": SCORES.astype(float)}, TypeError, "scores: expected a float32 array of shape [N], got"),
        ({"model_ids": IDS.astype(np.int32)}, TypeError, "model_ids: expected a int64 array of shape [N], got"),
        ({"model_ids": IDS[:1]}, ValueError, "expected equal lengths, got boxes 2, scores 2, class_ids 2, model_ids 1"),
        ({"model_ids": IDS - 1}, ValueError, "model_ids: expected 0..0, got -1..0"),
        ({"weights": [1]}, ValueError, "model_ids: expected 0..0, got 0..1"),
        ({"weights": [1, 0]}, ValueError, "weights: expected one finite number above 0 for each model, got [1, 0]"),
        ({"weights": []}, ValueError, "weights: expected one finite number above 0 for each model, got []"),
        ({"iou_threshold": 2}, ValueError, "iou_threshold: expected a number from 0 to 1, got 2"),
        ({"score_threshold": -1}, ValueError, "score_threshold: expected a number from 0 to 1, got -1"),
    ],
)  # fmt: skip
def test_refuses(change: Any, error: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"boxes": BOXES, "scores": SCORES, "class_ids": IDS, "model_ids": IDS}
    with pytest.raises(error) as caught:
        ops.weighted_box_fusion(**{**given, **change})
    assert message in str(caught.value)
