"""How far answers can be trusted: whether their scores say how often they are right, and what abstaining leaves.

One form for classifiers, whose pictures have an answer each, and for detectors, whose boxes are the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.abstention import Abstention
from toolkit.evaluation.binomial import bounds
from toolkit.evaluation.resampling import Numbers, ratio
from toolkit.evaluation.sections import Ranged, at

BINS = 15  # of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks" (2017)
Told = tuple[str, Ranged, str]


@dataclass(frozen=True)
class Trust:
    """What was counted of the answers of P pictures: ``given`` and, of those that are not unsure, ``answered`` and
    ``wrong``, int64 [P]; ``surplus`` [P, BINS], by how much the scores are over what is right, by range of score.
    """

    given: NDArray[np.int64]
    answered: NDArray[np.int64]
    wrong: NDArray[np.int64]
    surplus: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        pictures: int,
        picture: NDArray[np.int64],
        scores: NDArray[Any],
        right: NDArray[np.bool_],
        abstention: Abstention | None = None,
    ) -> Trust:
        """Of N answers: whose picture each is [N], its score [N] from 0 to 1, and whether it is right [N]."""
        exact = scores.astype(np.float64)
        answered = exact > (abstention.at if abstention else -1.0)
        bins = np.clip(np.ceil(exact * BINS).astype(np.int64) - 1, 0, BINS - 1)  # a bin holds its upper end
        surplus = np.zeros((pictures, BINS))
        np.add.at(surplus, (picture, bins), exact - right)
        return cls(
            np.bincount(picture, minlength=pictures),
            np.bincount(picture[answered], minlength=pictures),
            np.bincount(picture[answered & ~right], minlength=pictures),
            surplus,
        )

    def part(self, rows: NDArray[np.int64]) -> Trust:
        """The pictures ``rows``, in that order."""
        return Trust(self.given[rows], self.answered[rows], self.wrong[rows], self.surplus[rows])

    def calibration_error(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean distance of score and share of right answers over 15 equal ranges of the score, weighted by their
        answers; for each row of ``weights`` [R, P].
        """
        return ratio(np.abs(weights @ self.surplus).sum(1), weights @ self.given)

    def abstention(self, weights: NDArray[np.int64]) -> Numbers:
        """The share that is answered, and of that the share that is wrong; and how many both are."""
        answers, wrong = weights @ self.answered, weights @ self.wrong
        return {
            "answered": ratio(answers, weights @ self.given),
            "error": ratio(wrong, answers),
            "answers": answers.astype(np.float64),
            "wrong": wrong.astype(np.float64),
        }


def settle_abstention(values: dict[str, Any], intervals: dict[str, Any], rule: Abstention) -> dict[str, Any]:
    """The block ``abstention`` of ``metrics.json``, taken out of the measured ``values``.

    Where few answers are wrong, drawing pictures anew says too little, and of none nothing: the interval of the error
    is widened to Clopper and Pearson's, of all pictures and of every source and group.
    """
    for block, around in _blocks(values, intervals):
        counts = (int(block.pop("wrong") or 0), int(block.pop("answers") or 0))
        for key in ("wrong", "answers"):
            around.pop(key)
        block["answers"] = counts[1]
        if around["error"] is not None:
            exact = bounds(*counts)
            around["error"] = [min(around["error"][0], exact[0]), max(around["error"][1], exact[1])]
    return {"error_level": rule.error_level, "abstain_at": rule.at, **values.pop("abstention")}


def _blocks(values: dict[str, Any], intervals: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    yield values["abstention"], intervals["abstention"]
    for key in ("per_source", "per_group"):
        for name, part in values[key].items():
            yield part["abstention"], intervals[key][name]["abstention"]


def told_abstention(metrics: dict[str, Any], what: str) -> list[Told]:
    """The rows that say what abstaining leaves of ``what``; none of a bundle that always answers."""
    block = metrics.get("abstention")
    if block is None:
        return []
    around = metrics["intervals"]["abstention"]
    return [
        ("answered", at(block, around, "answered"), f"of the {what}; the others are unsure"),
        ("error of answered", at(block, around, "error"), promise(block["error"], block["error_level"])),
    ]


def promise(error: float | None, level: float) -> str:
    """Whether the stated error was kept, in a few words."""
    meant = f"at most {100 * level:g} % are meant to be wrong"
    if error is None:
        return f"{meant}; nothing was answered"
    return f"{meant}: {f'EXCEEDED by {100 * (error - level):.1f} points' if error > level else 'kept'}"


def abstention_columns(metrics: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """What is told of a source or group besides."""
    if "abstention" not in metrics:
        return {}
    return {"answered": ("abstention", "answered"), "error of answered": ("abstention", "error")}
