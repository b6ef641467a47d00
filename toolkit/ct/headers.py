"""What a DICOM file says of its slice, without its pixels: only the tags named here are read, none of the patient."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from toolkit.ct.extra import need
from toolkit.ct.files import Files
from toolkit.errors import PictureError

# What is read of a file; everything else, names and numbers of patients among it, is passed over.
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
PIXELS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
          "PixelRepresentation", "PhotometricInterpretation", "PixelPaddingValue", "RescaleSlope",
          "RescaleIntercept")  # fmt: skip
SERIES = ("Modality", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
          "AcquisitionNumber", "InstanceNumber", "ImageType")  # fmt: skip
# Whatever pydicom raises at damaged files.
DAMAGED = (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, NotImplementedError,
           OverflowError, RecursionError, RuntimeError, struct.error)  # fmt: skip
_DEFLATED = "1.2.840.10008.1.2.1.99"
_CT_SLICE, _ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
# Far beyond any scanner: 0.01 to 20 mm a pixel, 100 m from the origin.
_PIXEL_MM, _FURTHEST_MM = (0.01, 20.0), 1e5
_MOST_SIDE = 4096


@dataclass(frozen=True)
class Slice:
    """One axial slice's place; the first field is its file's number. Lengths in mm in the patient's system."""

    file: int
    study: str
    series: str
    series_number: int
    acquisition: int
    instance: int
    identity: str
    shape: tuple[int, int]
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel: tuple[float, ...]  # (down, across)
    localizer: bool

    @property
    def across(self) -> NDArray[np.float64]:
        """The unit vector in which columns are counted."""
        return np.array(self.orientation[:3])

    @property
    def down(self) -> NDArray[np.float64]:
        """The unit vector in which rows are counted."""
        return np.array(self.orientation[3:])

    @property
    def normal(self) -> NDArray[np.float64]:
        """The unit vector that stands on the slice."""
        normal: NDArray[np.float64] = np.cross(self.across, self.down)
        return normal


def is_dicom(file: BinaryIO) -> bool:
    """Whether a file has DICOM's mark; it is read from its beginning."""
    file.seek(0)
    return file.read(132)[128:] == b"DICM"


def read_header(files: Files, index: int) -> Slice | str | None:
    """The slice in a file, the modality of one that is no CT slice, or None for what is no DICOM image.

    PictureError for a DICOM file that is damaged, deflated (it could unfold to any size) or of an unread kind.
    """
    with files.open(index) as file:
        if not is_dicom(file):
            return None
        name = files.name(index)
        header = read(file, (*SERIES, *GEOMETRY, *PIXELS), name)
    try:
        modality, kind = str(header.get("Modality", "")), str(header.file_meta.MediaStorageSOPClassUID)
        if kind == _ENHANCED:
            raise PictureError(f"{name}: is an enhanced CT with many frames; export it as one file a slice")
        if kind != _CT_SLICE or modality not in ("CT", ""):
            told = "CT, but pictures of a screen" if modality == "CT" else modality
            return told if "Rows" in header else None
        return _slice(header, index, name)
    except DAMAGED as error:
        raise damaged(name, error) from None


def read(file: BinaryIO, tags: tuple[str, ...], name: str, *, pixels: bool = False) -> Any:
    """The data set with those tags alone; PictureError where it cannot be read."""
    reader = need("pydicom.filereader", "reading DICOM")
    try:
        file.seek(132)
        meta = reader.read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        if str(meta.TransferSyntaxUID) == _DEFLATED:
            raise PictureError(f"{name}: is deflated as a whole; export it in another transfer syntax")
        file.seek(0)
        return reader.dcmread(file, stop_before_pixels=not pixels, specific_tags=list(tags))
    except DAMAGED as error:
        raise damaged(name, error) from None


def damaged(name: str, error: Exception) -> PictureError:
    """The one sentence for whatever was met in a broken file. What pydicom says may quote the file: only its kind."""
    return PictureError(f"{name}: is damaged or cut short ({type(error).__name__}); copy or export it again")


def _slice(header: Any, index: int, name: str) -> Slice:
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise PictureError(f"{name}: holds several frames; export the series as one file a slice")
    localizer = "LOCALIZER" in [str(word).upper() for word in header.get("ImageType") or ()]
    return Slice(
        file=index,
        study=str(header.get("StudyInstanceUID", "")),
        series=str(header.get("SeriesInstanceUID", "")),
        series_number=int(header.get("SeriesNumber") or 0),
        acquisition=int(header.get("AcquisitionNumber") or 0),
        instance=int(header.get("InstanceNumber") or 0),
        identity=str(header.get("SOPInstanceUID", "")),
        shape=_shape(header, name),
        position=_numbers(header, "ImagePositionPatient", 3, name, localizer, (-_FURTHEST_MM, _FURTHEST_MM)),
        orientation=_orientation(header, name, localizer),
        pixel=_numbers(header, "PixelSpacing", 2, name, localizer, _PIXEL_MM),
        localizer=localizer,
    )


def _shape(header: Any, name: str) -> tuple[int, int]:
    shape = int(header.Rows), int(header.Columns)
    if not all(1 <= side <= _MOST_SIDE for side in shape):
        raise PictureError(f"{name}: is {shape[1]} x {shape[0]} pixels; expected 1 to {_MOST_SIDE} on each side")
    return shape


def _numbers(
    header: Any, key: str, count: int, name: str, optional: bool, limits: tuple[float, float]
) -> tuple[float, ...]:
    """The tag's numbers; where it is optional, zeros instead of what is not there."""
    found = tuple(float(number) for number in header.get(key) or ())
    if not found and optional:
        return (0.0,) * count
    if len(found) != count or not all(math.isfinite(number) for number in found):
        raise PictureError(f"{name}: has no usable {key}, so where its slice lies is unknown; export it with it")
    if not all(limits[0] <= number <= limits[1] for number in found):
        raise PictureError(f"{name}: {key} is {list(found)}, expected {limits[0]:g} to {limits[1]:g} mm")
    return found


def _orientation(header: Any, name: str, optional: bool) -> tuple[float, ...]:
    """Two unit vectors at a right angle, made exactly so: scanners round to a few decimals."""
    found = np.array(_numbers(header, "ImageOrientationPatient", 6, name, optional, (-1.01, 1.01)))
    across, down = found[:3], found[3:]
    lengths = np.linalg.norm(across), np.linalg.norm(down)
    if optional and not all(lengths):
        return tuple(found.tolist())
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(across @ down) > 0.01:
        raise PictureError(f"{name}: ImageOrientationPatient is {found.tolist()}, expected two unit vectors")
    across = across / lengths[0]
    down = down - (down @ across) * across
    return (*across.tolist(), *(down / np.linalg.norm(down)).tolist())
