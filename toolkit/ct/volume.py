"""A CT volume in Hounsfield units, brought to the order in which axial slices are shown and learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import PictureError, PictureTooLarge

# 1024 slices of 512 x 512: with mask and labels of components 2 GiB, half of what a job may have.
MAX_VOXELS = 2**28
# What lies outside the scanned circle is stored as any number down to -3024; air is -1000, and nothing is less dense.
LOWEST_HU = -1024
# Lungs are below -500 HU. A volume without any such voxel is no chest, or not in Hounsfield units.
_AIR = -500
# Pixels this far from square would show lungs in a shape that the network has not seen.
_SQUARE = 0.05


@dataclass(frozen=True, eq=False)
class Volume:
    """Axial slices of a chest.

    Attributes:
        hu: int16 [Z, Y, X] in HU: z rises to the head, y to the back, x to the patient's left, so that a slice lies as
            radiologists look at it.
        affine: float64 [4, 4], voxel (x, y, z, 1) to mm in the patient's system of DICOM (left, back, head).
        notes: sentences on what is unusual about the series; none tells anything of the patient.
    """

    hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) in mm. Under a tilted gantry z is the distance of the slices' planes, as volumes need it."""
        return spacing_of(self.affine)


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, float, float]:
    """See ``Volume.spacing``."""
    across, down = np.linalg.norm(affine[:3, 0]), np.linalg.norm(affine[:3, 1])
    return float(abs(np.linalg.det(affine[:3, :3])) / (across * down)), float(down), float(across)


def check_size(shape: tuple[int, ...], source: str) -> None:
    """PictureTooLarge for more voxels than a volume may have; nothing needs to be decoded for that."""
    count = int(np.prod([int(side) for side in shape], dtype=object))
    if count > MAX_VOXELS:
        sides = " x ".join(map(str, shape))
        limit = f"over the limit of {MAX_VOXELS / 1e6:.0f} million"
        raise PictureTooLarge(f"{source}: {sides} are {count / 1e6:.0f} million voxels, {limit}; take thicker slices")


def in_patient_order(
    values: NDArray[Any], affine: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Turn ``values`` [K, J, I], with ``affine`` from (i, j, k, 1) to the patient's mm, to the order of `Volume`.

    Each axis becomes the one that it lies nearest to; nothing is interpolated.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    order = max(permutations(range(3)), key=lambda chosen: sum(abs(directions[row, chosen[row]]) for row in range(3)))
    turned = affine.copy()
    turned[:, :3] = affine[:, list(order)]
    values = values.transpose([2 - axis for axis in reversed(order)])
    for axis in range(3):
        if turned[axis, axis] < 0:
            count = values.shape[2 - axis]
            turned[:, 3] += turned[:, axis] * (count - 1)
            turned[:, axis] *= -1
            values = np.flip(values, 2 - axis)
    return np.ascontiguousarray(values), turned


def finished(values: NDArray[np.int16], affine: NDArray[np.float64], notes: list[str], source: str) -> Volume:
    """The volume of HU [K, J, I]: in patient order, with square pixels; PictureError where there is no air in it."""
    hu, affine = in_patient_order(values, affine)
    if hu.min() >= _AIR:
        raise PictureError(
            f"{source}: its lowest value is {hu.min()}, but a chest in Hounsfield units has air in it, about -1000; "
            "give a CT with its rescaling kept"
        )
    return _with_square_pixels(hu, affine, notes)


def _with_square_pixels(hu: NDArray[np.int16], affine: NDArray[np.float64], notes: list[str]) -> Volume:
    from ops import resample_volume

    depth, down, across = spacing_of(affine)
    if abs(down / across - 1) <= _SQUARE:
        return Volume(hu, affine, tuple(notes))
    side = min(down, across)
    square = resample_volume(hu, (depth, down, across), (depth, side, side))
    told = f"the pixels measure {down:.2f} x {across:.2f} mm, and were resampled to squares of {side:.2f} mm"
    changed = affine.copy()
    for axis, old in ((0, across), (1, down)):
        unit = affine[:, axis] / old
        changed[:, axis] = unit * side
        changed[:, 3] += unit * (side - old) / 2  # both grids begin at the same outer face
    return Volume(square, changed, (*notes, told))
