"""COCO's average precision from matched detections, with every picture counted as often as a weight says.

Matching does not depend on the other pictures, so it is done once; a bootstrap round only counts anew. Where all
weights are 1 the numbers are those of pycocotools.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.resampling import renumbered

RECALLS = np.linspace(0, 1, 101)  # where COCO's protocol reads the precision
_AT_ONCE = 2**22  # numbers in memory: rounds x detections


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class in P pictures by falling score, at T IoU thresholds.

    ``picture`` int64 [D]; ``hit`` bool [T, D]; ``counted`` bool [T, D] is False on crowds, which count neither way;
    ``truths`` int64 [P], how many objects there are to find.
    """

    picture: NDArray[np.int64]
    hit: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def part(self, rows: NDArray[np.int64]) -> ClassMatches:
        """The pictures ``rows``, in that order."""
        kept, picture = renumbered(self.picture, rows, len(self.truths))
        return ClassMatches(picture, self.hit[:, kept], self.counted[:, kept], self.truths[rows])


def average_precision(matches: ClassMatches, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP [R, T] of pictures counted as each row of ``weights`` [R, P] says; NaN in a round with nothing to find."""
    found = np.full((len(weights), len(matches.hit)), np.nan)
    wanted = weights @ matches.truths
    rounds = np.flatnonzero(wanted)
    step = max(1, _AT_ONCE // max(1, len(matches.picture)))
    for chosen in (rounds[start : start + step] for start in range(0, len(rounds), step)):
        often = weights[chosen][:, matches.picture]
        for threshold, value in enumerate(_at_thresholds(matches, often, wanted[chosen])):
            found[chosen, threshold] = value
    return found


def _at_thresholds(
    matches: ClassMatches, often: NDArray[np.int64], wanted: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """AP [R] at each threshold; ``often`` [R, D] is how often each detection counts, ``wanted`` [R] has no 0.

    Precision is highest, and recall grows, at hits alone: only they are looked at.
    """
    all_given = often.cumsum(1)
    for hit, counted in zip(matches.hit, matches.counted, strict=True):
        at = np.flatnonzero(hit & counted)
        hits = often[:, at].cumsum(1)
        given = all_given if counted.all() else (often * counted).cumsum(1)
        precision = hits / (given[:, at] + np.spacing(1))  # as pycocotools, so that 0 of 0 is 0
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # at this recall or a higher one
        reached = np.searchsorted(RECALLS, hits / wanted[:, None], side="right")
        yield (best * np.diff(reached, axis=1, prepend=0)).sum(1) / len(RECALLS)
