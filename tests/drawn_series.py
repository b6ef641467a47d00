"""A chest drawn in Hounsfield units, and the DICOM and NIfTI files of it: every volume is known in millilitres.

Two ellipsoid lungs in an elliptic body with a spine, and in each lung a patchy lesion at the back, as far as a ball
reaches. ``write_series`` writes the files as a scanner would, or as one would not: see its options.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

AIR, LUNG, LESION, BODY, BONE = -1000, -850, -450, 40, 400
_PATCHES = 120  # standard deviation of the lesion, in HU
# (z, y, x) in mm from the middle: half axes of the lungs and the body, centres, radii of the lesions.
_LUNG_AXES, _BODY_AXES, _LUNG_X = (105.0, 75.0, 52.0), (115.0, 160.0), 68.0
_LESIONS = {"right": (-1, 40.0), "left": (1, 25.0)}
_LESION_Y = 45.0
PATIENT = "Nobody^Known"


@dataclass(frozen=True)
class Chest:
    """``hu`` int16 [Z, Y, X] and ``truth`` uint8 (0, 1 lung, 2 lesion), z to the head, y to the back, x to the left;
    ``spacing`` (z, y, x) in mm; ``origin`` (x, y, z) of the first voxel in mm."""

    hu: NDArray[np.int16]
    truth: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    def ml(self, *labels: int, side: str | None = None) -> float:
        """What is drawn of these labels, in one half or in both."""
        middle = self.truth.shape[2] // 2
        part = {None: slice(None), "right": slice(middle), "left": slice(middle, None)}[side]
        return float(np.isin(self.truth[:, :, part], labels).sum() * np.prod(self.spacing) / 1000)


def drawn_chest(shape: tuple[int, int, int] = (48, 96, 96), field: float = 380.0, length: float = 240.0) -> Chest:
    """A chest in ``shape`` (slices, rows, columns); ``field`` mm wide and ``length`` mm high."""
    spacing = length / shape[0], field / shape[1], field / shape[2]
    z, y, x = np.meshgrid(
        *((np.arange(count) - (count - 1) / 2) * step for count, step in zip(shape, spacing, strict=True)),
        indexing="ij", sparse=True,
    )  # fmt: skip
    body = (y / _BODY_AXES[0]) ** 2 + (x / _BODY_AXES[1]) ** 2 + 0 * z < 1
    hu = np.where(body, BODY, AIR)
    hu[((y - 80) ** 2 + x**2 + 0 * z) < 18**2] = BONE
    truth = np.zeros(shape, np.uint8)
    for sign, radius in _LESIONS.values():
        from_lung = x - sign * _LUNG_X
        lung = (z / _LUNG_AXES[0]) ** 2 + (y / _LUNG_AXES[1]) ** 2 + (from_lung / _LUNG_AXES[2]) ** 2 < 1
        lesion = z**2 + (y - _LESION_Y) ** 2 + from_lung**2 < radius**2
        truth[lung] = 1
        truth[lung & lesion] = 2
    random = np.random.default_rng(0)
    patches = random.normal(0, _PATCHES, [-(-count // 3) for count in shape]).repeat(3, 1).repeat(3, 2).repeat(3, 0)
    hu[truth == 1] = LUNG
    hu = np.where(truth == 2, LESION + patches[: shape[0], : shape[1], : shape[2]].clip(-150, 150), hu)
    noise = random.normal(0, 12, shape)
    first = tuple(-(count - 1) / 2 * step for count, step in zip(shape, spacing, strict=True))
    return Chest(np.rint(hu + noise).clip(-1024).astype(np.int16), truth, spacing, (first[2], first[1], first[0]))


def geometric_lung_ml() -> float:
    """What geometry says of one lung, lesion with it."""
    return float(4 / 3 * np.pi * np.prod(_LUNG_AXES) / 1000)


def write_series(folder: Path, chest: Chest, *, prefix: str = "", **options: Any) -> Path:
    """Write one DICOM file a slice, the order of the names shuffled; ``options`` are those of `datasets`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = datasets(chest, **options)
    for number, dataset in zip(np.random.default_rng(1).permutation(len(files)), files, strict=True):
        dataset.save_as(folder / f"{prefix}{number:05}", enforce_file_format=True)
    return folder


def datasets(
    chest: Chest,
    *,
    series: int = 1,
    study: int = 1,
    modality: str = "CT",
    monochrome: int = 2,
    slope: float = 1.0,
    intercept: float = -1024.0,
    signed: bool = False,
    tilt: float = 0.0,
    turned: Sequence[int] = (1, 1),
    leave_out: Sequence[int] = (),
    change: Callable[[Any, int], None] = lambda dataset, index: None,
) -> list[Any]:
    """The pydicom data sets of the axial slices, from the head down.

    ``turned`` (-1, -1) writes columns to the right and rows to the front, as of a patient who lies face down;
    ``tilt`` in degrees shifts slice after slice as a tilted gantry does, ``change`` may alter each.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

    kind = CTImageStorage if modality == "CT" else MRImageStorage
    depth, down, across = chest.spacing
    found = []
    for place in range(len(chest.hu))[::-1]:
        if place in leave_out:
            continue
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
        dataset.SOPInstanceUID = f"1.2.3.{study}.{series}.{place + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{study}", f"1.2.3.{study}.{series}"
        dataset.PatientName, dataset.PatientID = PATIENT, "4711-secret"
        dataset.PatientBirthDate = datetime.date(1970, 1, 1)
        dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesNumber, dataset.InstanceNumber = series, len(chest.hu) - place
        aside = place * depth * np.tan(np.radians(tilt))
        _place(dataset, chest, place, aside, turned)
        dataset.PixelSpacing = [down, across]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, f"MONOCHROME{monochrome}"
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        stored = np.rint((chest.hu[place][:: turned[1], :: turned[0]] - intercept) / slope)
        dataset.set_pixel_data(
            stored.astype(np.int16 if signed else np.uint16), f"MONOCHROME{monochrome}", 16, generate_instance_uid=False
        )
        change(dataset, place)
        found.append(dataset)
    return found


def _place(dataset: Any, chest: Chest, place: int, aside: float, turned: Sequence[int]) -> None:
    """Where a slice lies. ``origin`` is of the first voxel in patient order; a turned slice begins at the other end."""
    x, y, z = chest.origin
    x += 0 if turned[0] > 0 else (chest.hu.shape[2] - 1) * chest.spacing[2]
    y += 0 if turned[1] > 0 else (chest.hu.shape[1] - 1) * chest.spacing[1]
    dataset.ImagePositionPatient = [round(x, 4), round(y + aside, 4), round(z + place * chest.spacing[0], 4)]
    dataset.ImageOrientationPatient = [turned[0], 0, 0, 0, turned[1], 0]


def write_nifti(path: Path, chest: Chest, *, flips: Sequence[int] = (), axes: Sequence[int] = (0, 1, 2)) -> Path:
    """Write a NIfTI file; ``flips`` names axes of (x, y, z) stored backwards, ``axes`` the order in which they are."""
    import nibabel

    values = chest.hu.transpose(2, 1, 0)
    affine = np.diag([*chest.spacing[::-1], 1.0])
    affine[:3, 3] = chest.origin
    for axis in flips:
        values = np.flip(values, axis)
        affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
        affine[:3, axis] *= -1
    values = values.transpose(axes)
    affine = affine[:, [*axes, 3]]
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine), path)
    return path
