"""decode_detections against the definition in plain float64 NumPy, and what odd outputs of a network give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from box_reference import greedy_nms

import ops
from ops import Placement

SIZE = (64, 96)
STRIDES = (8, 16, 32)
CELLS = 8 * 12 + 4 * 6 + 2 * 3
NOTHING = -20.0


def random_head(classes: int, seed: int = 0, size: Any = SIZE, strides: Any = STRIDES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cells = sum((size[0] // s) * (size[1] // s) for s in strides)
    raw = rng.normal(0, 1, (cells, 5 + classes))
    raw[:, 2:4] = rng.normal(0.5, 0.7, (cells, 2))
    raw[:, 4:] *= 2
    return raw.astype(np.float32)


def head_of(*rows: tuple[int, Any]) -> np.ndarray:
    """A head that sees nothing but the given (cell, row)."""
    raw = np.full((CELLS, len(rows[0][1])), NOTHING, np.float32)
    for cell, row in rows:
        raw[cell] = row
    return raw


def reference(
    raw: np.ndarray,
    *,
    size: Any = SIZE,
    strides: Any = STRIDES,
    placement: Any = (1, 1, 0, 0),
    image_size: Any = SIZE,
    score: float = 0.25,
    iou: float = 0.6,
    limit: int = 300,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = [(x, y, s) for s in strides for y in range(size[0] // s) for x in range(size[1] // s)]
    x, y, stride = np.array(grid, np.float64).T
    head = raw.astype(np.float64)
    probabilities = 1 / (1 + np.exp(-head[:, 4:]))
    class_ids = probabilities[:, 1:].argmax(1)
    scores = probabilities[:, 0] * probabilities[:, 1:].max(1)
    centre = np.stack([(head[:, 0] + x) * stride, (head[:, 1] + y) * stride], 1)
    half = np.exp(head[:, 2:4]) * stride[:, None] / 2
    scale_y, scale_x, top, left = placement
    boxes = (np.concatenate([centre - half, centre + half], 1) - [left, top] * 2) / ([scale_x, scale_y] * 2)
    boxes = boxes.clip(0, [image_size[1], image_size[0]] * 2)
    seen = (scores >= score) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores, class_ids = boxes[seen], scores[seen], class_ids[seen]
    kept = greedy_nms(boxes, scores, class_ids, iou)[:limit]
    return boxes[kept], scores[kept], class_ids[kept]


CASES: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    # classes, what differs for the operator, and for the reference
    (1, {}, {}),
    (3, {}, {}),
    (80, {}, {}),
    (3, {"score_threshold": 0.6, "iou_threshold": 0.3}, {"score": 0.6, "iou": 0.3}),
    (3, {"score_threshold": 0.01, "max_detections": 7}, {"score": 0.01, "limit": 7}),
    (3, {"score_threshold": 0, "iou_threshold": 1, "max_detections": 10**9}, {"score": 0, "iou": 1, "limit": 10**9}),
    (3, {"iou_threshold": 0}, {"iou": 0}),
    (
        3,
        {"placement": Placement(0.4, 0.5, 3, 7), "image_size": (150, 170)},
        {"placement": (0.4, 0.5, 3, 7), "image_size": (150, 170)},
    ),
    (
        3,
        {"placement": Placement(32.0, 32.0, 0, 16), "image_size": (2, 2)},
        {"placement": (32, 32, 0, 16), "image_size": (2, 2)},
    ),
]


@pytest.mark.parametrize(("classes", "options", "plain"), CASES)
def test_matches_plain_numpy(classes: int, options: Any, plain: Any) -> None:
    raw = random_head(classes)
    boxes, scores, class_ids = ops.decode_detections(raw, input_size=SIZE, **options)
    expected = reference(raw, **plain)
    assert (boxes.dtype, scores.dtype, class_ids.dtype) == (np.float32, np.float32, np.int64)
    assert boxes.shape == (len(scores), 4)
    assert len(scores) > 1
    np.testing.assert_array_equal(class_ids, expected[2])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5)
    np.testing.assert_allclose(boxes, expected[0], rtol=1e-5, atol=1e-4)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(
    ("size", "strides"), [((32, 32), (8, 16, 32)), ((64, 32), (16,)), ((96, 160), (32, 8)), ((64, 64), (4, 64))]
)
def test_follows_the_strides_in_their_order(size: Any, strides: Any) -> None:
    raw = random_head(2, size=size, strides=strides)
    boxes, _, class_ids = ops.decode_detections(raw, input_size=size, strides=strides)
    expected = reference(raw, size=size, strides=strides, image_size=size)
    np.testing.assert_allclose(boxes, expected[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(class_ids, expected[2])


@pytest.mark.parametrize("center", [False, True])
def test_a_box_comes_back_from_the_letterbox(center: bool) -> None:
    image_size, box = (313, 207), np.array([20.5, 100, 130.25, 290])
    _, placement = ops.letterbox(np.zeros((*image_size, 3), np.uint8), SIZE, center=center)
    x1, y1, x2, y2 = box * ([placement.scale_x, placement.scale_y] * 2) + [placement.left, placement.top] * 2
    row = [(x1 + x2) / 16 - 3, (y1 + y2) / 16 - 2, math.log((x2 - x1) / 8), math.log((y2 - y1) / 8), 9, NOTHING, 9]
    raw = head_of((2 * 12 + 3, row))  # row 2, column 3 of stride 8
    boxes, _, class_ids = ops.decode_detections(raw, input_size=SIZE, placement=placement, image_size=image_size)
    np.testing.assert_allclose(boxes, [box], atol=0.01)
    assert class_ids.tolist() == [1]


@pytest.mark.parametrize("class_logit", [0.5, 30])
def test_a_threshold_equal_to_a_score_keeps_it(class_logit: float) -> None:
    """The early test on objectness alone must never drop what the product keeps, at scores of 1e-8 as at 1."""
    for objectness in np.linspace(-18, 20, 500):
        raw = head_of((0, (0, 0, 0, 0, objectness, class_logit)))
        best = ops.decode_detections(raw, input_size=SIZE, score_threshold=0, max_detections=1)[1]
        again = ops.decode_detections(raw, input_size=SIZE, score_threshold=float(best[0]), max_detections=1)[1]
        assert again.tolist() == best.tolist(), objectness


def as_boxes(raw: np.ndarray, size: Any = SIZE, strides: Any = STRIDES, bins: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (xyxy, input pixels) and scores [A, C] of a head of distances (``bins``) or of boxes (0), in float64."""
    head = raw.astype(np.float64)
    if not bins:
        return np.concatenate([head[:, :2] - head[:, 2:4] / 2, head[:, :2] + head[:, 2:4] / 2], 1), head[:, 4:]
    grid = [
        ((x + 0.5) * s, (y + 0.5) * s, s) for s in strides for y in range(size[0] // s) for x in range(size[1] // s)
    ]
    x, y, stride = np.array(grid).T
    logits = head[:, : 4 * bins].reshape(-1, 4, bins)
    distances = logits[:, :, 0]
    if bins > 1:
        parts = np.exp(logits - logits.max(2, keepdims=True))
        distances = (parts * np.arange(bins)).sum(2) / parts.sum(2)
    left, top, right, bottom = distances.T * stride
    return np.stack([x - left, y - top, x + right, y + bottom], 1), 1 / (1 + np.exp(-head[:, 4 * bins :]))


def dense_reference(
    raw: np.ndarray,
    bins: int,
    placement: Any = (1, 1, 0, 0),
    image_size: Any = SIZE,
    score: float = 0.25,
    iou: float = 0.6,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes, probabilities = as_boxes(raw, bins=bins)
    class_ids, scores = probabilities.argmax(1), probabilities.max(1)
    scale_y, scale_x, top, left = placement
    boxes = ((boxes - [left, top] * 2) / ([scale_x, scale_y] * 2)).clip(0, [image_size[1], image_size[0]] * 2)
    seen = (scores >= score) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores, class_ids = boxes[seen], scores[seen], class_ids[seen]
    kept = greedy_nms(boxes, scores, class_ids, iou)
    return boxes[kept], scores[kept], class_ids[kept]


def dense_head(bins: int, classes: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if not bins:
        boxes = np.concatenate([rng.uniform(0, 90, (CELLS, 2)), rng.uniform(4, 40, (CELLS, 2))], 1)
        return np.concatenate([boxes, rng.uniform(0, 1, (CELLS, classes)) ** 4], 1).astype(np.float32)
    near = np.abs(rng.normal(0, 2, (CELLS, 4))) if bins == 1 else rng.normal(0, 2, (CELLS, 4 * bins))
    return np.concatenate([near, rng.normal(-1.5, 1.5, (CELLS, classes))], 1).astype(np.float32)


MAPPED = {"placement": Placement(0.4, 0.5, 3, 7), "image_size": (150, 170)}
DENSE = [
    # head, bins, classes, what differs for the operator, and for the reference
    ("distances", 16, 80, {}, {}),
    ("distances", 16, 1, {}, {}),
    ("distances", 8, 3, {"score_threshold": 0.01, "iou_threshold": 0.3}, {"score": 0.01, "iou": 0.3}),
    ("distances", 1, 3, {}, {}),
    ("distances", 5, 3, MAPPED, {**MAPPED, "placement": (0.4, 0.5, 3, 7)}),
    ("boxes", 0, 80, {}, {}),  # [A, 84]
    ("boxes", 0, 1, {"score_threshold": 0.0, "iou_threshold": 0.2}, {"score": 0.0, "iou": 0.2}),
    ("boxes", 0, 3, MAPPED, {**MAPPED, "placement": (0.4, 0.5, 3, 7)}),
]


@pytest.mark.parametrize(("head", "bins", "classes", "options", "plain"), DENSE)
def test_heads_match_plain_numpy_in_both_layouts(head: Any, bins: int, classes: int, options: Any, plain: Any) -> None:
    raw = dense_head(bins, classes)
    expected = dense_reference(raw, bins, **plain)
    assert len(expected[1]) > 1
    given = {"input_size": SIZE, "head": head, "bins": max(bins, 1), **options}
    found = ops.decode_detections(raw, **given)
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-4)
    for a, b in zip(found, ops.decode_detections(raw.T.copy(), layout="channels_first", **given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_yolox_head_may_have_its_channels_first() -> None:
    raw = random_head(3)
    raw[5, 6], raw[7, 2], raw[9, 4] = np.nan, np.nan, np.nan
    turned = ops.decode_detections(raw.T.copy(), input_size=SIZE, layout="channels_first")
    for a, b in zip(ops.decode_detections(raw, input_size=SIZE), turned, strict=True):
        np.testing.assert_array_equal(a, b)


def test_boxes_may_be_of_any_number_and_order() -> None:
    raw = dense_head(0, 3)[:17]
    boxes, scores, _ = ops.decode_detections(raw, input_size=SIZE, head="boxes", score_threshold=0.1)
    again = ops.decode_detections(raw[::-1], input_size=SIZE, head="boxes", score_threshold=0.1)
    np.testing.assert_array_equal(boxes, again[0])
    np.testing.assert_array_equal(scores, again[1])
    none = ops.decode_detections(raw[:0], input_size=SIZE, head="boxes")
    assert [part.shape for part in none] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize("layout", ["cells_first", "channels_first"])
def test_a_distribution_by_hand_and_odd_ones(layout: Any) -> None:
    """All on 1 stride: a box of 2 x 2 strides about the cell's centre; between 0 and 2 in halves as well."""
    raw = np.full((CELLS, 4 * 3 + 2), NOTHING, np.float32)
    raw[:, :12] = 0
    raw[0, [1, 4, 7, 10]], raw[0, 12] = 99, 9
    raw[40, [0, 2]], raw[40, [4, 7, 10]], raw[40, 13] = 99, 99, 9  # cell (4, 3)
    raw[50, 3], raw[50, 12] = np.nan, 9
    raw[51, 3], raw[51, 12] = np.inf, 9
    raw[52, :12], raw[52, 12] = -np.inf, 9
    raw[53, 12] = np.nan
    given = raw.T.copy() if layout == "channels_first" else raw
    boxes, scores, ids = ops.decode_detections(given, input_size=SIZE, head="distances", bins=3, layout=layout)
    np.testing.assert_allclose(boxes, [[0, 0, 12, 12], [28, 20, 44, 36]], atol=1e-4)
    assert ids.tolist() == [0, 1]
    assert len(scores) == 2


@pytest.mark.parametrize("head", ["distances", "boxes"])
def test_a_threshold_equal_to_a_score_keeps_it_in_every_head(head: Any) -> None:
    for number in np.linspace(1e-6, 1, 300) if head == "boxes" else np.linspace(-18, 20, 300):
        raw = np.array([[9, 9, 9, 9, number]], np.float32)
        given: dict[str, Any] = {"input_size": (32, 32), "strides": (32,), "head": head, "bins": 1}
        best = ops.decode_detections(raw, score_threshold=0, **given)[1]
        again = ops.decode_detections(raw, score_threshold=float(best[0]), **given)[1]
        assert again.tolist() == best.tolist(), number


ONE = (0.5, 0.5, 0, 0, 9, 9)  # a box of 8 x 8 in its cell's middle
ODD = [
    # rows of one class, thresholds, what is found
    ([(0, ONE)], {}, [[0, 0, 8, 8]]),
    ([(0, (0.5, 0.5, 0, 0, 30, 30))], {"score_threshold": 1}, [[0, 0, 8, 8]]),  # float32 sigmoids are 1 there
    ([(0, (0.5, 0.5, 0, 0, 9, 30))], {"score_threshold": 1}, []),
    ([(0, (0, 0, 99, 99, 9, 9))], {}, [[0, 0, 96, 64]]),  # larger than float32 can say: the whole picture
    ([(0, (0.5, 0.5, -99, -99, 9, 9))], {}, []),  # smaller than float32 can say: no area
    ([(0, (-9, 0.5, 0, 0, 9, 9))], {}, []),  # left of the picture
    ([(0, (0.5, 99, 0, 0, 9, 9))], {}, []),  # below it
    ([(0, (np.nan, 0.5, 0, 0, 9, 9)), (1, ONE)], {}, [[8, 0, 16, 8]]),
    ([(0, (0.5, 0.5, 0, np.nan, 9, 9))], {}, []),
    ([(0, (0.5, 0.5, 0, 0, np.nan, 9))], {"score_threshold": 0.01}, []),
    ([(0, (0.5, 0.5, 0, 0, 9, np.nan))], {}, []),
    ([(0, (np.inf, 0.5, np.inf, 0, 9, 9))], {}, []),
    ([(0, ONE), (1, (-0.5, 0.5, 0, 0, 9, 9))], {}, [[0, 0, 8, 8]]),  # twice the same: the earlier cell
    ([(1, ONE), (0, ONE), (95, ONE)], {"max_detections": 2}, [[0, 0, 8, 8], [8, 0, 16, 8]]),
]


@pytest.mark.parametrize(("rows", "options", "found"), ODD)
def test_odd_outputs(rows: Any, options: Any, found: Any) -> None:
    boxes, scores, class_ids = ops.decode_detections(head_of(*rows), input_size=SIZE, **options)
    np.testing.assert_allclose(boxes, np.reshape(found, (-1, 4)), atol=1e-3)
    assert len(scores) == len(class_ids) == len(found)


def test_equal_classes_take_the_lower_and_do_not_suppress_each_other() -> None:
    raw = head_of((0, (*ONE[:4], 9, 5, 5, 1)), (1, (-0.5, 0.5, 0, 0, 9, 1, 5, 5)))
    boxes, _, class_ids = ops.decode_detections(raw, input_size=SIZE)
    assert class_ids.tolist() == [0, 1]
    np.testing.assert_array_equal(boxes[0], boxes[1])


def test_reads_views_and_a_size_from_an_array() -> None:
    raw = random_head(3)
    wide = np.zeros((CELLS, 16), np.float32)
    wide[:, ::2] = raw
    view = wide[:, ::2]
    view.flags.writeable = False
    for a, b in zip(
        ops.decode_detections(view, input_size=SIZE, image_size=np.array(SIZE)),
        ops.decode_detections(raw, input_size=SIZE, image_size=SIZE),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


RAW = random_head(3)


@pytest.mark.parametrize(
    ("raw", "options", "error", "message"),
    [
        (RAW.T, {}, ValueError, f"input (64, 96) and strides (8, 16, 32), got (8, {CELLS})"),  # swapped
        (RAW[None], {}, ValueError, "raw: expected a float32 array of shape [A, 5 + C], got float32 array of shape"),
        (RAW.astype(np.float16), {}, TypeError, "raw: expected a float32 array of shape [A, 5 + C], got float16 array"),
        (RAW[:, :5], {}, ValueError, f"got ({CELLS}, 5)"),  # no class
        (RAW[:-1], {}, ValueError, f"raw: expected shape [{CELLS}, 5 + C]"),
        (RAW, {"input_size": (96, 96)}, ValueError, "raw: expected shape [189, 5 + C] for input (96, 96)"),
        (RAW, {"strides": (8, 16)}, ValueError, "raw: expected shape [120, 5 + C]"),
        (RAW, {"score_threshold": 25}, ValueError, "score_threshold: expected a number from 0 to 1, got 25"),
        (RAW, {"score_threshold": math.nan}, ValueError, "score_threshold: expected a number from 0 to 1, got nan"),
        (RAW, {"iou_threshold": -0.1}, ValueError, "iou_threshold: expected a number from 0 to 1, got -0.1"),
        (RAW, {"layout": "channels_first"}, ValueError, f"raw: expected shape [5 + C, {CELLS}] for input (64, 96)"),
        (RAW, {"head": "distances"}, ValueError, f"raw: expected shape [{CELLS}, 64 + C] for input (64, 96)"),
        (RAW[:, :4], {"head": "boxes"}, ValueError, f"raw: expected shape [{CELLS}, 4 + C]"),
        (RAW, {"head": "yolo"}, ValueError, "head: expected yolox, distances, boxes, got 'yolo'"),
        (RAW, {"layout": "CA"}, ValueError, "layout: expected cells_first or channels_first, got 'CA'"),
        (RAW, {"head": "distances", "bins": 0}, ValueError, "bins: expected a whole number from 1 to "),
        (RAW, {"max_detections": 0}, ValueError, "max_detections: expected a whole number from 1 to "),
    ],
)  # fmt: skip
def test_refuses(raw: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.decode_detections(raw, **{"input_size": SIZE, **options})
    assert message in str(caught.value)
