"""Mask PNGs: checked, decoded without touching their numbers, and laid over each other to one class id a pixel.

A mask is read by its numbers, never as a picture: a palette's index counts and not its colour, and a PNG of 1, 2 or 4
bits is not stretched to 255.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from toolkit import images
from toolkit.data.assemble import assemble
from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import MaskSample, Table
from toolkit.errors import Fault, PictureError, PictureTooLarge

NOT_COUNTED = 255
MOST_LISTED = 10
_BIT_DEPTH = 24  # where its byte stands: after the signature, the chunk's length and name, width and height
_ORIENTATION = 0x0112
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)  # what Pillow raises on broken PNGs
_EXPECTED = "expected a PNG of 8-bit grey, palette or 1-bit pixels"


@dataclass(frozen=True)
class MaskFile:
    """A PNG whose pixels other than 0 are of class ``class_id``, or with None are the class ids themselves."""

    path: Path
    shown: str
    class_id: int | None


def read_mask(sample: MaskSample) -> NDArray[np.uint8]:
    """The class id of every pixel of the upright picture, uint8 [H,W]; 255 does not count.

    Raises ``PictureError`` where a file is not what it was when the table was checked.
    """
    layers = []
    for path, class_id in sample.masks:
        layer = read_png(path, str(path))
        if layer.shape != sample.size:
            raise PictureError(f"{path}: has another size than when the data was checked; train again from the start")
        layers.append((layer, class_id))
    mask = lay_over(layers, sample.size)
    if sample.renumbered is None:
        return mask
    ids = np.arange(NOT_COUNTED + 1, dtype=np.uint8)
    ids[: len(sample.renumbered)] = sample.renumbered
    return ids[mask]


def read_png(path: Path, name: str) -> NDArray[np.uint8]:
    """The numbers of a PNG of grey, palette or 1-bit pixels, uint8 [H,W]; else ``PictureError`` names ``name``."""
    data = images.read_bytes(path, name)
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise PictureError(f"{name}: is not a PNG (starts with {data[:8]!r}); {_EXPECTED}")
    height, width = images.read_size(data, name=name)
    if height * width > images.MAX_PIXELS:
        raise PictureTooLarge(f"{name}: {width}x{height} is over {images.MAX_PIXELS / 1e6:.4g} megapixels")
    image = PngImageFile(io.BytesIO(data))
    if image.mode not in ("1", "L", "P"):
        kinds = {"RGB": "colour", "RGBA": "colour with alpha", "LA": "grey with alpha"}
        kind = kinds.get(image.mode, "16-bit")
        raise PictureError(f"{name}: has {kind} pixels; {_EXPECTED}, whose numbers are classes")
    if b"eXIf" in data and _is_turned(image):
        raise PictureError(f"{name}: has an EXIF orientation; save the mask upright, as the picture is seen")
    return _numbers(image, data, name)


def _numbers(image: PngImageFile, data: bytes, name: str) -> NDArray[np.uint8]:
    """OpenCV refuses damaged data, which Pillow fills with zeros, but knows a palette by its colours alone."""
    bits = data[_BIT_DEPTH]
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        indices = np.asarray(image, np.uint8) if image.mode == "P" else None
    except (*_DAMAGED, cv2.error) as error:
        raise PictureError(f"{name}: the PNG is truncated or damaged ({error})") from None
    if grey is None:
        raise PictureError(f"{name}: the PNG is truncated or damaged")
    # Grey of few bits comes stretched to 0-255.
    numbers = grey // np.uint8(255 // (2**bits - 1)) if indices is None else indices
    return cast(NDArray[np.uint8], numbers)


def _is_turned(image: PngImageFile) -> bool:
    try:
        return bool(image.getexif().get(_ORIENTATION, 1) != 1)
    except _DAMAGED:  # as for pictures: an EXIF block that cannot be read says nothing
        return False


def lay_over(layers: Sequence[tuple[NDArray[np.uint8], int | None]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """One class id a pixel, uint8 [H,W] of ``size``; a later layer lies on top, and where none is, class 0."""
    mask = np.zeros(size, np.uint8)
    for layer, class_id in layers:
        if class_id is None:
            mask = layer.copy()
        else:
            mask[layer != 0] = class_id
    return mask


def mask_table(
    listing: Listing[tuple[MaskFile, ...]], class_names: Sequence[str], settings: Settings, log: FaultLog
) -> Table[MaskSample]:
    """Check every mask against its picture, count its pixels and build the table; class 0 need not be in train."""

    def measure(entry: Entry[tuple[MaskFile, ...]], size: tuple[int, int]) -> tuple[dict[str, Any] | None, list[Fault]]:
        layers = [_checked(file, size, len(class_names)) for file in entry.labels]
        faults = [layer for layer in layers if isinstance(layer, Fault)]
        if faults:
            return None, faults
        sound = [(cast(NDArray[np.uint8], layer), f.class_id) for layer, f in zip(layers, entry.labels, strict=True)]
        mask = lay_over(sound, size)
        return {
            "masks": tuple((file.path, file.class_id) for file in entry.labels),
            "pixels": np.bincount(mask.ravel(), minlength=NOT_COUNTED + 1)[: len(class_names)],
            "mask_digest": hashlib.sha256(mask.tobytes()).hexdigest(),
        }, []

    remedy = "add masks that show it, or take it out of data.classes; 255 in a mask of class ids is not counted"
    needed = dict.fromkeys(class_names[1:], remedy)
    return assemble(listing, class_names, MaskSample, measure, settings, log, needed=needed)


def _checked(file: MaskFile, size: tuple[int, int], classes: int) -> NDArray[np.uint8] | Fault:
    try:
        layer = read_png(file.path, str(file.path))
    except PictureError as error:
        return Fault(file.shown, str(error).removeprefix(f"{file.path}: "))
    height, width = layer.shape
    if layer.shape != size:
        told = f"is {width}x{height}, but its picture is {size[1]}x{size[0]}"
        turned = "it was drawn before the picture's EXIF orientation turned it; turn the mask too"
        return Fault(file.shown, f"{told}; {turned if layer.T.shape == size else 'it belongs to another picture'}")
    if file.class_id is None:
        present = np.flatnonzero(np.bincount(layer.ravel(), minlength=NOT_COUNTED + 1))
        unknown = [int(number) for number in present if classes <= number < NOT_COUNTED]
        if unknown:
            return Fault(file.shown, _unknown_ids(unknown, classes))
    return layer


def _unknown_ids(unknown: Sequence[int], classes: int) -> str:
    listed = ", ".join(map(str, unknown[:MOST_LISTED]))
    more = f" and {len(unknown) - MOST_LISTED} more" if len(unknown) > MOST_LISTED else ""
    noun = "id" if len(unknown) == 1 else "ids"
    return f"has the unknown class {noun} {listed}{more}; data.classes has 0 to {classes - 1} (255: not counted)"
