"""Accuracy, F1, the confusion matrix and calibration of a classifier, from true classes and probabilities alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.abstention import Abstention
from toolkit.evaluation.confusions import Confusions, Tally
from toolkit.evaluation.resampling import Numbers, by_name, mean_of_known, measured, ratio
from toolkit.evaluation.trust import Trust, settle_abstention

LEAST_PROBABILITY = 1e-12  # a true class at exactly 0 would make the likelihood infinite, which JSON cannot say
_TOP = 5


def measure_classification(
    truth: NDArray[np.int64],
    probabilities: NDArray[Any],
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    abstention: Abstention | None = None,
    bins: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Measure N pictures in C classes that exclude each other.

    Args:
        truth: int64 [N], the true class of each picture.
        probabilities: float [N, C]; the likeliest class is the answer, the lower id where two are equal.
        class_names: C names.
        groups: N names of pictures that belong together and are resampled together, such as shots of one object.
        sources: N names of where the pictures come from; "" is left out of ``per_source``.
        abstention: which answers are unsure; None where none is.
        bins: which classes go together, by the bin's name; every class into one.

    Returns:
        Plain numbers for JSON; None stands where there is nothing to measure. ``top1``; ``top5`` (with more than five
        classes); ``macro_recall``, the mean over the classes that are true at least once; ``macro_f1``, the mean over
        those that are true or answered at least once; ``per_class`` precision, recall, f1 and pictures;
        ``confusion_matrix`` (rows true) with ``confusion_labels``; ``calibration``; ``intervals`` of 95 %;
        ``per_group`` and ``per_source`` top1, macro_recall, macro_f1 and pictures; and where the bundle may abstain,
        in all of these, ``abstention``, the share that is answered and of that the share that is wrong; with bins
        ``bins``, how often the likeliest one is ``right``, and recall and precision of ``each``.

    Raises:
        ValueError: no pictures, lengths that differ, a class out of range, two classes of one name, or numbers that
            are not finite.
    """
    _check(truth, probabilities, class_names, sources)
    predicted = probabilities.argmax(1).astype(np.int64)
    alone = np.arange(len(truth)), truth, predicted, np.ones(len(truth), np.int64)
    counted = _Counted(
        Confusions(len(truth), len(class_names), *alone),
        tuple(class_names),
        _in_best(truth, probabilities, _TOP) if len(class_names) > _TOP else None,
        Trust.of(len(truth), np.arange(len(truth)), probabilities.max(1), predicted == truth, abstention),
        abstention,
        dict(bins or {}),
        _of_bins(truth, probabilities, bins or {}),
        -np.log(np.maximum(probabilities[np.arange(len(truth)), truth].astype(np.float64), LEAST_PROBABILITY)),
    )
    values, intervals = measured(counted, _numbers, groups=groups, sources=sources, of_a_part=_of_a_part)
    matrix = counted.cells.matrix()
    settled = {"abstention": settle_abstention(values, intervals, abstention)} if abstention else {}
    return {
        "top1": values["top1"],
        "top5": values.get("top5"),
        "macro_recall": values["macro_recall"],
        "macro_f1": values["macro_f1"],
        "per_class": {
            name: {**row, "pictures": int(matrix[i].sum())} for i, (name, row) in enumerate(values["per_class"].items())
        },
        "confusion_matrix": matrix.tolist(),
        "confusion_labels": list(class_names),
        "calibration": values["calibration"],
        **settled,
        **({"bins": values["bins"]} if bins else {}),
        "intervals": intervals,
        "per_group": values["per_group"],
        "per_source": values["per_source"],
    }


@dataclass(frozen=True)
class _Counted:
    """The pictures' answers.

    ``in_five`` bool [P], is the truth among the five likeliest, None of few classes; ``unlikelihood`` [P], of the
    truth, in nats.
    """

    cells: Confusions
    class_names: tuple[str, ...]
    in_five: NDArray[np.bool_] | None
    trust: Trust
    abstention: Abstention | None
    bins: Mapping[str, Sequence[int]]
    bin_cells: Confusions
    unlikelihood: NDArray[np.float64]

    @property
    def pictures(self) -> int:
        return self.cells.pictures

    def part(self, rows: NDArray[np.int64]) -> _Counted:
        """The pictures ``rows``, in that order."""
        in_five = None if self.in_five is None else self.in_five[rows]
        return replace(
            self,
            cells=self.cells.part(rows),
            in_five=in_five,
            trust=self.trust.part(rows),
            bin_cells=self.bin_cells.part(rows),
            unlikelihood=self.unlikelihood[rows],
        )


def _numbers(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    tally = _tally(counted, weights)
    per_class = by_name(counted.class_names, precision=tally.precision, recall=tally.recall, f1=tally.dice)
    top5 = {} if counted.in_five is None else {"top5": ratio(weights @ counted.in_five, weights.sum(1))}
    return {
        **_overall(tally),
        **top5,
        "per_class": per_class,
        "calibration": _calibration(counted, weights),
        **_abstention(counted, weights),
        **_bins(counted, weights),
    }


def _bins(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    if not counted.bins:
        return {}
    tally = counted.bin_cells.weighed({name: (number,) for number, name in enumerate(counted.bins)}, weights)
    each = by_name(tuple(counted.bins), recall=tally.recall, precision=tally.precision)
    return {"bins": {"right": ratio(tally.hit.sum(1), tally.true.sum(1)), "each": each}}


def _of_bins(truth: NDArray[np.int64], probabilities: NDArray[Any], bins: Mapping[str, Sequence[int]]) -> Confusions:
    """True and likeliest bin of each picture; of two that are equal the first is the answer."""
    pictures = np.arange(len(truth))
    ones = np.ones(len(truth), np.int64)
    if not bins:
        return Confusions(len(truth), 1, pictures, 0 * ones, 0 * ones, ones)
    bin_of = np.zeros(probabilities.shape[1], np.int64)
    for number, ids in enumerate(bins.values()):
        bin_of[list(ids)] = number
    sums = np.stack([probabilities[:, list(ids)].sum(1) for ids in bins.values()], axis=1)
    return Confusions(len(truth), len(bins), pictures, bin_of[truth], sums.argmax(1), ones)


def _of_a_part(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    return {**_overall(_tally(counted, weights)), **_abstention(counted, weights)}


def _abstention(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    return {"abstention": counted.trust.abstention(weights)} if counted.abstention else {}


def _tally(counted: _Counted, weights: NDArray[np.int64]) -> Tally:
    return counted.cells.weighed({name: (class_id,) for class_id, name in enumerate(counted.class_names)}, weights)


def _overall(tally: Tally) -> Numbers:
    return {
        "top1": ratio(tally.hit.sum(1), tally.true.sum(1)),
        "macro_recall": mean_of_known(tally.recall),
        "macro_f1": mean_of_known(tally.dice),
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


def _in_best(truth: NDArray[np.int64], probabilities: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Whether the true class is among the k likeliest; of equal ones the lower ids come first."""
    own = np.take_along_axis(probabilities, truth[:, None], axis=1)
    lower = np.arange(probabilities.shape[1]) < truth[:, None]
    before: NDArray[np.int64] = ((probabilities > own) | ((probabilities == own) & lower)).sum(1)
    return before < k


def _calibration(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    """How well the probabilities can be believed: see `Trust.calibration_error`; the likelihood in nats a picture."""
    return {
        "expected_calibration_error": counted.trust.calibration_error(weights),
        "negative_log_likelihood": ratio(weights @ counted.unlikelihood, weights.sum(1)),
    }
