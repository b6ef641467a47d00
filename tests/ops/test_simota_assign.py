"""simota_assign against a slow reading of the paper in float64, cell by cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou

import ops
from ops.simota_assign import _parallel, _serial

SIZE = (64, 96)
STRIDES = (8, 16, 32)
CELLS = [(x, y, s) for s in STRIDES for y in range(SIZE[0] // s) for x in range(SIZE[1] // s)]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def predicted_box(row: Any, cell: tuple[int, int, int]) -> list[float]:
    x, y, stride = cell
    cx, cy = (row[0] + x) * stride, (row[1] + y) * stride
    w, h = math.exp(row[2]) * stride, math.exp(row[3]) * stride
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def class_cost(row: Any, class_id: int) -> float:
    cost = 0.0
    for c, logit in enumerate(row[5:]):
        p = math.sqrt(sigmoid(row[4]) * sigmoid(logit))
        cost -= math.log(p) if c == class_id else math.log(1 - p)
    return cost


def reference(raw: np.ndarray, boxes: Any, class_ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """One picture: for each box its k cheapest candidates; a cell that several want goes to the one it costs least."""
    wanted: dict[int, tuple[float, int, float]] = {}
    rows = raw.astype(np.float64).tolist()
    for t, (box, class_id) in enumerate(zip(boxes, class_ids, strict=True)):
        x1, y1, x2, y2 = (float(v) for v in box)
        candidates = []
        for a, (cell, row) in enumerate(zip(CELLS, rows, strict=True)):
            stride = cell[2]
            x, y = (cell[0] + 0.5) * stride, (cell[1] + 0.5) * stride
            inside = x1 < x < x2 and y1 < y < y2
            near = abs(x - (x1 + x2) / 2) < 2.5 * stride and abs(y - (y1 + y2) / 2) < 2.5 * stride
            if inside or near:
                iou = float(exact_iou(predicted_box(row, cell), box))
                cost = class_cost(row, class_id) - 3 * math.log(iou + 1e-8) + (0 if inside and near else 1e5)
                candidates.append((cost, a, iou))
        k = max(1, int(sum(sorted((iou for _, _, iou in candidates), reverse=True)[:10])))
        for cost, a, iou in sorted(candidates)[:k]:
            if a not in wanted or cost < wanted[a][0]:
                wanted[a] = (cost, t, iou)
    matched, ious = np.full(len(raw), -1), np.zeros(len(raw))
    for a, (_, t, iou) in wanted.items():
        matched[a], ious[a] = t, iou
    return matched, ious


def scene(seed: int, classes: int = 3, count: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A head whose boxes lie about where the true ones are, as after some training."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(6, 60, (count, 2))], 1).astype(np.float32)
    raw = rng.normal(0, 1.5, (len(CELLS), 5 + classes))
    for a, (x, y, stride) in enumerate(CELLS):
        x1, y1, x2, y2 = boxes[rng.integers(count)]
        raw[a, :2] = np.array([x1 + x2, y1 + y2]) / 2 / stride - [x, y] + rng.normal(0, 0.3, 2)
        raw[a, 2:4] = np.log([(x2 - x1) / stride, (y2 - y1) / stride]) + rng.normal(0, 0.2, 2)
    return raw.astype(np.float32), boxes, rng.integers(0, classes, count)


@pytest.mark.parametrize("seed", range(8))
def test_matches_the_plain_reading(seed: int) -> None:
    raw, boxes, class_ids = scene(seed, classes=(1, 3, 80)[seed % 3])
    matched, ious = ops.simota_assign(raw[None], boxes, class_ids, [len(boxes)], input_size=SIZE)
    assert (matched.dtype, ious.dtype, matched.shape) == (np.int64, np.float32, (1, len(CELLS)))
    expected, expected_ious = reference(raw, boxes, class_ids)
    np.testing.assert_array_equal(matched[0], expected)
    np.testing.assert_allclose(ious[0], expected_ious, rtol=1e-4, atol=1e-6)
    assert (matched[0] >= 0).sum() > len(boxes)  # some box has several cells, so that k was put to use


def test_pictures_of_a_batch_are_assigned_on_their_own() -> None:
    scenes = [scene(seed, count=count) for seed, count in enumerate((3, 1, 6))]
    raw = np.stack([scenes[0][0], scenes[1][0], scenes[2][0], scenes[0][0]])
    boxes = np.concatenate([s[1] for s in scenes])
    class_ids = np.concatenate([s[2] for s in scenes])
    matched, ious = ops.simota_assign(raw, boxes, class_ids, [3, 1, 6, 0], input_size=SIZE)
    for picture, (head, its_boxes, its_classes) in enumerate(scenes):
        alone = ops.simota_assign(head[None], its_boxes, its_classes, [len(its_boxes)], input_size=SIZE)
        np.testing.assert_array_equal(matched[picture], alone[0][0])
        np.testing.assert_array_equal(ious[picture], alone[1][0])
    assert (matched[3] == -1).all()  # the picture without a box
    assert not ious[3].any()


# Every cell predicts just itself, with probability 1/2 of everything.
BLANK = np.zeros((len(CELLS), 7), np.float32)
BLANK[:, :2] = 0.5


def cells_of(boxes: Any, class_ids: Any = None, raw: np.ndarray = BLANK) -> dict[int, int]:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(array), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    matched, _ = ops.simota_assign(raw[None], array, classes, [len(array)], input_size=SIZE)
    return {int(a): int(matched[0, a]) for a in np.nonzero(matched[0] >= 0)[0]}


def cell(x: int, y: int) -> int:
    """The index of a cell of stride 8."""
    return y * 12 + x


FAR = np.zeros((len(CELLS), 7), np.float32)
FAR[:, 0] = 50  # predictions that meet no box

BY_HAND = [
    ("no box", BLANK, [], [], {}),
    ("beside the input", BLANK, [(200, 200, 220, 220)], [0], {}),
    ("predicted exactly by cell (2, 2)", BLANK, [(16, 16, 24, 24)], [0], {cell(2, 2): 0}),
    ("no area: still one cell, the first of the nearest", FAR, [(40, 40, 40, 40)], [0], {cell(3, 3): 0}),
    ("equal costs: the lower cell", FAR, [(32, 32, 48, 48)], [0], {cell(4, 4): 0}),
    ("a NaN box learns nothing", BLANK, [(np.nan, 0, 10, 10), (16, 16, 24, 24)], [0, 0], {cell(2, 2): 1}),
    ("the same box twice: the first", BLANK, [(16, 16, 24, 24)] * 2, [0, 0], {cell(2, 2): 0}),
]


@pytest.mark.parametrize(
    ("raw", "boxes", "class_ids", "expected"), [row[1:] for row in BY_HAND], ids=[r[0] for r in BY_HAND]
)
def test_by_hand(raw: np.ndarray, boxes: Any, class_ids: Any, expected: dict[int, int]) -> None:
    assert cells_of(boxes, class_ids, raw) == expected


@pytest.mark.parametrize("confident_class", [0, 1])
def test_a_cell_wanted_twice_learns_the_box_of_the_class_it_believes_in(confident_class: int) -> None:
    raw = BLANK.copy()
    raw[:, 5 + confident_class] = 4
    assert cells_of([(16, 16, 24, 24)] * 2, [0, 1], raw)[cell(2, 2)] == confident_class


def test_extreme_outputs_neither_fail_nor_win() -> None:
    raw = BLANK.copy()
    raw[:40] = np.float32([1e30, -1e30, 500, -500, 500, -500, 500])
    raw[40:60] = np.nan
    raw[60:70] = np.inf
    matched, ious = ops.simota_assign(
        raw[None], np.array([(0, 0, 96, 64)], np.float32), np.zeros(1, np.int64), [1], input_size=SIZE
    )
    won = np.nonzero(matched[0] >= 0)[0]
    assert len(won) >= 1
    assert won.min() >= 70
    assert np.isfinite(ious[matched >= 0]).all()


def test_serial_and_parallel_are_equal() -> None:
    scenes = [scene(seed) for seed in range(3)]
    raw = np.stack([s[0] for s in scenes])
    boxes, class_ids = np.concatenate([s[1] for s in scenes]), np.concatenate([s[2] for s in scenes])
    results = []
    for run in (_serial, _parallel):
        matched, ious = np.full(raw.shape[:2], -1), np.zeros(raw.shape[:2], np.float32)
        run(raw, *SIZE, np.array(STRIDES), boxes, class_ids, np.array([0, 5, 10, 15]), matched, ious)
        results.append((matched, ious))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


IDS = np.array([0, 1])
A = len(CELLS)


@pytest.mark.parametrize(
    ("raw", "boxes", "class_ids", "counts", "error", "message"),
    [
        (zeros(1, 7, A), zeros(2, 4), IDS, [2], ValueError, f"raw: expected shape [B, {A}, 5 + C] for input (64, 96)"),
        (zeros(1, A, 5), zeros(0, 4), IDS[:0], [0], ValueError, f"got (1, {A}, 5)"),
        (zeros(A, 7), zeros(2, 4), IDS, [2], ValueError, "raw: expected a float32 array of shape [B, A, 5 + C]"),
        (zeros(1, A, 7, dtype=np.float64), zeros(2, 4), IDS, [2], TypeError, "raw: expected a float32 array"),
        (zeros(1, A, 7), zeros(2, 4, dtype=np.float64), IDS, [2], TypeError, "boxes: expected a float32 array"),
        (zeros(1, A, 7), zeros(2, 4), IDS.astype(np.int32), [2], TypeError, "class_ids: expected a int64 array"),
        (zeros(1, A, 7), zeros(3, 4), IDS, [3], ValueError, "expected equal lengths, got boxes 3, class_ids 2"),
        (zeros(1, A, 7), zeros(2, 4), IDS, [1], ValueError, "counts: expected 1 counts that sum to 2, got [1]"),
        (zeros(2, A, 7), zeros(2, 4), IDS, [2], ValueError, "counts: expected 2 counts that sum to 2, got [2]"),
        (zeros(2, A, 7), zeros(2, 4), IDS, [3, -1], ValueError, "counts: expected 2 counts that sum to 2, got [3, -1]"),
        (zeros(1, A, 7), zeros(2, 4), IDS + 1, [2], ValueError, "class_ids: expected 0..1, got 1..2"),
        (zeros(1, A, 7), zeros(2, 4), IDS - 1, [2], ValueError, "class_ids: expected 0..1, got -1..0"),
    ],
)
def test_refuses(raw: Any, boxes: Any, class_ids: Any, counts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.simota_assign(raw, boxes, class_ids, counts, input_size=SIZE)
    assert message in str(caught.value)
