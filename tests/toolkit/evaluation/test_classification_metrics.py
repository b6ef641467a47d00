"""A classifier's numbers against plain loops over pictures, their intervals, and ends that one can tell by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from toolkit.evaluation.classification_metrics import measure_classification

NAMES = ("cat", "dog", "cow", "fox", "owl", "hen", "ant")


def draw(pictures: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True classes [N] and probabilities [N, C] that are right more often than not; some rows are drawn alike."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=pictures)
    scores = rng.normal(size=(pictures, classes)) + 1.2 * np.eye(classes)[truth]
    scores[::5] = np.round(scores[::5])  # ties
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return truth, probabilities.astype(np.float32)


def likeliest(row: np.ndarray, k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda c: (-float(row[c]), c))[:k]


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def slow_f1(truth: list[int], predicted: list[int], classes: int) -> list[dict[str, float | None]]:
    rows = []
    for c in range(classes):
        hit = sum(t == p == c for t, p in zip(truth, predicted, strict=True))
        true, answered = truth.count(c), predicted.count(c)
        precision, recall = share(hit, answered), share(hit, true)
        rows.append({"precision": precision, "recall": recall, "f1": share(2 * hit, true + answered)})
    return rows


def slow_macro(truth: list[int], predicted: list[int], classes: int) -> float:
    known = [row["f1"] for row in slow_f1(truth, predicted, classes) if row["f1"] is not None]
    return sum(known) / len(known)


def slow_calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    error = 0.0
    for low in range(15):
        inside = []
        for t, row in zip(truth, probabilities, strict=True):
            confidence, answer = float(row.max()), likeliest(row, 1)[0]
            if low / 15 < confidence <= (low + 1) / 15:
                inside.append((confidence, answer == t))
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(r for _, r in inside) / len(inside)
            error += len(inside) / len(truth) * abs(confidence - accuracy)
    return error


@pytest.mark.parametrize(("pictures", "classes"), [(1, 2), (40, 3), (150, 7)])
def test_every_number_against_loops(pictures: int, classes: int) -> None:
    truth, probabilities = draw(pictures, classes)
    names = NAMES[:classes]
    found = measure_classification(truth, probabilities, names)
    answers = [likeliest(row, 1)[0] for row in probabilities]
    assert found["top1"] == pytest.approx(sum(truth == answers) / pictures)
    in_five = sum(t in likeliest(row, 5) for t, row in zip(truth, probabilities, strict=True)) / pictures
    assert found["top5"] == (pytest.approx(in_five) if classes > 5 else None)
    assert found["macro_f1"] == pytest.approx(slow_macro(truth.tolist(), answers, classes))
    recalls = [np.mean([a == c for t, a in zip(truth, answers, strict=True) if t == c]) for c in set(truth.tolist())]
    assert found["macro_recall"] == pytest.approx(np.mean(recalls))
    for name, wanted in zip(names, slow_f1(truth.tolist(), answers, classes), strict=True):
        row = found["per_class"][name]
        assert row.pop("pictures") == truth.tolist().count(names.index(name))
        assert row == pytest.approx(wanted)
    counted = [[sum((truth == i) & (np.array(answers) == j)) for j in range(classes)] for i in range(classes)]
    assert found["confusion_matrix"] == counted
    assert found["confusion_labels"] == list(names)
    likelihood = sum(math.log(row[t]) for t, row in zip(truth, probabilities, strict=True)) / pictures
    assert found["calibration"]["negative_log_likelihood"] == pytest.approx(-likelihood, rel=1e-6)
    error = found["calibration"]["expected_calibration_error"]
    assert error == pytest.approx(slow_calibration_error(truth, probabilities), abs=1e-7)


def slow_intervals(truth: np.ndarray, probabilities: np.ndarray, groups: list[str], classes: int) -> dict[str, Any]:
    """Draw the groups as the seed says, put the pictures of each round side by side, and measure those."""
    members = list(dict.fromkeys(groups))
    rounds = []
    for drawn in np.random.default_rng(0).integers(len(members), size=(200, len(members))):
        chosen = [i for g in drawn for i, name in enumerate(groups) if name == members[g]]
        t, p = truth[chosen].tolist(), probabilities[chosen].argmax(1).tolist()
        recalls = [row["recall"] for row in slow_f1(t, p, classes)]
        error = slow_calibration_error(truth[chosen], probabilities[chosen])
        rounds.append((np.mean(np.equal(t, p)), slow_macro(t, p, classes), error, *recalls))
    columns = [[value for value in column if value is not None] for column in zip(*rounds, strict=True)]
    bounds = [np.percentile(column, [2.5, 97.5]).tolist() for column in columns]
    return {"top1": bounds[0], "macro_f1": bounds[1], "error": bounds[2], "recall": bounds[3:]}


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_against_loops(grouped: bool) -> None:
    truth, probabilities = draw(30, 3)
    groups = [f"object {i // 4}" for i in range(30)] if grouped else None
    found = measure_classification(truth, probabilities, NAMES[:3], groups)["intervals"]
    wanted = slow_intervals(truth, probabilities, groups or [str(i) for i in range(30)], 3)
    assert found["top1"] == pytest.approx(wanted["top1"])
    assert found["macro_f1"] == pytest.approx(wanted["macro_f1"])
    assert found["calibration"]["expected_calibration_error"] == pytest.approx(wanted["error"])
    for name, bounds in zip(NAMES, wanted["recall"], strict=False):
        assert found["per_class"][name]["recall"] == pytest.approx(bounds)
        assert set(found["per_class"][name]) == {"precision", "recall", "f1"}
    over = "8 groups of pictures" if grouped else "pictures"
    assert found["method"].startswith(f"95 % percentile bootstrap over {over}, 200 rounds, seed 0")


def test_intervals_hold_the_estimate_and_repeat() -> None:
    truth, probabilities = draw(200, 3)
    found = measure_classification(truth, probabilities, NAMES[:3])
    low, high = found["intervals"]["top1"]
    assert low < found["top1"] < high
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(found["top1"] * (1 - found["top1"]) / 200), rel=0.2)
    assert measure_classification(truth, probabilities, NAMES[:3]) == found


def test_pictures_that_resemble_each_other_widen_the_interval() -> None:
    """Ten groups of twenty, wholly right or wholly wrong, say no more than ten pictures do."""
    truth = np.zeros(200, np.int64)
    right = np.repeat(np.arange(10) % 3 > 0, 20)
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    groups = [f"scene {i // 20}" for i in range(200)]
    alone = measure_classification(truth, probabilities, NAMES[:2])["intervals"]["top1"]
    together = measure_classification(truth, probabilities, NAMES[:2], groups)["intervals"]["top1"]
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])


def test_a_perfect_and_a_sure_classifier() -> None:
    truth = np.array([0, 1, 1, 0])
    found = measure_classification(truth, np.eye(2)[truth], NAMES[:2])
    assert (found["top1"], found["macro_f1"]) == (1.0, 1.0)
    assert found["calibration"] == {"expected_calibration_error": 0.0, "negative_log_likelihood": 0.0}
    assert found["intervals"]["top1"] == [1.0, 1.0]


def test_surely_wrong_stays_finite() -> None:
    found = measure_classification(np.array([0]), np.array([[0.0, 1.0]]), NAMES[:2])
    assert found["calibration"]["negative_log_likelihood"] == pytest.approx(-math.log(1e-12))
    assert found["calibration"]["expected_calibration_error"] == 1.0


def test_a_class_that_is_neither_true_nor_answered_has_no_number_and_no_weight() -> None:
    found = measure_classification(np.array([0, 1]), np.eye(3)[[0, 1]], NAMES[:3])
    assert found["macro_f1"] == 1.0
    assert found["per_class"]["cow"] == {"precision": None, "recall": None, "f1": None, "pictures": 0}
    assert found["intervals"]["per_class"]["cow"] == {"precision": None, "recall": None, "f1": None}


def test_a_class_that_is_only_answered_counts_as_missed() -> None:
    found = measure_classification(np.array([0, 0]), np.eye(2)[[0, 1]], NAMES[:2])
    assert found["per_class"]["dog"] == {"precision": 0.0, "recall": None, "f1": 0.0, "pictures": 0}
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("truth", "inside"),
    [(0, True), (4, True), (5, False), (6, False)],  # all seven alike: the first five are the best
)
def test_equal_probabilities_rank_by_class(truth: int, inside: bool) -> None:
    found = measure_classification(np.array([truth]), np.full((1, 7), 1 / 7), NAMES)
    assert found["top5"] == float(inside)
    assert found["top1"] == float(truth == 0)


def test_per_source() -> None:
    truth, answers = np.array([0, 0, 1, 1, 0]), [0, 1, 1, 1, 1]
    sources = ["web", "web", "street", "street", ""]
    found = measure_classification(truth, np.eye(2)[answers], NAMES[:2], sources=sources)["per_source"]
    assert list(found) == ["street", "web"]
    assert found["street"] == {"top1": 1.0, "macro_recall": 1.0, "macro_f1": 1.0, "pictures": 2}
    f1 = pytest.approx((2 / 3 + 0) / 2)  # one class is answered and never true
    assert found["web"] == {"top1": 0.5, "macro_recall": 0.5, "macro_f1": f1, "pictures": 2}
    assert measure_classification(truth, np.eye(2)[answers], NAMES[:2])["per_source"] == {}


def test_a_source_and_a_group_have_the_intervals_of_their_pictures_alone() -> None:
    truth, probabilities = draw(40, 3)
    groups, sources = [f"object {i // 4}" for i in range(40)], ["web" if i < 24 else "street" for i in range(40)]
    found = measure_classification(truth, probabilities, NAMES[:3], groups, sources)
    for key, name, rows, together in (
        ("per_source", "web", slice(24), groups[:24]),
        ("per_group", "object 2", slice(8, 12), None),
    ):
        alone = measure_classification(truth[rows], probabilities[rows], NAMES[:3], together)
        for number in ("top1", "macro_recall", "macro_f1"):
            assert found[key][name][number] == alone[number]
            assert found["intervals"][key][name][number] == alone["intervals"][number]
    assert len(found["per_group"]) == 10


def test_pictures_without_a_group_stand_alone() -> None:
    truth, probabilities = draw(6, 2)
    groups = ["a", "a", "", "", "b", "b"]
    method = measure_classification(truth, probabilities, NAMES[:2], groups)["intervals"]["method"]
    assert "over 4 groups of pictures" in method


def test_all_is_plain_json() -> None:
    truth, probabilities = draw(20, 7)
    found = measure_classification(truth, probabilities, NAMES, list("ab" * 10), list("cd" * 10))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


HALVES = np.full((2, 2), 0.5)


@pytest.mark.parametrize(
    ("truth", "probabilities", "more", "message"),
    [
        ([], np.zeros((0, 2)), {}, "truth: expected at least one picture, got none"),
        ([0, 1], np.full((2, 3), 1 / 3), {}, r"probabilities: expected shape \[2, 2\], got \[2, 3\]"),
        ([0, 2], HALVES, {}, "truth: expected classes from 0 to 1, got 0 to 2"),
        ([0, -1], HALVES, {}, "truth: expected classes from 0 to 1, got -1 to 0"),
        ([0, 1], HALVES * np.nan, {}, "probabilities: expected finite numbers"),
        ([0, 1], HALVES, {"groups": ["a"]}, "groups: expected 2 names, one a picture, got 1"),
        ([0, 1], HALVES, {"sources": ["a"]}, "sources: expected 2 names, one a picture, got 1"),
        ([0, 1], HALVES, {"class_names": ("cat", "cat")}, "class_names: expected different names, got cat, cat"),
    ],
)
def test_what_cannot_be_measured_is_refused(truth: Any, probabilities: Any, more: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure_classification(np.array(truth, np.int64), probabilities, **{"class_names": NAMES[:2], **more})
