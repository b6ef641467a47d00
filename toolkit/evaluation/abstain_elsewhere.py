"""The score up to which a classifier should be unsure, chosen on pictures of sources that it never saw.

A threshold that was fitted to validation pictures of the sources that it was trained on promises nothing of another
camera. A cross-validation over sources has answers to pictures of others: of each fold, by a training of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A fold's answers: their scores [N], and whether they are right, bool [N].
Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]
LEAST = 50  # answers over a threshold: fewer say too little of how often they are right


def abstain_elsewhere(folds: Mapping[str, Answers], error_level: float) -> dict[str, Any]:
    """What abstaining would keep, each fold by the threshold of the others.

    ``folds`` by name: of each what came of that threshold, ``threshold``, ``answered`` and ``error`` (None where
    nothing was answered or chosen) and ``answers``; and as ``threshold`` that of all folds, which no number here was
    measured with: it is for a bundle that is trained on all of them (``calibration.abstain_at``).
    """
    told = {}
    for name, (scores, right) in folds.items():
        at = lowest_threshold({other: part for other, part in folds.items() if other != name}, error_level)
        answered = scores > (1.0 if at is None else at)
        count = int(answered.sum())
        told[name] = {
            "threshold": at,
            "answered": count / len(scores),
            "error": float((~right[answered]).mean()) if count else None,
            "answers": count,
        }
    return {"error_level": error_level, "threshold": lowest_threshold(folds, error_level), "folds": told}


def lowest_threshold(folds: Mapping[str, Answers], error_level: float) -> float | None:
    """The lowest score over which at most that share of the answers is wrong, each fold counting alike; None where
    none of 50 answers keeps it.
    """
    if not folds:
        return None
    scores, right, weight = (
        np.concatenate(column)
        for column in zip(*((s, r, np.full(len(s), 1 / max(len(s), 1))) for s, r in folds.values()), strict=True)
    )
    order = np.argsort(-scores, kind="stable")
    scores, given, wrong = scores[order], np.cumsum(weight[order]), np.cumsum((weight * ~right)[order])
    # After the last of equal scores: over the next lower one lie all of them.
    ends = np.flatnonzero(np.diff(scores, append=-np.inf) < 0)
    kept = ends[(wrong[ends] <= error_level * given[ends] + 1e-12) & (ends + 1 >= LEAST)]
    if not len(kept):
        return None
    last = int(kept[-1])
    return float(scores[last + 1]) if last + 1 < len(scores) else 0.0
