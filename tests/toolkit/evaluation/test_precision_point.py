"""What a detector finds at a precision, against loops over thresholds; by sizes and groups worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from toolkit.bundle_spec import DetectionMeasures
from toolkit.evaluation.coco_metrics import Detections
from toolkit.evaluation.operating_point import NOTHING, Judged
from toolkit.evaluation.precision_point import (
    Findings,
    point_numbers,
    point_sections,
    settle_point,
    size_ranges,
    told_point,
)
from toolkit.evaluation.resampling import once, plain_numbers


class Picture:
    """Objects as (side, class) on a diagonal; no crowd."""

    def __init__(self, *objects: tuple[float, int], crowd: int = 0) -> None:
        corners = np.array([[100.0 * i, 0, 100.0 * i + side, side] for i, (side, _) in enumerate(objects)])
        self.boxes = corners.reshape(-1, 4).astype(np.float32)
        self.class_ids = np.array([class_id for _, class_id in objects], np.int64)
        self.crowd = np.arange(len(objects)) >= len(objects) - crowd


def answered(picture: Picture, *boxes: tuple[float, int, int]) -> Judged:
    """Boxes as (score, class, position of the object that it lies on)."""
    scores, classes, truth = (np.array(column) for column in zip(*boxes, strict=True)) if boxes else ([], [], [])
    given = Detections(np.zeros((len(boxes), 4), np.float32), np.float32(scores), np.int64(classes))
    missed = np.setdiff1d(np.arange(len(picture.boxes)), truth)
    return Judged(given, np.asarray(truth, np.int64), missed)


def drawn(seed: int) -> Findings:
    rng = np.random.default_rng(seed)
    samples, judged = [], []
    for _ in range(8):
        picture = Picture(*((float(rng.uniform(4, 150)), int(rng.integers(3))) for _ in range(rng.integers(5))))
        on = [*rng.permutation(len(picture.boxes))[: rng.integers(6)].tolist(), *[NOTHING] * int(rng.integers(3))]
        scores = np.round(rng.random(len(on)), 1)  # many are equal
        order = np.argsort(-scores, kind="stable")
        boxes = [(float(scores[i]), int(rng.integers(3)), on[i]) for i in order]
        samples.append(picture)
        judged.append(answered(picture, *boxes))
    return Findings.of(samples, judged)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("precision", [0.0, 0.5, 0.8, 1.0])
def test_the_lowest_score_with_the_precision_against_loops(seed: int, precision: float) -> None:
    found = drawn(seed)
    weights = np.random.default_rng(seed).integers(3, size=(4, 8))
    numbers: Any = point_numbers(found, DetectionMeasures(precision=precision), {}, 0.5)(found, weights)
    for row, recall in zip(weights, numbers["recall"], strict=True):
        best = None
        for score in sorted(set(found.box_score.tolist())):
            shown = found.box_score >= score
            boxes = row[found.box_picture[shown]].sum()
            hits = row[found.box_picture[shown & found.box_hit]].sum()
            if boxes and hits >= precision * boxes:
                best = score
                break
        assert found.threshold(precision, row) == best
        objects = row[found.picture]
        wanted = np.nan if best is None or not objects.sum() else objects[found.score >= best].sum() / objects.sum()
        assert recall == pytest.approx(wanted, nan_ok=True)


def by_hand() -> Findings:
    """One picture: three small objects, of which one is missed, and two large ones, one under another class."""
    small = Picture((8, 0), (8, 0), (8, 1))
    large = Picture((40, 1), (40, 2), (500, 0), crowd=1)
    return Findings.of(
        [small, large],  # type: ignore[list-item]
        [
            answered(small, (0.9, 0, 0), (0.8, 2, 1), (0.2, 0, NOTHING)),
            answered(large, (0.7, 2, 0), (0.6, 2, 1), (0.5, 1, NOTHING), (0.1, 0, -2)),
        ],
    )


def test_sizes_and_groups_by_hand() -> None:
    found = by_hand()
    measures = DetectionMeasures(precision=0.8, sizes=(16, 32), groups={"a": ("x",), "b": ("y", "z")})
    ids = {"a": [0], "b": [1, 2]}
    values = {"precision_point": plain_numbers(point_numbers(found, measures, ids, 0.75)(found, once(2)))}
    point = settle_point(values, found, measures)
    assert (point["score"], point["precision_reached"], point["recall"]) == (0.5, 0.8, 0.8) or point["score"] == (
        pytest.approx(0.5)
    )
    assert point["by_size"] == {
        "under 16 px": {"recall": pytest.approx(2 / 3), "recall_shipped": pytest.approx(2 / 3), "objects": 3},
        "16 to 32 px": {"recall": None, "recall_shipped": None, "objects": 0},
        "32 px and more": {"recall": 1.0, "recall_shipped": 0.0, "objects": 2},
        "all from 16 px": {"recall": 1.0, "recall_shipped": 0.0, "objects": 2},
    }
    # Of the four that are found, the second is called z where it is x; y called z is the right group.
    assert point["groups"] == {"right": 0.75, "each": {"a": {"right": 0.5}, "b": {"right": 1.0}}}


def test_a_precision_that_no_score_has() -> None:
    picture = Picture((8, 0))
    found = Findings.of([picture], [answered(picture, (0.9, 0, NOTHING))])  # type: ignore[list-item]
    measures = DetectionMeasures()
    values = {"precision_point": plain_numbers(point_numbers(found, measures, {}, 0.5)(found, once(1)))}
    point = settle_point(values, found, measures)
    assert (point["score"], point["precision_reached"], point["recall"]) == (None, None, None)
    assert point["by_size"]["under 16 px"] == {"recall": 0.0, "recall_shipped": 0.0, "objects": 1}


def test_what_was_measured_before_has_no_tables() -> None:
    assert point_sections({}) == told_point({}) == []


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ((16, 32, 96), ["under 16 px", "16 to 32 px", "32 to 96 px", "96 px and more", "all from 16 px"]),
        ((20.5,), ["under 20.5 px", "20.5 px and more"]),
    ],
)
def test_ranges_of_sizes(sizes: tuple[float, ...], names: list[str]) -> None:
    assert list(size_ranges(sizes)) == names
