"""Accuracy, F1, the confusion matrix and calibration of a classifier, from true classes and probabilities alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.evaluation import resampling
from toolkit.evaluation.resampling import mean_of_known, plain, ratio

BINS = 15  # of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks" (2017)
LEAST_PROBABILITY = 1e-12  # a true class at exactly 0 would make the likelihood infinite, which JSON cannot say
_TOP = 5


def measure_classification(
    truth: NDArray[np.int64],
    probabilities: NDArray[Any],
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Measure N pictures in C classes that exclude each other.

    Args:
        truth: int64 [N], the true class of each picture.
        probabilities: float [N, C]; the likeliest class is the answer, the lower id where two are equal.
        class_names: C names.
        groups: N names of pictures that belong together and are resampled together, such as shots of one object.
        sources: N names of where the pictures come from; "" is left out of ``per_source``.

    Returns:
        Plain numbers for JSON; None stands where there is nothing to measure. ``top1``; ``top5`` (with more than five
        classes); ``macro_f1``, the mean over the classes that are true or answered at least once; ``per_class``
        precision, recall, f1 and pictures; ``confusion_matrix`` (rows true) with ``confusion_labels``;
        ``calibration``; ``intervals`` of 95 %; ``per_source`` top1, macro_f1 and pictures.

    Raises:
        ValueError: no pictures, lengths that differ, a class out of range, two classes of one name, or numbers that
            are not finite.
    """
    _check(truth, probabilities, class_names, sources)
    predicted = probabilities.argmax(1).astype(np.int64)
    matrix = ops.confusion_matrix(truth, predicted, len(class_names))
    f1, precision, recall = _per_class(matrix)
    return {
        "top1": plain(ratio(np.trace(matrix), matrix.sum())),
        "top5": float(_in_best(truth, probabilities, _TOP).mean()) if len(class_names) > _TOP else None,
        "macro_f1": plain(mean_of_known(f1)),
        "per_class": {
            name: {
                "precision": plain(precision[i]),
                "recall": plain(recall[i]),
                "f1": plain(f1[i]),
                "pictures": int(matrix[i].sum()),
            }
            for i, name in enumerate(class_names)
        },
        "confusion_matrix": matrix.tolist(),
        "confusion_labels": list(class_names),
        "calibration": _calibration(truth, probabilities, predicted),
        "intervals": _intervals(truth, predicted, class_names, groups),
        "per_source": _per_source(truth, predicted, len(class_names), sources),
    }


def _check(
    truth: NDArray[np.int64], probabilities: NDArray[Any], class_names: Sequence[str], sources: Sequence[str] | None
) -> None:
    pictures, classes = len(truth), len(class_names)
    if not pictures:
        raise ValueError("truth: expected at least one picture, got none")
    if len(set(class_names)) < classes:
        raise ValueError(f"class_names: expected different names, got {', '.join(class_names)}")
    if probabilities.shape != (pictures, classes):
        raise ValueError(f"probabilities: expected shape [{pictures}, {classes}], got {list(probabilities.shape)}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities: expected finite numbers, got some that are not")
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"truth: expected classes from 0 to {classes - 1}, got {truth.min()} to {truth.max()}")
    if sources is not None and len(sources) != pictures:
        raise ValueError(f"sources: expected {pictures} names, one a picture, got {len(sources)}")


def _per_class(matrix: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """F1, precision and recall [C]; NaN where the class gives nothing to divide by."""
    hits, true, answered = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    return ratio(2 * hits, true + answered), ratio(hits, answered), ratio(hits, true)


def _in_best(truth: NDArray[np.int64], probabilities: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the k likeliest; of equal ones the lower ids come first."""
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    lower = np.arange(probabilities.shape[1]) < truth[:, None]
    before: NDArray[np.int64] = ((probabilities > own) | ((probabilities == own) & lower)).sum(1)
    return before < k


def _calibration(
    truth: NDArray[np.int64], probabilities: NDArray[Any], predicted: NDArray[np.int64]
) -> dict[str, float]:
    """How well the probabilities can be believed.

    ``expected_calibration_error`` is the mean distance of confidence and accuracy over 15 equal ranges of the answer's
    probability, weighted by their pictures; ``negative_log_likelihood`` is in nats a picture.
    """
    rows = np.arange(len(truth))
    confidence = probabilities[rows, predicted].astype(np.float64)
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)  # a bin holds its upper end
    surplus = np.bincount(bins, confidence - (predicted == truth), BINS)
    own = probabilities[rows, truth].astype(np.float64)
    return {
        "expected_calibration_error": float(np.abs(surplus).sum() / len(truth)),
        "negative_log_likelihood": float(-np.log(np.maximum(own, LEAST_PROBABILITY)).mean()),
    }


def _intervals(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str], groups: Sequence[str] | None
) -> dict[str, Any]:
    group_of = resampling.number_groups(groups, len(truth))
    drawn = resampling.draw_groups(int(group_of.max()) + 1)
    classes, right = len(class_names), predicted == truth
    weights = drawn[:, group_of]  # how often each round has each picture
    shape = (len(weights), classes)
    true = np.reshape([np.bincount(truth, row, classes) for row in weights], shape)
    answered = np.reshape([np.bincount(predicted, row, classes) for row in weights], shape)
    hits = np.reshape([np.bincount(truth[right], row[right], classes) for row in weights], shape)
    f1, precision, recall = ratio(2 * hits, true + answered), ratio(hits, answered), ratio(hits, true)
    return {
        "top1": resampling.interval(ratio(hits.sum(1), true.sum(1))),
        "macro_f1": resampling.interval(mean_of_known(f1)),
        "per_class": resampling.intervals(class_names, precision=precision, recall=recall, f1=f1),
        "method": resampling.method(drawn.shape[1], len(truth)),
    }


def _per_source(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int, sources: Sequence[str] | None
) -> dict[str, Any]:
    rows = {}
    names = np.array(sources if sources is not None else [], object)
    for source in sorted(set(names.tolist()) - {""}):
        chosen = names == source
        matrix = ops.confusion_matrix(truth[chosen], predicted[chosen], classes)
        rows[source] = {
            "top1": plain(ratio(np.trace(matrix), matrix.sum())),
            "macro_f1": plain(mean_of_known(_per_class(matrix)[0])),
            "pictures": int(chosen.sum()),
        }
    return rows
