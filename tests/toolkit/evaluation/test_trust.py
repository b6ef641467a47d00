"""How far answers can be trusted, against loops over the answers; what abstaining leaves, told in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from toolkit.abstention import Abstention
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.trust import BINS, Trust, promise, told_abstention

RULE = Abstention(0.6, 0.05)


def drawn(pictures: int = 12, answers: int = 60) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(3)
    scores = rng.random(answers).astype(np.float32)
    scores[:3] = 0, 1, 0.6  # the ends, and the threshold itself, which is unsure
    return np.sort(rng.integers(pictures, size=answers)), scores, rng.random(answers) < scores


def test_answers_counted_against_loops() -> None:
    picture, scores, right = drawn()
    found = Trust.of(12, picture, scores, right, RULE)
    weights = np.random.default_rng(0).integers(4, size=(5, 12))
    for row, error, numbers in zip(
        weights,
        found.calibration_error(weights),
        [dict(zip(("answered", "error"), pair, strict=True)) for pair in _pairs(found, weights)],
        strict=True,
    ):
        chosen = [i for i in range(len(scores)) for _ in range(row[picture[i]])]
        sure = [i for i in chosen if float(scores[i]) > 0.6]
        assert numbers["answered"] == pytest.approx(len(sure) / len(chosen))
        assert numbers["error"] == pytest.approx(sum(not right[i] for i in sure) / len(sure))
        wanted = 0.0
        for step in range(BINS):
            inside = [i for i in chosen if max(np.ceil(float(scores[i]) * BINS), 1) == step + 1]
            if inside:
                wanted += abs(float(np.mean([float(scores[i]) for i in inside]) - np.mean(right[inside]))) * len(inside)
        assert error == pytest.approx(wanted / len(chosen))


def _pairs(found: Trust, weights: Any) -> list[tuple[float, float]]:
    numbers: Any = found.abstention(weights)
    return list(zip(numbers["answered"], numbers["error"], strict=True))


def test_an_error_of_none_is_no_certainty() -> None:
    """Forty sure and right answers: drawing them anew gives 0 each time; Clopper and Pearson know better."""
    truth = np.arange(60) % 2
    probabilities = np.eye(2)[truth] * 0.8 + 0.1
    probabilities[40:] = (0.55, 0.45)  # unsure, and half of them wrong
    sources = ["a"] * 30 + ["b"] * 30
    found = measure_classification(truth, probabilities, ("x", "y"), sources=sources, abstention=RULE)
    wanted = {"error_level": 0.05, "abstain_at": 0.6, "answered": pytest.approx(2 / 3), "error": 0.0, "answers": 40}
    assert found["abstention"] == wanted
    exact = stats.binomtest(0, 40).proportion_ci(0.95, "exact")
    assert found["intervals"]["abstention"]["error"] == pytest.approx([0.0, exact.high])
    assert set(found["intervals"]["abstention"]) == {"answered", "error"}
    assert found["per_source"]["b"]["abstention"] == {"answered": pytest.approx(1 / 3), "error": 0.0, "answers": 10}
    assert found["intervals"]["per_source"]["b"]["abstention"]["error"][1] == pytest.approx(0.3085, abs=1e-4)
    assert "abstention" not in measure_classification(truth, probabilities, ("x", "y"))
    assert [row[0] for row in told_abstention(found, "pictures")] == ["answered", "error of answered"]


def test_nothing_answered() -> None:
    found = measure_classification(np.array([0, 1]), np.full((2, 2), 0.5), ("x", "y"), abstention=Abstention(1.0, 0.05))
    assert found["abstention"] == {
        "error_level": 0.05, "abstain_at": 1.0, "answered": 0.0, "error": None, "answers": 0
    }  # fmt: skip
    assert told_abstention(found, "pictures")[1][2] == "at most 5 % are meant to be wrong; nothing was answered"


@pytest.mark.parametrize(
    ("error", "words"),
    [(0.05, "kept"), (0.0, "kept"), (0.0732, "EXCEEDED by 2.3 points")],
)
def test_a_promise_that_is_broken_is_said(error: float, words: str) -> None:
    assert promise(error, 0.05) == f"at most 5 % are meant to be wrong: {words}"
