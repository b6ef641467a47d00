"""When two lists of boxes agree, and how near the rivals of a score were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_bundle import tiny_spec

from ops import Placement
from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.inference.detection import DetectionTask
from toolkit.inference.task import Tolerance, no_gap

TASK = DetectionTask()
SPEC: Any = tiny_spec(postprocessing=DetectionPostprocessing(score_threshold=0.5))
TOLERANCE = Tolerance(box=1.0, box_relative=0.01, score=1e-3, margin=1e-4, pixels=0.0)
BOX = [10.0, 20.0, 100.0, 40.0]


def answer(*detections: tuple[list[float], float, int]) -> dict[str, Any]:
    boxes, scores, class_ids = zip(*detections, strict=True) if detections else ((), (), ())
    return {"boxes": list(boxes), "scores": list(scores), "class_ids": list(class_ids)}


def moved(pixels: float) -> list[float]:
    return [BOX[0] - pixels, *BOX[1:]]


# Each row: expected, found, refusals, near-ties, the largest difference of boxes that match.
CASES = [
    (answer(), answer(), 0, 0, 0.0),
    (answer((BOX, 0.9, 0)), answer((BOX, 0.9, 0)), 0, 0, 0.0),
    (answer((BOX, 0.9, 0)), answer((moved(1.9), 0.9009, 0)), 0, 0, 1.9),  # 1 pixel and a hundredth of 100
    (answer((BOX, 0.9, 0)), answer((moved(2.1), 0.9, 0)), 2, 0, 0.0),  # not found, and not expected
    (answer((BOX, 0.9, 0)), answer((BOX, 0.902, 0)), 2, 0, 0.0),
    (answer((BOX, 0.9, 0)), answer((BOX, 0.9, 1)), 2, 0, 0.0),
    (answer((BOX, 0.9, 0)), answer(), 1, 0, 0.0),
    (answer(), answer((BOX, 0.9, 0)), 1, 0, 0.0),
    # the order does not count, and one box does not stand for two
    (answer((BOX, 0.9, 0), (moved(9), 0.8, 1)), answer((moved(9), 0.8, 1), (BOX, 0.9, 0)), 0, 0, 0.0),
    (answer((BOX, 0.9, 0), (BOX, 0.9, 0)), answer((BOX, 0.9, 0)), 1, 0, 0.0),
    # at the threshold a detection may come or go
    (answer((BOX, 0.50009, 0)), answer(), 0, 1, 0.0),
    (answer(), answer((BOX, 0.49991, 0)), 0, 1, 0.0),
    (answer((BOX, 0.5002, 0)), answer(), 1, 0, 0.0),
]


@pytest.mark.parametrize(("expected", "found", "refusals", "ties", "largest"), CASES, ids=range(len(CASES)))
def test_compare(expected: dict[str, Any], found: dict[str, Any], refusals: int, ties: int, largest: float) -> None:
    comparison = TASK.compare(expected, found, SPEC, TOLERANCE, no_gap)
    assert (len(comparison.refusals), len(comparison.ties)) == (refusals, ties)
    assert comparison.largest == pytest.approx(largest)


def test_a_rival_class_makes_a_near_tie() -> None:
    """Two classes of nearly one score: which of them wins may differ."""
    expected, found = answer((BOX, 0.9, 0)), answer((BOX, 0.9, 1))
    comparison = TASK.compare(expected, found, SPEC, TOLERANCE, lambda score: 5e-5)
    assert comparison.refusals == []
    assert comparison.ties == [
        "expected warm 0.9000 at [10.0, 20.0, 100.0, 40.0], which was not found",
        "found cold 0.9000 at [10.0, 20.0, 100.0, 40.0], which was not expected",
    ]


def test_the_gap_is_that_of_the_cell_with_the_nearest_score() -> None:
    """Objectness times class, both through the sigmoid; the reference is written out in float64."""
    rng = np.random.default_rng(3)
    raw = rng.normal(0, 3, (84, 5 + 2)).astype(np.float32)
    raw[7, 4:] = 200, 90, -200  # no overflow
    gap = TASK.gap(raw, Placement(1, 1, 0, 0), (64, 64), SPEC)
    sigmoid = 1 / (1 + np.exp(-np.clip(raw.astype(np.float64), -700, 700)))
    scores = sigmoid[:, 4:5] * sigmoid[:, 5:]
    for cell in range(84):
        first, second = np.sort(scores[cell])[::-1]
        assert gap(first + 1e-12) == pytest.approx(first - second, abs=1e-12)


def test_one_class_has_no_rival() -> None:
    spec: Any = tiny_spec(labels=("face",))
    assert TASK.gap(np.zeros((84, 6), np.float32), Placement(1, 1, 0, 0), (64, 64), spec)(0.25) == 1.0
