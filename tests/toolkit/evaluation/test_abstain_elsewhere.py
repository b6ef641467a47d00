"""Thresholds from other folds: against a search over all scores, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.evaluation import abstain_elsewhere as module
from toolkit.evaluation.abstain_elsewhere import Answers, abstain_elsewhere, lowest_threshold


def drawn(seed: int, count: int, sure: float) -> Answers:
    """Answers of which the surer ones are oftener right; scores have few digits, so that many are equal."""
    rng = np.random.default_rng(seed)
    scores = rng.random(count).round(2)
    return scores, rng.random(count) < scores**sure


def share_wrong(folds: dict[str, Answers], at: float) -> tuple[float, int]:
    """The wrong share of the answers over ``at``, each fold counting alike, and how many answers there are."""
    wrong = given = 0.0
    count = 0
    for scores, right in folds.values():
        for score, good in zip(scores, right, strict=True):
            if score > at:
                given += 1 / len(scores)
                wrong += (not good) / len(scores)
                count += 1
    return (wrong / given if given else 0.0), count


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [0.02, 0.05, 0.2, 0.6])
def test_the_lowest_of_all_thresholds(seed: int, level: float) -> None:
    folds = {name: drawn(seed * 10 + k, 60 + 90 * k, 0.3) for k, name in enumerate("abc")}
    candidates = {0.0, *np.concatenate([scores for scores, _ in folds.values()]).tolist()}
    kept = [at for at in candidates for wrong, count in [share_wrong(folds, at)] if wrong <= level and count >= 50]
    assert lowest_threshold(folds, level) == (min(kept) if kept else None)


def test_each_fold_is_judged_by_the_threshold_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 1)
    a = np.array([0.9, 0.8, 0.7]), np.array([True, True, False])
    b = np.array([0.95, 0.85, 0.6, 0.5]), np.array([False, True, True, True])
    told = abstain_elsewhere({"a": a, "b": b}, 0.25)
    # All of b's answers hold one error in four; of a's the two over 0.7 hold none, and three would be one in three.
    assert told["folds"]["a"] == {"threshold": 0.0, "answered": 1.0, "error": pytest.approx(1 / 3), "answers": 3}
    assert told["folds"]["b"] == {"threshold": 0.7, "answered": 0.5, "error": 0.5, "answers": 2}
    # Of all: a's answers weigh 1/3 each, b's 1/4. Over 0.7 wrong are (1/4) of 2/3 + 2/4, which is 0.21; over 0.6 more.
    assert told["threshold"] == 0.7


def test_nothing_keeps_it() -> None:
    wrong = np.linspace(0, 1, 200), np.zeros(200, np.bool_)
    told = abstain_elsewhere({"a": wrong, "b": wrong}, 0.05)
    assert told["threshold"] is None
    assert told["folds"]["a"] == {"threshold": None, "answered": 0.0, "error": None, "answers": 0}


def test_few_answers_say_too_little() -> None:
    """Ten sure and right ones over ninety wrong ones choose nothing."""
    few = np.linspace(1, 0, 100), np.arange(100) < 10
    assert lowest_threshold({"a": few}, 0.05) is None
