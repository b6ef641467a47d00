"""How far the predicted outlines of classes lie from the true ones, picture by picture: HD95, in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops


class Outlines:
    """The distances of the outlines of regions, each a class or a union of classes, of pictures told one by one."""

    def __init__(self, regions: Mapping[str, Sequence[int]]) -> None:
        self.regions = regions
        self._found: dict[str, list[float]] = {name: [] for name in regions}

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], ignored: int) -> None:
        """Take one picture: class ids [H, W]; where the truth is ``ignored``, neither side has anything."""
        known = truth != ignored
        for name, ids in self.regions.items():
            true, given = (np.isin(mask, ids) & known for mask in (truth, predicted))
            if true.any() or given.any():
                self._found[name].append(hd95(true, given))

    def measured(self) -> dict[str, dict[str, Any]]:
        """By region: ``hd95``, the median over the pictures where it is true and predicted, None where there are none;
        ``pictures``, how many those are; ``one_sided``, in how many it is only true or only predicted."""
        rows = {}
        for name, distances in self._found.items():
            known = [distance for distance in distances if np.isfinite(distance)]
            rows[name] = {
                "hd95": float(np.median(known)) if known else None,
                "pictures": len(known),
                "one_sided": len(distances) - len(known),
            }
        return rows


def hd95(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """The 95th percentile of the distances from one outline to the other, the larger of both ways, in pixels.

    inf where a mask is empty.
    """
    if not (a.any() and b.any()):
        return np.inf
    return max(float(np.percentile(way, 95)) for way in ops.boundary_distance(a, b, (1.0, 1.0)))
