"""NIfTI files: a volume of Hounsfield units in, a mask out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.ct.extra import need
from toolkit.ct.volume import LOWEST_HU, Volume, check_size, finished
from toolkit.errors import PictureError, UserError

SUFFIXES = (".nii", ".nii.gz")
# NIfTI counts to the right, to the front and to the head; DICOM to the left, to the back and to the head.
_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}


def read_nifti(path: str | Path, source: str) -> Volume:
    """The volume in a NIfTI file, which messages call ``source``; its values are taken for HU. Raises PictureError."""
    nibabel = need("nibabel", "reading NIfTI")
    try:
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Image):
            raise PictureError(f"{source}: is not a NIfTI file")
        shape = tuple(int(side) for side in image.shape)
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        check_size(shape, source)
        affine, notes = _geometry(image, shape, source)
        return finished(_values(image, shape, source), affine, notes, source)
    except (OSError, EOFError, ValueError, TypeError, OverflowError, nibabel.filebasedimages.ImageFileError) as error:
        raise PictureError(f"{source}: cannot be read as NIfTI ({type(error).__name__}); copy it again") from None


def write_mask(path: str | Path, mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> Path:
    """Write a mask uint8 [Z, Y, X] with `Volume`'s affine; the suffix says whether it is packed. Returns the path."""
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: a mask of a volume is saved as {' or '.join(SUFFIXES)}")
    nibabel = need("nibabel", "writing NIfTI")
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0), _TURN @ affine)
    image.header.set_xyzt_units("mm")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _geometry(image: Any, shape: tuple[int, ...], name: str) -> tuple[NDArray[np.float64], list[str]]:
    if len(shape) != 3 or min(shape) < 3:
        raise PictureError(f"{name}: has shape {list(image.shape)}, expected one volume of at least 3 x 3 x 3 voxels")
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        raise PictureError(f"{name}: does not say how it lies in the patient (no sform and no qform); convert it again")
    units = image.header.get_xyzt_units()[0]
    affine = _TURN @ np.asarray(image.affine, np.float64)
    affine[:3] *= _MILLIMETRES.get(units, 1.0)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() < 0.01 or lengths.max() > 50:
        raise PictureError(f"{name}: its voxels measure {lengths.round(3).tolist()} mm, expected 0.01 to 50")
    directions = affine[:3, :3] / lengths
    if abs(np.linalg.det(directions)) < 0.5:
        raise PictureError(f"{name}: its axes do not stand on each other; convert it again")
    away = float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), -1, 1))))
    told = f"the volume lies {away:.1f} degrees off the patient's axes, and was not turned"
    return affine, [told] if away > 0.5 else []


def _values(image: Any, shape: tuple[int, ...], name: str) -> NDArray[np.int16]:
    """HU int16 [K, J, I]."""
    stored = np.asanyarray(image.dataobj.get_unscaled()).reshape(shape, order="A")
    if stored.dtype.kind not in "iuf":
        raise PictureError(f"{name}: has values of type {stored.dtype}, expected Hounsfield units")
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    limits = LOWEST_HU, np.iinfo(np.int16).max
    hu = np.empty(shape[::-1], np.int16)
    for index in range(shape[2]):  # one slice at a time: what is between is float64
        plane = stored[:, :, index].T * np.float64(slope) + np.float64(intercept)
        hu[index] = np.rint(np.nan_to_num(plane, nan=LOWEST_HU)).clip(*limits)
    return hu


def is_nifti(path: str | Path) -> bool:
    """Whether the path is a file that is called NIfTI."""
    return str(path).lower().endswith(SUFFIXES) and os.path.isfile(path)
