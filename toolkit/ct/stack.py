"""Slices in the order in which they lie in the patient: which series, how far apart, what is missing, and the tilt."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.ct.headers import Slice
from toolkit.errors import PictureError

FEWEST_SLICES = 3
# A slice whose normal is further from the body's axis is coronal or sagittal: gantries tilt by 30 degrees at most.
_AXIAL = math.cos(math.radians(35))
# Of the distance of two slices: what exporters round, and what is no longer even.
_EVEN = 0.05
# Between two slices that are further apart than this and than others, too much would be made up.
_WIDEST_GAP_MM, _WIDEST_GAP = 10.0, 2.5
# The part of the slices that may be missing.
_MOST_MISSING = 0.1
# In degrees, above what rounding makes of straight ones.
_TILT = 0.5
_SAME_MM = 0.01


@dataclass(frozen=True)
class Stack:
    """Slices from the first to the last along their normal.

    Attributes:
        slices: in order.
        places: float64 [N], how far each lies from the first along the normal, in even steps: 0, 1, 2 ... where
            none is missing.
        affine: float64 [4, 4], (column, row, step, 1) to the patient's mm.
        notes: sentences on what is unusual.
    """

    slices: list[Slice]
    places: NDArray[np.float64]
    affine: NDArray[np.float64]
    notes: list[str]

    @property
    def is_even(self) -> bool:
        """Whether every step has its slice."""
        return bool(np.abs(np.diff(self.places) - 1).max() <= _EVEN)


def choose(slices: Sequence[Slice], source: str) -> tuple[list[Slice], list[str]]:
    """The axial series with the most slices, and what was left out; PictureError where the choice is not ours.

    Localizers, and series in other planes, are never taken. Of series with equally many slices the one of the lowest
    number is. Slices of several studies are an error: a report must not depend on whose series is longer.
    """
    studies = {each.study for each in slices}
    if len(studies) > 1:
        listed = "; ".join(_listed([each for each in slices if each.study == study]) for study in sorted(studies))
        raise PictureError(f"{source}: holds slices of {len(studies)} studies ({listed}); give one study alone")
    groups = _series(slices)
    axial = [group for group in groups if _is_axial(group[0])]
    if not axial:
        raise PictureError(f"{source}: has no axial CT slices, only {_listed(slices)}; export the axial series")
    taken = axial[0]
    if len(taken) < FEWEST_SLICES:
        raise PictureError(
            f"{source}: has {len(taken)} axial CT slice{'s' if len(taken) > 1 else ''}, but a volume takes at least "
            f"{FEWEST_SLICES}; give the folder of the whole series"
        )
    others = [each for group in groups if group is not taken for each in group]
    if not others:
        return taken, []
    return taken, [f"taken: {_listed(taken)}; left out: {_listed(others)}"]


def stacked(slices: Sequence[Slice], source: str) -> Stack:
    """Order the slices of one series. PictureError for gaps too wide to fill."""
    ordered, notes = _without_doubles(slices)
    if len(ordered) < FEWEST_SLICES:
        raise PictureError(f"{source}: its slices lie at {len(ordered)} places only; give the whole series")
    first, normal = ordered[0], ordered[0].normal
    along = np.array([np.dot(each.position, normal) for each in ordered])
    steps = np.diff(along)
    step = float(np.median(steps))
    notes += _gaps(steps, step, source)
    direction = (np.array(ordered[-1].position) - np.array(first.position)) / (along[-1] - along[0])
    notes += _tilt(direction)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = first.across * first.pixel[1], first.down * first.pixel[0]
    affine[:3, 2], affine[:3, 3] = direction * step, first.position
    return Stack(ordered, (along - along[0]) / step, affine, notes)


def _series(slices: Sequence[Slice]) -> list[list[Slice]]:
    """By series, plane and size, the most slices first. One place scanned again and again is several acquisitions."""
    groups: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for each in slices:
        plane = tuple(round(number, 2) + 0.0 for number in each.orientation)
        groups[each.series, each.localizer, each.shape, each.pixel, plane].append(each)
    parts: list[list[Slice]] = []
    for group in groups.values():
        places = Counter(tuple(round(number, 2) for number in each.position) for each in group)
        acquisitions = defaultdict(list)
        for each in group:
            acquisitions[each.acquisition if max(places.values()) > 1 else 0].append(each)
        parts += acquisitions.values()
    return sorted(parts, key=lambda part: (-len(part), part[0].series_number, part[0].acquisition, part[0].series))


def _is_axial(one: Slice) -> bool:
    return not one.localizer and abs(float(one.normal[2])) >= _AXIAL


def _listed(slices: Sequence[Slice]) -> str:
    """Such as ``series 2 with 40 axial slices, series 1 with 1 localizer``; nothing that names a patient."""
    words = []
    for group in _series(slices):
        plane = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(group[0].normal)))]
        kind = "localizer" if group[0].localizer else f"{plane} slice"
        words.append(f"series {group[0].series_number} with {len(group)} {kind}{'s' if len(group) > 1 else ''}")
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")


def _without_doubles(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """In order along the normal; of several slices at one place, the one of the lowest instance number."""
    normal = slices[0].normal
    ordered: list[Slice] = []
    for each in sorted(slices, key=lambda one: (float(np.dot(one.position, normal)), one.instance, one.file)):
        if ordered and abs(np.dot(each.position, normal) - np.dot(ordered[-1].position, normal)) <= _SAME_MM:
            if each.instance < ordered[-1].instance:
                ordered[-1] = each
            continue
        ordered.append(each)
    doubles = len(slices) - len(ordered)
    lie, are = ("slices lie", "are") if doubles > 1 else ("slice lies", "is")
    return ordered, [f"{doubles} {lie} where another one does, and {are} left out"] if doubles else []


def _gaps(steps: NDArray[np.float64], step: float, source: str) -> list[str]:
    """What is said of uneven steps; nothing of even ones."""
    widest = int(np.argmax(steps))
    if steps[widest] > max(_WIDEST_GAP_MM, _WIDEST_GAP * step):
        raise PictureError(
            f"{source}: between slices {widest + 1} and {widest + 2} lie {steps[widest]:.1f} mm, between others "
            f"{step:.2f} mm: too much is missing to be filled in; export the whole series"
        )
    if np.abs(steps - step).max() <= _EVEN * step:
        return []
    multiples = np.rint(steps / step)
    if np.abs(steps - multiples * step).max() > _EVEN * step or multiples.min() < 1:
        return [f"the slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; between them values at steps of "
                f"{step:.2f} mm were interpolated"]  # fmt: skip
    missing = int((multiples - 1).sum())
    if missing > _MOST_MISSING * (len(steps) + 1):
        raise PictureError(f"{source}: {missing} slices are missing among {len(steps) + 1}; export the whole series")
    after = ", ".join(str(index + 1) for index in np.flatnonzero(multiples > 1)[:8])
    are, were = ("slices are", "were") if missing > 1 else ("slice is", "was")
    return [f"{missing} {are} missing (after slice {after}) and {were} filled in from the neighbours"]


def _tilt(direction: NDArray[np.float64]) -> list[str]:
    """``direction`` moves by 1 along the normal; what it moves aside is the tilt."""
    angle = math.degrees(math.acos(min(1.0, 1 / float(np.linalg.norm(direction)))))
    if angle <= _TILT:
        return []
    return [f"the gantry was tilted by {angle:.1f} degrees: volumes allow for it, the side views do not"]
