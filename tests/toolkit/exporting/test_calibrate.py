"""Calibration against scipy's optimisers, the abstention's promise against simulated risks, and a bundle with both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

import toolkit
from toolkit.api import export_to
from toolkit.bundle import Bundle
from toolkit.exporting import calibrate
from toolkit.exporting.calibrate import abstain_at, fit_sigmoid, fit_temperature

RNG = np.random.default_rng


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_likeliest(temperature: float) -> None:
    rng = RNG(1)
    logits = rng.normal(0, 2, (400, 5))
    odds = np.exp(log_softmax(logits, axis=1))
    truth = np.array([rng.choice(5, p=row) for row in odds])
    given = logits * temperature  # as a network would say it that is that much too sure

    def loss(value: Any) -> float:
        return float(-log_softmax(given / np.exp(value[0]), axis=1)[np.arange(400), truth].mean())

    wanted = np.exp(minimize(loss, [0.0], method="BFGS", options={"gtol": 1e-9}).x[0])
    found = fit_temperature(given, truth)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found == pytest.approx(temperature, rel=0.15)


@pytest.mark.parametrize(
    "truth", [[0, 1, 0, 1], [1, 0, 1, 0]], ids=["all right, more is better", "all wrong, less is better"]
)
def test_no_temperature_without_right_and_wrong(truth: list[int]) -> None:
    assert fit_temperature(np.array([[2.0, 0], [0, 3], [1, 0], [0, 1]]), np.array(truth)) is None


def test_the_sigmoid_is_the_likeliest_of_platts_targets() -> None:
    rng = RNG(2)
    logits = rng.normal(0, 2, 500)
    right = rng.random(500) < expit(1.7 * logits - 0.8)
    hits, misses = right.sum(), (~right).sum()
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))

    def loss(weights: Any) -> float:
        scores = weights[0] * logits + weights[1]
        return float((np.logaddexp(0, scores) - targets * scores).sum())

    wanted = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    assert fit_sigmoid(logits, right) == pytest.approx(wanted, rel=1e-4)
    assert fit_sigmoid(-logits, right) is None  # higher scores that are right less often
    slope, _ = fit_sigmoid(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([False, False, True, True]))  # type: ignore[misc]
    assert 0 < slope < 100  # parted without an error: still finite


def test_the_promise_holds_in_simulated_fits() -> None:
    """Answers that are wrong with chance (1 - score) / 2: over a threshold t, (1 - t) / 4 of them are."""
    rng, level, risks, shares = RNG(0), 0.05, [], []
    for _ in range(100):
        scores = rng.random(8000)
        at = abstain_at(scores, rng.random(8000) > (1 - scores) / 2, level)
        risks.append((1 - at) / 4)
        shares.append(1 - at)
    assert np.mean(np.array(risks) > level) <= 1 - calibrate.CONFIDENCE  # in so few of the fits it is broken
    assert np.median(shares) >= 0.05  # the best that could be answered is 0.2, and the method gets far enough


@pytest.mark.parametrize(
    ("count", "wrong", "level", "answered"),
    [
        (200, range(0), 0.05, 200),  # all right: all are answered
        (200, range(5), 0.05, 190),  # the five least sure are wrong: all but a twentieth answer
        (200, range(150), 0.05, 0),  # no share of what is right is large enough to be sure of it
        (20, range(0), 0.05, 0),
        (20, range(0), 0.5, 20),
        (0, range(0), 0.05, 0),
    ],
)
def test_thresholds_by_hand(count: int, wrong: range, level: float, answered: int) -> None:
    scores = np.linspace(0.5, 0.99, count)
    right = np.ones(count, np.bool_)
    right[list(wrong)] = False
    at = abstain_at(scores, right, level)
    assert (scores > at).sum() == answered


def test_equal_scores_are_answered_together() -> None:
    scores, right = np.full(300, 0.7), np.ones(300, np.bool_)
    right[:10] = False
    assert abstain_at(scores, right, 0.2) == 0.0
    assert abstain_at(scores, right, 0.04) == 1.0


@pytest.fixture
def exported(quick_runs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A copy of a run whose bundle is made anew with overrides, from answers as few as the quick runs have."""

    def of(task: str, *overrides: str, least: int = 1) -> Path:
        network = (quick_runs(task) / "bundle/model.onnx").read_bytes()
        monkeypatch.setattr("toolkit.exporting.export.to_onnx", lambda *_: network)
        monkeypatch.setattr(calibrate, "LEAST", least)
        run = Path(shutil.copytree(quick_runs(task), tmp_path / "run"))
        export_to(run, overrides=overrides)
        return run

    return of


def test_a_classifier_that_abstains(exported: Callable[..., Path]) -> None:
    run = exported("classification", "calibration.fit=true", "calibration.abstain_error=0.4")
    spec: Any = Bundle.open(run).spec
    assert spec.calibration.error_level == 0.4
    assert spec.calibration.fitted_on == "20 pictures of the split val"
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["abstention"]["abstain_at"] == spec.calibration.abstain_at
    assert toolkit.evaluate(run)["abstention"] == metrics["abstention"]
    assert json.loads((run / "bundle/parity.json").read_text(encoding="utf-8"))["passed"]
    assert "decision" in json.loads((run / "bundle/golden/expected.json").read_text("utf-8"))["pictures"]["0.png"]


def test_a_threshold_that_the_config_names_is_taken(exported: Callable[..., Path]) -> None:
    rule = "calibration.abstain_error=0.4", "calibration.abstain_at=0.625"
    run = exported("classification", "calibration.fit=true", *rule)
    spec: Any = Bundle.open(run).spec
    assert (spec.calibration.abstain_at, spec.calibration.kept_in) == (0.625, "cross-validation")
    assert spec.calibration.temperature != 1
    card = (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "score up to 0.625 are unsure, as at most 40 % of the others were wrong in a cross-validation" in card


def test_too_few_answers_are_said(exported: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    run = exported("classification", "calibration.fit=true", least=50)
    assert "nothing was fitted to 20 answers; at least 50 are needed" in caplog.text
    assert Bundle.open(run).spec.calibration is None  # type: ignore[attr-defined]


def test_nothing_is_fitted_unless_asked_for(quick_runs: Callable[[str], Path]) -> None:
    assert Bundle.open(quick_runs("classification")).spec.calibration is None  # type: ignore[attr-defined]
