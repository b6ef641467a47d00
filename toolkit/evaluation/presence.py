"""Whether a picture holds a class at all, by the score that a segmentation gives it: which pictures need a look?

Pixels say little of that: most of them are of large regions in pictures that nobody doubts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.confusions import Confusions
from toolkit.evaluation.resampling import Numbers, by_name, plain, ratio
from toolkit.evaluation.sections import Row, Section, at

COLUMNS = {"AUC": "auc", "balanced accuracy": "balanced_accuracy", "Dice where it is": "dice_where_true"}


@dataclass(frozen=True)
class Presence:
    """Of P pictures and K classes whether each is truly there, bool [P, K]; its ``score`` and its ``dice``, float64
    [P, K]. Of a score from ``least`` [K] on it counts as there. Pictures without a labelled pixel are not ``known``,
    bool [P], and count neither way.
    """

    names: tuple[str, ...]
    least: NDArray[np.float64]
    known: NDArray[np.bool_]
    true: NDArray[np.bool_]
    score: NDArray[np.float64]
    dice: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        cells: Confusions,
        least: Mapping[str, float],
        scores: Sequence[Mapping[str, float]],
        class_names: Sequence[str],
    ) -> Presence:
        """From the labelled pixels of each picture and its scores by class; ``least`` are the thresholds."""
        tally = cells.by_picture({name: (list(class_names).index(name),) for name in least})
        labelled = cells.by_picture({"any": range(len(class_names))}).true
        score = np.array([[given[name] for name in least] for given in scores], np.float64)
        return cls(tuple(least), np.array([*least.values()]), labelled[:, 0] > 0, tally.true > 0, score, tally.dice)

    def part(self, rows: NDArray[np.int64]) -> Presence:
        """The pictures ``rows``, in that order."""
        parts = {key: getattr(self, key)[rows] for key in ("known", "true", "score", "dice")}
        return replace(self, **parts)

    def numbers(self, weights: NDArray[np.int64]) -> Numbers:
        """By class, for each row of ``weights`` [R, P], how often each picture counts: see `COLUMNS`."""
        weights, said = weights * self.known, self.score >= self.least
        sensitivity = ratio(weights @ (self.true & said), weights @ self.true)
        specificity = ratio(weights @ (~self.true & ~said), weights @ ~self.true)
        areas = [roc_auc(self.score[:, k], self.true[:, k], weights) for k in range(len(self.names))]
        return by_name(
            self.names,
            auc=np.stack(areas, axis=1),
            balanced_accuracy=(sensitivity + specificity) / 2,
            sensitivity=sensitivity,
            specificity=specificity,
            dice_where_true=ratio(weights @ np.where(self.true, self.dice, 0), weights @ self.true),
        )

    def one(self, k: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The scores of class ``k`` and whether it is true, of the pictures that are known."""
        return self.score[self.known, k], self.true[self.known, k]

    def settled(self, values: dict[str, Any]) -> dict[str, Any]:
        """The block ``presence`` of ``metrics.json`` from the measured ``values``."""
        held, known = self.true.sum(0).tolist(), int(self.known.sum())
        return {
            name: {"threshold": float(self.least[k]), **values[name], "pictures": held[k], "without": known - held[k]}
            for k, name in enumerate(self.names)
        }


def roc_auc(scores: NDArray[np.float64], true: NDArray[np.bool_], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often a picture that holds the class has a higher score than one that does not, an equal one counting half.

    Args:
        scores: [P].
        true: bool [P].
        weights: int64 [R, P], how often each round has each picture.

    Returns:
        [R]; NaN where a round lacks either kind. It is the area under the ROC curve (Hanley and McNeil, "The meaning
        and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143, 1982).
    """
    order = np.argsort(scores, kind="stable")
    levels = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    held, free = (np.add.reduceat(weights[:, order] * kind[order], levels, axis=1) for kind in (true, ~true))
    won = held * (np.cumsum(free, axis=1) - free / 2)
    return ratio(won.sum(1), held.sum(1) * free.sum(1))


def best_threshold(scores: NDArray[np.float64], true: NDArray[np.bool_]) -> float | None:
    """The score [P] from which on a class is called present with the best balanced accuracy: half way between two
    pictures', the lowest of equally good ones. None without pictures of both kinds.
    """
    if true.all() or not true.any():
        return None
    levels = np.unique(scores)
    between = np.array([levels[0], *(levels[1:] + levels[:-1]) / 2])
    said = scores >= between[:, None]
    return float(between[((said & true).sum(1) / true.sum() + (~said & ~true).sum(1) / (~true).sum()).argmax()])


def chosen_elsewhere(folds: Mapping[str, Presence]) -> dict[str, Any]:
    """By class the ``sensitivity``, ``specificity`` and their mean over the pictures of all folds, each judged by the
    threshold that is best for the other folds; those ``thresholds`` by fold, and as ``threshold`` the best of all
    folds, which no number here was measured with: it is for a bundle that is trained on all of them.
    """
    first = next(iter(folds.values()))
    return {name: _elsewhere({fold: part.one(k) for fold, part in folds.items()}) for k, name in enumerate(first.names)}


def _elsewhere(folds: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> dict[str, Any]:
    def best(left_out: str | None) -> float | None:
        parts = [part for fold, part in folds.items() if fold != left_out]
        return best_threshold(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else None

    thresholds = {fold: best(fold) for fold in folds}
    hits = held = rejected = free = 0
    for fold, (scores, true) in folds.items():
        if (least := thresholds[fold]) is not None:
            said = scores >= least
            hits, held = hits + int((said & true).sum()), held + int(true.sum())
            rejected, free = rejected + int((~said & ~true).sum()), free + int((~true).sum())
    sensitivity, specificity = ratio(hits, held), ratio(rejected, free)
    return {
        "balanced_accuracy": plain((sensitivity + specificity) / 2),
        "sensitivity": plain(sensitivity),
        "specificity": plain(specificity),
        "thresholds": thresholds,
        "threshold": best(None),
    }


def presence_section(metrics: Mapping[str, Any]) -> list[Section]:
    """The table; none where it was not asked for."""
    head = (*COLUMNS, "sensitivity", "specificity", "there from a score of", "pictures with", "without")
    rows: list[Row] = []
    for name, row in metrics.get("presence", {}).items():
        around = metrics["intervals"]["presence"][name]
        numbers = (at(row, around, key) for key in (*COLUMNS.values(), "sensitivity", "specificity"))
        rows.append((name, (*numbers, f"{row['threshold']:g}", row["pictures"], row["without"])))
    return [Section("presence of", head, tuple(rows))] if rows else []


def presence_columns(metrics: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What is told of a source or group besides."""
    return {
        f"{name}: {title}": ("presence", name, key)
        for name in metrics.get("presence", {})
        for title, key in COLUMNS.items()
    }
