"""Drawing groups with replacement, and what is said where there is nothing to draw from."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.resampling import (
    draw_groups,
    interval,
    intervals,
    mean_of_known,
    method,
    number_groups,
    plain,
    ratio,
)
from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation


@pytest.mark.parametrize(
    ("groups", "numbers"),
    [
        (None, [0, 1, 2, 3]),
        (["b", "a", "b", "a"], [0, 1, 0, 1]),
        (["", "a", "", "a"], [0, 1, 2, 1]),  # no name: a group alone
    ],
)
def test_number_groups(groups: list[str] | None, numbers: list[int]) -> None:
    assert number_groups(groups, 4).tolist() == numbers


def test_each_round_draws_as_many_as_there_are() -> None:
    drawn = draw_groups(7, rounds=4000)
    assert drawn.shape == (4000, 7)
    assert (drawn.sum(1) == 7).all()
    assert drawn.mean(0) == pytest.approx(np.ones(7), abs=0.05)
    assert (drawn == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.01)  # left out: with replacement
    np.testing.assert_array_equal(drawn, draw_groups(7, rounds=4000))
    assert (draw_groups(7, seed=1) != draw_groups(7)).any()


def test_interval() -> None:
    values = np.arange(201.0)
    assert interval(values) == [5.0, 195.0]
    assert interval(np.append(values, np.nan)) == [5.0, 195.0]
    assert interval(np.full(3, np.nan)) is None
    assert intervals(("a", "b"), dice=np.stack([values, values + 1], 1)) == {
        "a": {"dice": [5.0, 195.0]},
        "b": {"dice": [6.0, 196.0]},
    }


@pytest.mark.parametrize(
    ("groups", "pictures", "text"),
    [
        (5, 5, "95 % percentile bootstrap over pictures, 200 rounds, seed 0"),
        (2, 5, "95 % percentile bootstrap over 2 groups of pictures, 200 rounds, seed 0"),
        (1, 5, "no intervals: they need two pictures, or two groups of pictures where groups are told"),
    ],
)
def test_method(groups: int, pictures: int, text: str) -> None:
    assert method(groups, pictures) == text


def test_one_group_has_numbers_but_no_intervals() -> None:
    truth = np.array([0, 1, 1])
    found = measure_classification(truth, np.eye(2)[[0, 1, 0]], ("cat", "dog"), groups=["a"] * 3)
    assert found["top1"] == pytest.approx(2 / 3)
    assert (found["intervals"]["top1"], found["intervals"]["macro_f1"]) == (None, None)
    assert found["intervals"]["per_class"]["cat"] == {"precision": None, "recall": None, "f1": None}
    counts = SegmentationCounts(2)
    for _ in range(3):
        counts.add(np.eye(4, dtype=np.uint8), np.eye(4, dtype=np.uint8), group="patient")
    found = measure_segmentation(counts, ("background", "bone"))
    assert found["mean_dice"] == 1.0
    assert found["intervals"]["mean_dice"] is None
    assert found["intervals"]["per_class"]["bone"] == {"iou": None, "dice": None}
    assert found["intervals"]["method"].startswith("no intervals")


def test_numbers_that_are_not_there() -> None:
    assert ratio([1, 1, 0], [2, 0, 0]).tolist()[0] == 0.5
    assert np.isnan(ratio([1, 1, 0], [2, 0, 0])[1:]).all()
    assert mean_of_known(np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan]])).tolist()[0] == 2.0
    assert [plain(np.float64(0.5)), plain(np.nan), plain(ratio(1, 4))] == [0.5, None, 0.25]
