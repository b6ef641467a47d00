"""Fitting a bundle to what the validation pictures say of it: how far its scores can be trusted, when it is unsure.

**Scores.** A classifier's logits are divided by one temperature (Guo et al., "On Calibration of Modern Neural
Networks", 2017), a detector's scores go through one sigmoid of their logit (Platt, "Probabilistic Outputs for Support
Vector Machines", 1999, with his targets, which keep it finite). A detector's boxes keep their order.

**Abstention.** Selection with guaranteed risk (Geifman and El-Yaniv, "Selective Classification for Deep Neural
Networks", 2017): of twenty thresholds, which let the surest 5 %, 10 % ... 100 % of the answers through, the lowest
whose answers are wrong in at most ``abstain_error`` of all cases by Clopper and Pearson's bound. The bounds hold at
once with 95 % confidence, as each is missed with a twentieth of the rest (Bonferroni), so any of them may be chosen.

What it promises: on pictures like those that it was fitted to, drawn independently of each other, at most that share of
the answers is wrong, in nineteen of twenty such fits. It promises nothing of other cameras, and less than that where
several pictures or boxes are of one thing, or the network was chosen by these pictures. The temperature is fitted to
the same pictures: one number, which hardly changes the order of the answers. A threshold that a config names
(``abstain_at``) is taken as it is: chosen on other sources, by `toolkit.evaluation.abstain_elsewhere`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.bundle_spec import (
    Calibration,
    ClassifierCalibration,
    DetectionPostprocessing,
    DetectionSpec,
    DetectorCalibration,
)
from toolkit.config.schema import CalibrationConfig
from toolkit.data.table import BoxSample, LabelSample, Progress, Table
from toolkit.evaluation.binomial import chance_of_so_few
from toolkit.evaluation.coco_metrics import Detections
from toolkit.evaluation.operating_point import answers_of, judge
from toolkit.evaluation.task import predictions
from toolkit.inference.model import Model

log = logging.getLogger("toolkit")

CONFIDENCE = 0.95
THRESHOLDS = 20
LEAST = 50  # answers: fewer say too little of how often they are right
LEAST_SCORE = 0.05  # boxes below are no part of any answer that anyone looks at
_STEEPEST = 1e3  # of a logit: beyond, every answer would be sure
_HALVINGS = 100
_STEPS = 100

Scores = NDArray[np.float64]
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class _Judged:
    """What is said of each answer when it is left as it is: ``fitted`` what maps the scores."""

    scores: Scores
    right: Right
    fitted: Calibration


def fit_calibration(
    model: Model, table: Table[Any], asked: CalibrationConfig, split: str, progress: Progress | None = None
) -> Calibration | None:
    """What the pictures of ``table`` say of an uncalibrated bundle; None where nothing is asked for.

    Where there are too few answers the log says so, and nothing is fitted.
    """
    if not asked.fit and asked.abstain_error is None:
        return None
    found = _FITS[model.spec.task](model, table, asked.fit, progress)
    if found is None:
        return None
    level = asked.abstain_error
    told = {"fitted_on": f"{len(table)} pictures of the split {split}"}
    if level is None:
        return found.fitted.model_copy(update=told)
    if asked.abstain_at is not None:
        named = {"abstain_at": asked.abstain_at, "error_level": level, "kept_in": "cross-validation"}
        return found.fitted.model_copy(update={**told, **named})
    at = abstain_at(found.scores, found.right, level)
    if at >= 1:
        log.warning("calibration: no threshold keeps the wrong answers under %g %%: all are unsure", 100 * level)
    return found.fitted.model_copy(update={**told, "abstain_at": at, "error_level": level})


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> float | None:
    """The temperature whose probabilities make the true classes likeliest, of logits [N, C]; None if there is none.

    There is none where more confidence is always better (all answers right) or always worse.
    """
    rows = np.arange(len(truth))

    def slope(inverse: float) -> float:
        """Of the negative log likelihood over the inverse temperature: it rises, as that is convex."""
        scaled = inverse * logits
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        mean = (powers * logits).sum(1) / powers.sum(1)
        return float((mean - logits[rows, truth]).mean())

    inverse = _root(slope, 1 / _STEEPEST, _STEEPEST)
    return None if inverse is None else 1 / inverse


def fit_sigmoid(logits: Scores, right: Right) -> tuple[float, float] | None:
    """Slope and offset of the sigmoid of logits [N] that makes ``right`` likeliest; None unless it rises with them."""
    hits, misses = np.count_nonzero(right), np.count_nonzero(~right)
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    features = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_STEPS):  # Newton's method; the Levenberg term keeps it going where all scores are alike
        chances = 0.5 * (1 + np.tanh(0.5 * (features @ weights)))
        curvature = features.T @ (features * (chances * (1 - chances))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, features.T @ (chances - targets))
        weights = weights - step * min(1.0, 4.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-10:
            break
    return (float(weights[0]), float(weights[1])) if weights[0] > 0 else None


def abstain_at(scores: Scores, right: Right, error_level: float) -> float:
    """The lowest threshold whose answers, those with a higher score, keep the error level; 1 where none does.

    See the module's docstring for what it promises. ``scores`` [N] from 0 to 1; ``right`` [N].
    """
    order = np.sort(scores)[::-1]
    miss = (1 - CONFIDENCE) / THRESHOLDS
    for twentieth in range(THRESHOLDS, 0, -1):
        # Given the score at a fixed rank, the answers above it are independent of each other, whatever the score is.
        rank = math.ceil(len(scores) * twentieth / THRESHOLDS)
        at = 0.0 if rank == len(scores) else float(order[rank])
        answered = scores > at
        errors, answers = int((answered & ~right).sum()), int(answered.sum())
        if chance_of_so_few(errors, answers, error_level) <= miss:
            return at
    return 1.0


def _root(function: Callable[[float], float], low: float, high: float) -> float | None:
    """Where a rising function is 0 between two positive numbers, by halving their ratio; None if it is not."""
    if not function(low) < 0 < function(high):
        return None
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return low


def _enough(found: int, what: str) -> bool:
    """Whether so many answers can be fitted to; the log says so where not."""
    if found < LEAST:
        log.warning("calibration: nothing was fitted to %d %s; at least %d are needed", found, what, LEAST)
    return found >= LEAST


def _undetermined() -> None:
    log.warning("calibration: the scores stay as they are: what would make them truer is not told by these answers")


def _of_classifier(model: Model, table: Table[LabelSample], fit: bool, progress: Progress | None) -> _Judged | None:
    logits = _logits(model, table, progress)
    truth = np.array([sample.class_id for sample in table.samples], np.int64)
    right = logits.argmax(1) == truth
    if not _enough(len(right), "answers"):
        return None
    temperature = fit_temperature(logits, truth) if fit else 1.0
    if temperature is None:
        _undetermined()
        temperature = 1.0
    powers = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    probabilities = (powers.max(1) / powers.sum(1)).astype(np.float32).astype(np.float64)  # as they are answered
    return _Judged(probabilities, right, ClassifierCalibration(temperature=temperature))


def _logits(model: Model, table: Table[Any], progress: Progress | None) -> NDArray[np.float64]:
    rows = []
    for done, sample in enumerate(table.samples, 1):
        batch, _ = model.preprocess([model.decode(sample.path)()], reuse=True)
        rows.append(model.network(batch)[0][0].astype(np.float64))
        if progress:
            progress("calibrating", done, len(table))
    return np.stack(rows)


def _of_detector(model: Model, table: Table[BoxSample], fit: bool, progress: Progress | None) -> _Judged | None:
    assert isinstance(model.spec, DetectionSpec)
    scores, right = _boxes(model, table, model.spec.postprocessing, progress)
    if not _enough(len(right), "boxes"):
        return None
    logits = np.log(scores) - np.log1p(-scores)
    found = fit_sigmoid(logits, right) if fit else (1.0, 0.0)
    if found is None:
        _undetermined()
        found = 1.0, 0.0
    slope, offset = found
    calibrated = 0.5 * (1 + np.tanh(0.5 * (slope * logits + offset)))
    # The bundle decides on those that it shows.
    shown = calibrated >= model.spec.postprocessing.score_threshold
    return _Judged(calibrated[shown], right[shown], DetectorCalibration(slope=slope, offset=offset))


def _boxes(
    model: Model, table: Table[BoxSample], shipped: DetectionPostprocessing, progress: Progress | None
) -> tuple[Scores, Right]:
    """The score of each box, and whether it lies on an object of its class."""
    results = predictions(model, table, progress, score_threshold=LEAST_SCORE)
    judged = [
        judge(sample, Detections(result.boxes, result.scores, result.class_ids))
        for sample, result in zip(table.samples, results, strict=True)
    ]
    _, scores, right = answers_of(table.samples, judged)
    highest = 1 - 2.0**-24  # the next number below 1 in float32, whose logit is finite
    return np.minimum(scores.astype(np.float64), highest), right


_FITS: dict[str, Callable[..., _Judged | None]] = {"classification": _of_classifier, "detection": _of_detector}
