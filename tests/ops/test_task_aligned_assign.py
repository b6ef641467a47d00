"""task_aligned_assign against a slow reading of the paper in float64, cell by cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_reference import exact_iou

import ops
from ops.task_aligned_assign import _parallel, _serial

SIZE, STRIDES = (64, 96), (8, 16, 32)
CENTRES = np.array(
    [((x + 0.5) * s, (y + 0.5) * s) for s in STRIDES for y in range(SIZE[0] // s) for x in range(SIZE[1] // s)],
    np.float32,
)
A = len(CENTRES)


def reference(
    scores: Any, predicted: Any, boxes: Any, class_ids: Any, top_k: int = 13, alpha: float = 1, beta: float = 6
) -> tuple[Any, Any]:
    """One picture: each box takes its best aligned cells; a cell that several take goes to the largest IoU."""
    taken: list[list[tuple[float, int, float]]] = []
    for box, class_id in zip(boxes, class_ids, strict=True):
        candidates = []
        for a, (x, y) in enumerate(CENTRES):
            if box[0] < x < box[2] and box[1] < y < box[3]:
                iou = float(exact_iou(predicted[a], box))
                alignment = float(scores[a, class_id]) ** alpha * iou**beta
                if alignment > 0:
                    candidates.append((-alignment, a, iou))
        taken.append(sorted(candidates)[:top_k])
    matched, quality = np.full(A, -1), np.zeros(A)
    for a in range(A):
        wanted = [(-iou, t) for t, cells in enumerate(taken) for _, cell, iou in cells if cell == a]
        matched[a] = min(wanted)[1] if wanted else -1
    for t, cells in enumerate(taken):
        own = [(-alignment, a, iou) for alignment, a, iou in cells if matched[a] == t]
        for alignment, a, _ in own:
            quality[a] = alignment / max(al for al, _, _ in own) * max(iou for _, _, iou in own)
    return matched, quality


def scene(seed: int, classes: int = 3, count: int = 5) -> tuple[Any, Any, Any, Any]:
    """Predictions that lie about where the true boxes are, as after some training."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(6, 60, (count, 2))], 1).astype(np.float32)
    predicted = boxes[rng.integers(0, count, A)] + rng.normal(0, 4, (A, 4)).astype(np.float32)
    return rng.uniform(size=(A, classes)).astype(np.float32), predicted, boxes, rng.integers(0, classes, count)


OPTIONS = [{}, {"top_k": 10, "alpha": 0.5, "beta": 6.0}, {"top_k": 1}, {"top_k": 64, "alpha": 0.0, "beta": 1.0}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(4))
def test_matches_the_plain_reading(seed: int, options: Any) -> None:
    scores, predicted, boxes, ids = scene(seed, classes=(1, 3, 80)[seed % 3])
    matched, quality = ops.task_aligned_assign(scores[None], predicted[None], CENTRES, boxes, ids, [5], **options)
    assert (matched.dtype, quality.dtype, matched.shape) == (np.int64, np.float32, (1, A))
    expected, expected_quality = reference(scores, predicted, boxes, ids, **options)
    np.testing.assert_array_equal(matched[0], expected)
    np.testing.assert_allclose(quality[0], expected_quality, rtol=1e-5, atol=1e-7)
    assert (matched[0] >= 0).any()


def test_a_boxs_best_cell_is_to_say_its_best_iou() -> None:
    scores, predicted, boxes, ids = scene(3)
    matched, quality = ops.task_aligned_assign(scores[None], predicted[None], CENTRES, boxes, ids, [5])
    for t in set(matched[0][matched[0] >= 0]):
        own = np.nonzero(matched[0] == t)[0]
        ious = ops.box_iou(predicted[own], boxes[t : t + 1])[:, 0]
        assert quality[0, own].max() == pytest.approx(ious.max(), rel=1e-6)


def test_pictures_of_a_batch_are_assigned_on_their_own() -> None:
    scenes = [scene(seed, count=count) for seed, count in enumerate((3, 1, 6))]
    stacked = [np.stack([scenes[i][part] for i in (0, 1, 2, 0)]) for part in (0, 1)]
    boxes, ids = (np.concatenate([s[part] for s in scenes]) for part in (2, 3))
    matched, quality = ops.task_aligned_assign(*stacked, CENTRES, boxes, ids, [3, 1, 6, 0])
    for picture, (scores, predicted, own, own_ids) in enumerate(scenes):
        alone = ops.task_aligned_assign(scores[None], predicted[None], CENTRES, own, own_ids, [len(own)])
        np.testing.assert_array_equal(matched[picture], alone[0][0])
        np.testing.assert_array_equal(quality[picture], alone[1][0])
    assert (matched[3] == -1).all()  # the picture without a box
    assert not quality[3].any()


SCORES = np.full((1, A, 2), 0.5, np.float32)
PERFECT = (16, 16, 32, 32)  # holds the centres of the cells (2..3, 2..3) of stride 8, and one of stride 16


def cells_of(
    boxes: Any, ids: Any = None, predicted: Any = PERFECT, scores: Any = SCORES, **options: Any
) -> dict[int, int]:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    classes = np.zeros(len(array), np.int64) if ids is None else np.array(ids)
    own = np.broadcast_to(np.array(predicted, np.float32), (1, A, 4))
    matched, _ = ops.task_aligned_assign(scores, own, CENTRES, array, classes, [len(array)], **options)
    return {int(a): int(matched[0, a]) for a in np.nonzero(matched[0] >= 0)[0]}


def cell(x: int, y: int) -> int:
    return y * 12 + x


