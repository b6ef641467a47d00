"""Drawing groups with replacement, and what is said where there is nothing to draw from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.resampling import (
    Numbers,
    by_name,
    draw_groups,
    interval,
    interval_numbers,
    mean_of_known,
    measured,
    method,
    number_groups,
    plain,
    plain_numbers,
    ratio,
    renumbered,
    rows_of,
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
    numbers = {"mean": values, "per_class": by_name(("a", "b"), dice=np.stack([values, values + 1], 1))}
    assert interval_numbers(numbers) == {
        "mean": [5.0, 195.0],
        "per_class": {"a": {"dice": [5.0, 195.0]}, "b": {"dice": [6.0, 196.0]}},
    }
    assert plain_numbers(numbers) == {"mean": 0.0, "per_class": {"a": {"dice": 0.0}, "b": {"dice": 1.0}}}


@pytest.mark.parametrize(
    ("groups", "pictures", "text"),
    [
        (15, 15, "95 % percentile bootstrap over pictures, 200 rounds, seed 0"),
        (10, 15, "95 % percentile bootstrap over 10 groups of pictures, 200 rounds, seed 0"),
        (
            2,
            15,
            "95 % percentile bootstrap over 2 groups of pictures, 200 rounds, seed 0;"
            " 2 are few, others will differ by more than this",
        ),
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
    assert found["intervals"]["per_class"]["bone"] == dict.fromkeys(
        ("iou", "dice", "dice_per_picture", "precision", "recall")
    )
    assert found["intervals"]["method"].startswith("no intervals")


def test_numbers_that_are_not_there() -> None:
    assert ratio([1, 1, 0], [2, 0, 0]).tolist()[0] == 0.5
    assert np.isnan(ratio([1, 1, 0], [2, 0, 0])[1:]).all()
    assert mean_of_known(np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan]])).tolist()[0] == 2.0
    assert [plain(np.float64(0.5)), plain(np.nan), plain(ratio(1, 4))] == [0.5, None, 0.25]


def test_rows_of() -> None:
    names = ["b", "", "a", "b", "c"]
    assert {name: rows.tolist() for name, rows in rows_of(names).items()} == {"a": [2], "b": [0, 3], "c": [4]}
    assert {name: rows.tolist() for name, rows in rows_of(names, 2).items()} == {"b": [0, 3]}
    assert rows_of([]) == {}


def test_renumbered() -> None:
    kept, numbers = renumbered(np.array([0, 3, 1, 3, 2]), np.array([3, 0]), 4)
    assert kept.tolist() == [True, True, False, True, False]
    assert numbers.tolist() == [1, 0, 0]


@dataclass(frozen=True)
class Values:
    """Pictures with a number each; what is measured is their mean."""

    of: np.ndarray

    @property
    def pictures(self) -> int:
        return len(self.of)

    def part(self, rows: np.ndarray) -> Values:
        return Values(self.of[rows])


def means(values: Values, weights: np.ndarray) -> Numbers:
    return {"mean": ratio(weights @ values.of, weights.sum(1))}


def test_what_is_drawn_for_all_for_a_source_and_for_a_group() -> None:
    """Of all and of a source whole groups are drawn, of a group its pictures; each is the bootstrap done by hand."""
    of = np.array([1.0, 2, 5, 9, 4, 4, 7])
    groups, sources = ["a", "a", "b", "b", "c", "c", ""], ["x", "x", "x", "x", "y", "y", ""]
    values, intervals = measured(Values(of), means, groups=groups, sources=sources, of_a_part=means)

    def drawn(units: list[list[int]]) -> list[float]:
        rounds = np.random.default_rng(0).integers(len(units), size=(200, len(units)))
        found = [np.mean([of[row] for unit in drawn for row in units[unit]]) for drawn in rounds]
        return np.percentile(found, [2.5, 97.5]).tolist()

    assert values["mean"] == pytest.approx(of.mean())
    assert intervals["mean"] == pytest.approx(drawn([[0, 1], [2, 3], [4, 5], [6]]))
    assert values["per_source"] == {"x": {"mean": 4.25, "pictures": 4}, "y": {"mean": 4.0, "pictures": 2}}
    assert intervals["per_source"]["x"]["mean"] == pytest.approx(drawn([[0, 1], [2, 3]]))
    assert intervals["per_source"]["y"] == {"mean": None}  # one group says nothing of others
    assert {name: row["mean"] for name, row in values["per_group"].items()} == {"a": 1.5, "b": 7.0, "c": 4.0}
    assert intervals["per_group"]["b"]["mean"] == pytest.approx(drawn([[2], [3]]))
    assert intervals["method"].startswith("95 % percentile bootstrap over 4 groups of pictures, 200 rounds, seed 0")
    assert intervals["method_of_a_group"] == "95 % percentile bootstrap over its pictures, 200 rounds, seed 0"


@pytest.mark.parametrize(("groups", "sources"), [(None, None), (["", ""], ["", ""]), (["a", "b"], None)])
def test_where_nothing_is_told_nothing_is_listed(groups: list[str] | None, sources: list[str] | None) -> None:
    values, intervals = measured(Values(np.arange(2.0)), means, groups=groups, sources=sources, of_a_part=means)
    assert (values["per_group"], values["per_source"]) == ({}, {})
    assert (intervals["per_group"], intervals["per_source"]) == ({}, {})
    assert intervals["method"].startswith("95 % percentile bootstrap over pictures")
    assert "method_of_a_group" not in intervals
