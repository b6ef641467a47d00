"""A segmentation's numbers against plain sums over boolean masks, by hand, and their intervals over patients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation

NAMES = ("background", "lung", "lesion")
NESTED = {"whole lung": ("lung", "lesion")}
Pair = tuple[np.ndarray, np.ndarray]


def draw(pictures: int, classes: int = 3, seed: int = 0) -> list[Pair]:
    """Truth, partly not labelled (255), and a prediction that is mostly right; the last class is not everywhere."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(pictures):
        shape = (int(rng.integers(4, 12)), int(rng.integers(4, 12)))
        truth = rng.integers(classes - index % 2, size=shape).astype(np.uint8)
        wrong = rng.random(shape) < 0.3
        predicted = np.where(wrong, rng.integers(classes - index % 2, size=shape), truth).astype(np.uint8)
        truth[rng.random(shape) < 0.1] = 255
        pairs.append((truth, predicted))
    return pairs


def count(pairs: list[Pair], groups: list[str] | None = None, sources: list[str] | None = None) -> SegmentationCounts:
    counts = SegmentationCounts(len(NAMES))
    for i, (truth, predicted) in enumerate(pairs):
        counts.add(truth, predicted, groups[i] if groups else "", sources[i] if sources else "")
    return counts


def slow(pairs: list[Pair], ids: tuple[int, ...]) -> dict[str, Any]:
    """One region's numbers, from the masks themselves: all pixels in one row, and picture by picture."""
    known = [(t[t != 255], p[t != 255]) for t, p in pairs]
    masks = [(np.isin(t, ids), np.isin(p, ids)) for t, p in known]
    t, p = (np.concatenate(side) for side in zip(*masks, strict=True))
    both, either = (t & p).sum(), (t | p).sum()
    dices = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in masks if a.any() or b.any()]
    return {
        "iou": both / either if either else None,
        "dice": 2 * both / (t.sum() + p.sum()) if either else None,
        "dice_per_picture": sum(dices) / len(dices) if dices else None,
        "precision": both / p.sum() if p.any() else None,
        "recall": both / t.sum() if t.any() else None,
        "pixels": t.sum(),
        "pictures": sum(bool(a.any()) for a, _ in masks),
    }


@pytest.mark.parametrize("pictures", [1, 2, 9])
def test_every_number_against_masks(pictures: int) -> None:
    pairs = draw(pictures)
    found = measure_segmentation(count(pairs), NAMES, NESTED)
    for class_id, name in enumerate(NAMES):
        assert found["per_class"][name] == pytest.approx(slow(pairs, (class_id,)))
    assert found["regions"] == {"whole lung": pytest.approx(slow(pairs, (1, 2)))}
    both = [slow(pairs, (class_id,)) for class_id in (1, 2)]  # background stays out of the means
    assert found["mean_over"] == ["lung", "lesion"]
    assert found["mean_iou"] == pytest.approx(sum(row["iou"] for row in both) / 2)
    assert found["mean_dice"] == pytest.approx(sum(row["dice"] for row in both) / 2)
    right = sum((t == p).sum() for t, p in pairs)
    assert found["pixel_accuracy"] == pytest.approx(right / sum((t != 255).sum() for t, _ in pairs))
    counted = [[sum(((t == i) & (p == j)).sum() for t, p in pairs) for j in range(3)] for i in range(3)]
    assert found["confusion_matrix"] == counted
    assert found["confusion_labels"] == list(NAMES)


def test_a_first_class_of_another_name_counts_in_the_means() -> None:
    pairs = draw(4)
    found = measure_segmentation(count(pairs), ("road", "sky", "car"))
    assert found["mean_over"] == ["road", "sky", "car"]
    assert found["mean_iou"] == pytest.approx(np.mean([slow(pairs, (i,))["iou"] for i in range(3)]))
    assert found["regions"] == {}
    assert found["intervals"]["regions"] == {}


def test_counted_by_hand() -> None:
    truth = np.array([[1, 1, 2, 0], [1, 2, 2, 255]], np.uint8)
    predicted = np.array([[1, 2, 2, 0], [0, 2, 1, 2]], np.uint8)
    found = measure_segmentation(count([(truth, predicted)]), NAMES, NESTED)
    assert found["confusion_matrix"] == [[1, 0, 0], [1, 1, 1], [0, 1, 2]]
    assert found["per_class"]["lung"]["dice"] == pytest.approx(2 * 1 / (3 + 2))
    assert found["per_class"]["lesion"]["iou"] == pytest.approx(2 / (3 + 3 - 2))
    assert found["regions"]["whole lung"]["recall"] == pytest.approx(5 / 6)  # a lesion called lung is no loss here
    assert found["regions"]["whole lung"]["precision"] == 1.0
    assert found["pixel_accuracy"] == pytest.approx(4 / 7)


def test_a_class_that_is_nowhere_has_no_number() -> None:
    empty = np.zeros((3, 3), np.uint8)
    found = measure_segmentation(count([(empty, empty)]), NAMES, NESTED)
    nothing = dict.fromkeys(("iou", "dice", "dice_per_picture", "precision", "recall"))
    assert found["per_class"]["lesion"] == {**nothing, "pixels": 0, "pictures": 0}
    assert found["regions"]["whole lung"] == {**nothing, "pixels": 0, "pictures": 0}
    assert (found["mean_dice"], found["mean_iou"], found["pixel_accuracy"]) == (None, None, 1.0)
    assert found["intervals"]["mean_dice"] is None
    assert found["intervals"]["per_class"]["lesion"] == nothing