INSIDE = [cell(2, 2), cell(3, 2), cell(2, 3), cell(3, 3), 96 + 7]
BY_HAND = [
    ("no box", [], {}, {}),
    ("beside the input", [(200, 200, 220, 220)], {}, {}),
    ("all that lie inside", [PERFECT], {}, dict.fromkeys(INSIDE, 0)),
    ("equal alignments: the lower cell", [PERFECT], {"top_k": 3}, dict.fromkeys(INSIDE[:3], 0)),
    ("the same box twice: the first", [PERFECT] * 2, {}, dict.fromkeys(INSIDE, 0)),
    ("the box that it overlaps more", [(8, 8, 40, 40), PERFECT], {"top_k": 5}, {**dict.fromkeys(INSIDE, 1)}),
    ("no overlap, no alignment", [PERFECT], {"predicted": (60, 60, 70, 70)}, {}),
    ("an edge through a centre is not inside", [(20, 20, 28, 28)], {"predicted": (20, 20, 28, 28)}, {96 + 7: 0}),
    ("an inverted box", [(32, 32, 16, 16)], {}, {}),
    ("NaN in a box", [(np.nan, 16, 32, 32), PERFECT], {}, dict.fromkeys(INSIDE, 1)),
    ("NaN in a prediction", [PERFECT], {"predicted": (16, np.nan, 32, 32)}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("boxes", "options", "expected"), [row[1:] for row in BY_HAND], ids=[r[0] for r in BY_HAND])
def test_by_hand(boxes: Any, options: Any, expected: dict[int, int]) -> None:
    found = cells_of(boxes, **options)
    if len(boxes) == 2 and "top_k" in options:  # what the larger box takes besides
        found = {a: t for a, t in found.items() if t == 1}
    assert found == expected


def test_scores_that_are_odd_neither_fail_nor_win() -> None:
    scores = SCORES.copy()
    scores[0, INSIDE[0]], scores[0, INSIDE[1]], scores[0, INSIDE[2]] = np.nan, 0, -0.5
    assert cells_of([PERFECT], scores=scores, alpha=0.5) == dict.fromkeys(INSIDE[3:], 0)
    scores[0, INSIDE[0]] = 1e-38  # an alignment so small that its inverse is infinite
    _, quality = ops.task_aligned_assign(
        scores, np.broadcast_to(np.float32((16, 16, 32, 17)), (1, A, 4)), CENTRES,
        np.array([PERFECT], np.float32), np.zeros(1, np.int64), [1], alpha=8.0,
    )  # fmt: skip
    assert np.isfinite(quality).all()


def test_serial_and_parallel_are_equal() -> None:
    scenes = [scene(seed) for seed in range(3)]
    scores, predicted = (np.stack([s[part] for s in scenes]) for part in (0, 1))
    boxes, ids = (np.concatenate([s[part] for s in scenes]) for part in (2, 3))
    results = []
    for run in (_serial, _parallel):
        matched, quality = np.full((3, A), -1), np.zeros((3, A), np.float32)
        run(scores, predicted, CENTRES, boxes, ids, np.array([0, 5, 10, 15]), 13, 1.0, 6.0, matched, quality)
        results.append((matched, quality))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_reads_views_and_nothing_at_all() -> None:
    scores, predicted, boxes, ids = scene(1)
    wide = np.zeros((1, A, 8), np.float32)
    wide[..., ::2] = predicted
    wide.flags.writeable = False
    for a, b in zip(
        ops.task_aligned_assign(scores[None], wide[..., ::2], CENTRES, boxes, ids, [5]),
        ops.task_aligned_assign(scores[None], predicted[None], CENTRES, boxes, ids, [5]),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    none = np.zeros((0, A, 3), np.float32), np.zeros((0, A, 4), np.float32)
    assert ops.task_aligned_assign(*none, CENTRES, boxes[:0], ids[:0], [])[0].shape == (0, A)


GIVEN: dict[str, Any] = {
    "scores": np.zeros((1, 9, 2), np.float32), "predicted": np.zeros((1, 9, 4), np.float32),
    "centres": np.zeros((9, 2), np.float32), "boxes": np.zeros((2, 4), np.float32), "class_ids": np.array([0, 1]),
    "counts": [2],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores": np.zeros((9, 2), np.float32)}, ValueError, "scores: expected a float32 array of shape [B, A, C]"),
        ({"predicted": np.zeros((1, 8, 4), np.float32)}, ValueError, "predicted: expected a float32 array of"),
        ({"predicted": np.zeros((1, 9, 4))}, TypeError, "predicted: expected a float32 array of shape [1, 9, 4], got"),
        ({"centres": np.zeros((8, 2), np.float32)}, ValueError, "centres: expected a float32 array of shape [9, 2]"),
        ({"class_ids": np.array([0])}, ValueError, "expected equal lengths, got boxes 2, class_ids 1"),
        ({"class_ids": np.array([0, 2])}, ValueError, "class_ids: expected 0..1, got 0..2"),
        ({"class_ids": np.array([-1, 0])}, ValueError, "class_ids: expected 0..1, got -1..0"),
        ({"counts": [1]}, ValueError, "counts: expected 1 counts that sum to 2, got [1]"),
        ({"counts": [1, 1]}, ValueError, "counts: expected 1 counts that sum to 2, got [1, 1]"),
        ({"top_k": 0}, ValueError, "top_k: expected a whole number from 1 to 64, got 0"),
        ({"alpha": -1}, ValueError, "alpha: expected a finite number of at least 0, got -1"),
        ({"beta": np.inf}, ValueError, "beta: expected a finite number of at least 0, got inf"),
    ],
)  # fmt: skip
def test_refuses(change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.task_aligned_assign(**{**GIVEN, **change})
    assert message in str(caught.value)
