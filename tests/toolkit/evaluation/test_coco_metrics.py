"""COCO's numbers at the ends that one can tell by hand, intervals, and the operating point counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.data.table import BoxSample, Table
from toolkit.evaluation.coco_metrics import Detections, bootstrap, evaluator, precision_curves, summarise
from toolkit.evaluation.operating_point import at_threshold, confusion_matrix

NAMES = ("cat", "dog")


def sample(boxes: list[list[float]], classes: list[int], crowd: list[bool] | None = None) -> BoxSample:
    array = np.float32(boxes).reshape(-1, 4)
    areas = (array[:, 2:] - array[:, :2]).prod(1).astype(np.float64)
    flags = np.array(crowd or [False] * len(classes), bool)
    return BoxSample(
        path=Path("x.jpg"), name="x.jpg", size=(100, 100), split="val", group="x",
        boxes=array, class_ids=np.array(classes, np.int64), crowd=flags, areas=areas,
    )  # fmt: skip


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(classes, np.int64))


A, B, FAR = [10.0, 10, 50, 50], [60.0, 60, 90, 90], [0.0, 80, 15, 95]
TABLE = Table(NAMES, (sample([A, B], [0, 1]), sample([A], [0]), sample([], [])))
PERFECT = [found([A, B], [0.9, 0.8], [0, 1]), found([A], [0.7], [0]), found([], [], [])]
NOTHING = [found([], [], [])] * 3


@pytest.mark.parametrize(
    ("detections", "ap50", "cat", "dog"),
    [
        (PERFECT, 1.0, 1.0, 1.0),
        (NOTHING, 0.0, 0.0, 0.0),
        # one of two cats found: precision 1 up to recall 0.5, which covers 51 of COCO's 101 recalls
        ([PERFECT[0], NOTHING[0], NOTHING[0]], (51 / 101 + 1) / 2, 51 / 101, 1.0),
        # classes swapped: nothing is right
        ([found([A, B], [0.9, 0.8], [1, 0]), NOTHING[0], NOTHING[0]], 0.0, 0.0, 0.0),
        # a better scored box elsewhere halves the dog's precision
        ([found([A, B, FAR], [0.9, 0.8, 0.85], [0, 1, 1]), PERFECT[1], NOTHING[0]], 0.75, 1.0, 0.5),
    ],
)
def test_known_ends(detections: list[Detections], ap50: float, cat: float, dog: float) -> None:
    numbers = summarise(evaluator(TABLE, detections))
    assert numbers["AP50"] == pytest.approx(ap50)
    assert numbers["per_class"]["cat"]["AP50"] == pytest.approx(cat)
    assert numbers["per_class"]["dog"]["AP50"] == pytest.approx(dog)
    assert numbers["per_class"]["cat"]["boxes"] == 2
    assert numbers["AP_large"] is None  # no object over 96x96


def test_a_class_without_boxes_has_no_number() -> None:
    numbers = summarise(evaluator(Table(NAMES, (sample([A], [0]),)), [found([A], [0.9], [0])]))
    assert numbers["per_class"]["dog"]["AP"] is None
    assert numbers["AP"] == pytest.approx(1.0)


def test_intervals_hold_the_estimate_and_leave_the_evaluator_as_it_was() -> None:
    rng = np.random.default_rng(0)
    samples = tuple(sample([A, B], [0, 1]) for _ in range(20))
    detections = [found([A, B], rng.uniform(0.3, 1, 2).tolist(), [0, int(rng.random() < 0.6)]) for _ in range(20)]
    matched = evaluator(Table(NAMES, samples), detections)
    before = summarise(matched)
    intervals = bootstrap(matched, rounds=60)
    assert summarise(matched) == before
    for name in ("AP", "AP50"):
        low, high = intervals[name]
        assert low <= before[name] <= high
        assert high - low > 0.01
    assert bootstrap(matched, rounds=60) == intervals  # seeded


def test_a_certain_result_has_a_narrow_interval() -> None:
    intervals = bootstrap(evaluator(TABLE, PERFECT), rounds=20)
    assert intervals["per_class"]["cat"]["AP50"] == pytest.approx([1.0, 1.0])


def test_precision_curves() -> None:
    curves = precision_curves(evaluator(TABLE, PERFECT))
    assert curves.shape == (101, 2)
    np.testing.assert_allclose(curves, 1)


def test_confusion_matrix_counted_by_hand() -> None:
    table = Table(NAMES, (sample([A, B], [0, 1]), sample([A, B], [0, 1], crowd=[False, True])))
    detections = [
        found([A, B, FAR], [0.9, 0.8, 0.7], [1, 1, 0]),  # cat called dog, dog right, a cat out of nothing
        found([B, B], [0.9, 0.1], [1, 1]),  # on a crowd: counts neither way; the other is under the threshold
    ]
    #                          cat dog nothing
    assert confusion_matrix(table, detections, 0.5).tolist() == [[0, 1, 1], [0, 1, 0], [1, 0, 0]]


def test_the_operating_point() -> None:
    point = at_threshold(TABLE, [PERFECT[0], NOTHING[0], found([FAR], [0.6], [0])], 0.5, 0.6)
    assert point["found"] == pytest.approx(2 / 3)
    assert point["precision_of_boxes"] == pytest.approx(2 / 3)
    assert point["class_right_of_found"] == 1.0
    assert point["per_class"]["cat"] == {"recall": 0.5, "precision": 0.5}
