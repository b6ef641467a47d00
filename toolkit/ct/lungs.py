"""Both lungs out of the masks of a volume's slices: what is no lung goes, holes close, and each side is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops import connected_components, fill_holes, largest_component, lung_statistics
from toolkit.ct.volume import Volume

SIDES = ("right", "left")  # of the patient
# Between these the histogram's bins lie, in HU: aerated lung is below -700, ground glass to about -300.
EDGES_HU = tuple(range(-1050, 151, 50))
# The second lung is at least this part of the first. Windpipe and bronchi are about 50 ml of 4 l.
_SECOND = 0.03
# Of one component, at least this part lies on each side of the body when it is both lungs, which touch.
_BOTH = 0.15
_BODY_HU, _STRIDE = -300, 4

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """Voxels of one class in one lung: millilitres, their mean HU (None where there are none), and the histogram."""

    volume_ml: float
    mean_hu: float | None
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Lung:
    """One lung by its classes' names."""

    side: str
    parts: dict[str, Part]

    @property
    def volume_ml(self) -> float:
        """All classes together."""
        return sum(part.volume_ml for part in self.parts.values())


def clean(mask: Mask, classes: Sequence[int], lung: int, volume: Volume) -> tuple[Mask, Mask, list[str]]:
    """Keep the two largest components of ``classes`` in a mask uint8 [Z, Y, X], with their holes filled as ``lung``.

    Returns the mask, the sides uint8 [Z, Y, X] (0 neither, 1 the patient's right lung, 2 the left), and notes. Every
    other voxel becomes 0.
    """
    chosen = np.zeros(256, np.uint8)
    chosen[list(classes)] = 1
    labels, sizes, _, centroids = connected_components(_mapped(chosen, mask), 6)
    largest = [int(index) for index in np.argsort(-sizes, kind="stable")[:2]]
    kept = [index for index in largest if sizes[index] >= _SECOND * sizes[largest[0]]]
    kept.sort(key=lambda index: centroids[index, 0])  # x rises to the patient's left
    lungs = [fill_holes(labels == index + 1) for index in kept]
    del labels
    sides, notes = _sides(lungs, volume)
    cleaned = np.zeros_like(mask)
    for index in range(len(mask)):
        part = np.where(chosen[mask[index]] > 0, mask[index], lung)
        cleaned[index] = np.where(sides[index] > 0, part, 0)
    return cleaned, sides, notes


def measure(mask: Mask, sides: Mask, volume: Volume, names: dict[int, str]) -> list[Lung]:
    """The right and the left lung, measured by the classes in ``names`` (class id to name), in voxels as they are."""
    parts = len(names)
    table = np.zeros((3, 256), np.uint8)
    for row in range(2):
        for position, class_id in enumerate(names):
            table[row + 1, class_id] = 1 + row * parts + position
    labels = np.empty_like(mask)
    for index in range(len(mask)):
        labels[index] = table[sides[index], mask[index]]
    found = lung_statistics(volume.hu, labels, volume.spacing, 2 * parts, EDGES_HU)
    measured = [
        Part(float(ml), None if np.isnan(mean) else float(mean), tuple(bins))
        for ml, mean, bins in zip(found.volumes_ml, found.means_hu, found.histograms.tolist(), strict=True)
    ]
    return [
        Lung(side, dict(zip(names.values(), measured[row * parts : (row + 1) * parts], strict=True)))
        for row, side in enumerate(SIDES)
    ]


def _sides(lungs: list[Mask], volume: Volume) -> tuple[Mask, list[str]]:
    sides = np.zeros(volume.hu.shape, np.uint8)
    if not lungs:
        return sides, ["no lung was found"]
    if len(lungs) == 2:
        sides[lungs[0] > 0] = 1
        sides[lungs[1] > 0] = 2
        return sides, []
    (only,) = lungs
    profile = only.sum((0, 1), dtype=np.int64)
    middle = _middle_of_body(volume)
    on_right = float(profile[:middle].sum() / profile.sum())
    if min(on_right, 1 - on_right) < _BOTH:
        sides[only > 0] = 1 if on_right > 0.5 else 2
        return sides, ["one lung was found"]
    there = np.flatnonzero(profile)
    third = (there[-1] - there[0]) // 3
    begin = int(there[0] + third)
    valley = profile[begin : there[-1] - third + 1]
    border = begin + int(np.flatnonzero(valley == valley.min()).mean() + 1)  # behind the middle of the narrowest
    sides[:, :, :border], sides[:, :, border:] = only[:, :, :border], 2 * only[:, :, border:]
    return sides, ["the lungs touch, and were told apart where they are narrowest"]


def _middle_of_body(volume: Volume) -> int:
    """The column through the middle of the largest thing denser than air, looked at coarsely."""
    body = largest_component(volume.hu[:, ::_STRIDE, ::_STRIDE] > _BODY_HU, 6)
    columns = body.sum((0, 1), dtype=np.int64)
    if not columns.any():
        return int(volume.hu.shape[2] // 2)
    return round(float(np.average(np.arange(columns.size), weights=columns)) * _STRIDE)


def _mapped(table: NDArray[Any], mask: Mask) -> Mask:
    """``table[mask]``, slice by slice: of the whole at once NumPy makes indices of eight bytes a voxel."""
    mapped = np.empty_like(mask)
    for index in range(len(mask)):
        mapped[index] = table[mask[index]]
    return mapped
