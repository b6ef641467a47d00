"""Confusion matrices picture by picture, and what follows from them for a class or for several classes as one.

One form for all tasks: of a classifier each picture is one cell, of a detector each object and each box out of nothing,
of a segmentation the pixels of each pair of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.resampling import ratio, renumbered

Regions = Mapping[str, Sequence[int]]  # the classes that each name stands for


@dataclass(frozen=True)
class Tally:
    """What was counted of named regions, each a class or a union of classes: int64 [..., regions].

    A hit is true and predicted in the region, whichever of its classes the two say.
    """

    hit: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of pixels, F1 of anything else."""
        return ratio(2 * self.hit, self.true + self.predicted)

    @property
    def iou(self) -> NDArray[np.float64]:
        return ratio(self.hit, self.true + self.predicted - self.hit)

    @property
    def precision(self) -> NDArray[np.float64]:
        return ratio(self.hit, self.predicted)

    @property
    def recall(self) -> NDArray[np.float64]:
        return ratio(self.hit, self.true)


@dataclass(frozen=True)
class Confusions:
    """The cells of P matrices [C, C] that are not 0: whose they are, true and predicted class, and what they count.

    ``picture``, ``true``, ``predicted`` and ``count`` are int64 [M].
    """

    pictures: int
    classes: int
    picture: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, matrices: Sequence[NDArray[np.int64]]) -> Confusions:
        """From one matrix a picture, rows true; at least one."""
        stacked = np.stack(matrices)
        picture, true, predicted = np.nonzero(stacked)
        return cls(len(stacked), stacked.shape[1], picture, true, predicted, stacked[picture, true, predicted])

    def part(self, rows: NDArray[np.int64]) -> Confusions:
        """The pictures ``rows``, in that order."""
        kept, picture = renumbered(self.picture, rows, self.pictures)
        return Confusions(len(rows), self.classes, picture, self.true[kept], self.predicted[kept], self.count[kept])

    def matrix(self) -> NDArray[np.int64]:
        """All pictures together, int64 [C, C]."""
        total = np.zeros((self.classes, self.classes), np.int64)
        np.add.at(total, (self.true, self.predicted), self.count)
        return total

    def weighed(self, regions: Regions, weights: NDArray[np.int64]) -> Tally:
        """All pictures together, as often as each row of ``weights`` [R, P] says: [R, regions]."""
        return self._tally(regions, lambda cells: weights[:, self.picture[cells]] @ self.count[cells])

    def by_picture(self, regions: Regions) -> Tally:
        """Each picture alone: [P, regions]."""

        def total(cells: NDArray[np.bool_]) -> NDArray[np.int64]:
            sums = np.zeros(self.pictures, np.int64)
            np.add.at(sums, self.picture[cells], self.count[cells])
            return sums

        return self._tally(regions, total)

    def _tally(self, regions: Regions, total: Callable[[NDArray[np.bool_]], NDArray[np.int64]]) -> Tally:
        """``total`` adds up the chosen cells."""
        columns = []
        for ids in regions.values():
            true, predicted = np.isin(self.true, ids), np.isin(self.predicted, ids)
            columns.append([total(true & predicted), total(true), total(predicted)])
        empty = total(np.zeros(len(self.count), np.bool_))
        counts = np.array(columns, np.int64).reshape(len(columns), 3, *empty.shape)
        return Tally(*np.moveaxis(counts, 0, -1))