def test_a_false_alarm_on_an_empty_picture_counts_by_picture() -> None:
    """Pooled, one wrong pixel of a hundred is little; of two pictures one is wholly wrong."""
    full = np.full((10, 10), 2, np.uint8)
    empty = np.zeros((10, 10), np.uint8)
    speck = empty.copy()
    speck[0, 0] = 2
    row = measure_segmentation(count([(full, full), (empty, speck)]), NAMES)["per_class"]["lesion"]
    assert row["dice"] == pytest.approx(200 / 201)
    assert row["dice_per_picture"] == 0.5
    assert (row["pixels"], row["pictures"]) == (100, 1)


def slow_rounds(pairs: list[Pair], groups: list[str]) -> list[list[Pair]]:
    """The pictures of each of 200 rounds, with groups drawn as the seed says."""
    members = list(dict.fromkeys(groups))
    drawn = np.random.default_rng(0).integers(len(members), size=(200, len(members)))
    return [[pairs[i] for g in row for i, name in enumerate(groups) if name == members[g]] for row in drawn]


def bounds(values: list[float | None]) -> list[float]:
    return np.percentile([value for value in values if value is not None], [2.5, 97.5]).tolist()


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_against_loops(grouped: bool) -> None:
    pairs = draw(9)
    groups = [f"patient {i // 3}" if grouped else "" for i in range(9)]
    found = measure_segmentation(count(pairs, groups), NAMES, NESTED)["intervals"]
    rounds = slow_rounds(pairs, groups if grouped else [str(i) for i in range(9)])
    tables = {name: [slow(chosen, ids) for chosen in rounds] for name, ids in (("lung", (1,)), ("lesion", (2,)))}
    for name, table in tables.items():
        for key in ("dice", "iou", "recall", "precision", "dice_per_picture"):
            assert found["per_class"][name][key] == pytest.approx(bounds([row[key] for row in table]))
    whole = [slow(chosen, (1, 2))["dice"] for chosen in rounds]
    assert found["regions"]["whole lung"]["dice"] == pytest.approx(bounds(whole))
    for key in ("dice", "iou"):
        pairs_of_numbers = zip(*([row[key] for row in table] for table in tables.values()), strict=True)
        means = [np.mean([value for value in both if value is not None]) for both in pairs_of_numbers]
        assert found[f"mean_{key}"] == pytest.approx(bounds(means))
    over = "3 groups of pictures" if grouped else "pictures"
    assert found["method"].startswith(f"95 % percentile bootstrap over {over}, 200 rounds, seed 0")


def test_per_group_and_per_source() -> None:
    pairs = draw(5)
    found = measure_segmentation(count(pairs, ["b", "a", "b", "", "a"], ["x", "", "x", "x", "y"]), NAMES, NESTED)
    assert {name: row["pictures"] for name, row in found["per_group"].items()} == {"a": 2, "b": 2}
    assert {name: row["pictures"] for name, row in found["per_source"].items()} == {"x": 3, "y": 1}
    b = [pairs[0], pairs[2]]
    assert found["per_group"]["b"]["dice"] == pytest.approx({n: slow(b, (i,))["dice"] for i, n in enumerate(NAMES)})
    assert found["per_group"]["b"]["regions"] == pytest.approx({"whole lung": slow(b, (1, 2))["dice"]})
    x = [pairs[0], pairs[2], pairs[3]]
    part = measure_segmentation(count(x, ["b", "b", ""]), NAMES, NESTED)
    around, alone = found["intervals"]["per_source"]["x"], part["intervals"]
    assert (around["mean_dice"], around["mean_iou"]) == (alone["mean_dice"], alone["mean_iou"])
    assert around["dice"] == {name: row["dice"] for name, row in alone["per_class"].items()}
    assert around["regions"]["whole lung"] == alone["regions"]["whole lung"]["dice"]
    assert found["intervals"]["per_group"]["b"]["mean_dice"] is not None
    for key in ("mean_iou", "mean_dice", "pixel_accuracy"):
        assert found["per_source"]["x"][key] == part[key]
    assert found["per_source"]["x"]["dice"]["lesion"] == part["per_class"]["lesion"]["dice"]
    assert found["per_source"]["x"]["regions"]["whole lung"] == part["regions"]["whole lung"]["dice"]


def test_nothing_told_nothing_listed() -> None:
    found = measure_segmentation(count(draw(2)), NAMES)
    assert (found["per_group"], found["per_source"]) == ({}, {})


def test_all_is_plain_json() -> None:
    found = measure_segmentation(count(draw(4), list("aabb"), list("xyxy")), NAMES, NESTED)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("counts", "names", "nested", "message"),
    [
        (SegmentationCounts(3), NAMES, None, "counts: expected at least one picture, got none"),
        (count(draw(1)), NAMES[:2], None, "class_names: expected 3 different names, got background, lung"),
        (count(draw(1)), ("a", "b", "b"), None, "class_names: expected 3 different names, got a, b, b"),
        (count(draw(1)), NAMES, {"all": ("lung", "heart")}, "'all' to be made of different classes .* lung, heart"),
        (count(draw(1)), NAMES, {"all": ("lung", "lung")}, "'all' to be made of different classes .* lung, lung"),
        (count(draw(1)), NAMES, {"all": ()}, "'all' to be made of different classes .* got none"),
    ],
)
def test_what_cannot_be_measured_is_refused(counts: Any, names: Any, nested: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_segmentation(counts, names, nested)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "shapes"),
        (np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8), "truth: expected class ids 0..2"),
        (np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), "predicted: expected class ids 0..2"),
    ],
)
def test_a_wrong_picture_is_not_counted(truth: np.ndarray, predicted: np.ndarray, message: str) -> None:
    counts = SegmentationCounts(3)
    with pytest.raises(ValueError, match=message):
        counts.add(truth, predicted)
    assert (counts.matrices, counts.groups, counts.sources) == ([], [], [])
