"""A DICOM series to a volume: headers first, then slice by slice into one array, so that no more is ever held."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.ct.extra import need
from toolkit.ct.files import Files
from toolkit.ct.headers import DAMAGED, PIXELS, Slice, damaged, read, read_header
from toolkit.ct.stack import Stack, choose, stacked
from toolkit.ct.volume import LOWEST_HU, Volume, check_size, finished
from toolkit.errors import PictureError

Progress = Callable[[str, int, int], None]


def read_dicom(files: Files, progress: Progress) -> Volume:
    """The axial CT series among the files, see `toolkit.ct.stack.choose`, in HU: stored values times RescaleSlope plus
    RescaleIntercept.

    MONOCHROME1 says how values are shown, not what they are, so it changes nothing. Raises PictureError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote what stands in the file
        slices, notes = choose(_headers(files, progress), files.source)
        stack = stacked(slices, files.source)
        steps = round(float(stack.places[-1])) + 1
        check_size((max(steps, len(stack.slices)), *slices[0].shape), files.source)
        hu = _decoded(files, stack, progress)
    if not stack.is_even:
        hu = _on_even_steps(hu, stack.places, steps)
    return finished(hu, stack.affine, [*notes, *stack.notes], files.source)


def _headers(files: Files, progress: Progress) -> list[Slice]:
    slices: list[Slice] = []
    others: Counter[str] = Counter()
    seen: set[str] = set()
    for index in range(len(files)):
        progress("reading headers", index, len(files))
        found = read_header(files, index)
        if isinstance(found, str):
            others[found or "unknown"] += 1
        elif found is not None and (not found.identity or found.identity not in seen):  # the same file twice
            seen.add(found.identity)
            slices.append(found)
    if not slices:
        held = ", ".join(f"{count} of modality {name}" for name, count in sorted(others.items()))
        what = f"no CT slices are in it, but {held}" if others else "no DICOM images are in it"
        raise PictureError(f"{files.source}: {what}; give a CT series")
    return slices


def _decoded(files: Files, stack: Stack, progress: Progress) -> NDArray[np.int16]:
    """HU int16 [N, rows, columns] in the stack's order."""
    hu = np.empty((len(stack.slices), *stack.slices[0].shape), np.int16)
    for place, one in enumerate(stack.slices):
        progress("reading slices", place, len(stack.slices))
        name = files.name(one.file)
        with files.open(one.file) as file:
            header = read(file, (*PIXELS, "PixelData"), name, pixels=True)
        try:
            _into(hu[place], header, name)
        except DAMAGED as error:
            raise damaged(name, error) from None
    return hu


def _into(hu: NDArray[np.int16], header: Any, name: str) -> None:
    syntax = header.file_meta.TransferSyntaxUID
    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
        raise PictureError(f"{name}: is {header.PhotometricInterpretation}, expected grey levels (MONOCHROME)")
    if syntax.is_compressed:
        need("gdcm", f"{name}: decoding {syntax.name}")
    stored = need("pydicom.pixels", "reading DICOM").pixel_array(header)
    if stored.shape != hu.shape:
        raise PictureError(f"{name}: its pixels have shape {list(stored.shape)}, its header says {list(hu.shape)}")
    slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    values = stored * np.float32(slope) + np.float32(intercept)
    if "PixelPaddingValue" in header:
        values[stored == int(header.PixelPaddingValue)] = LOWEST_HU
    hu[:] = np.rint(np.nan_to_num(values)).clip(LOWEST_HU, np.iinfo(np.int16).max)


def _on_even_steps(hu: NDArray[np.int16], places: NDArray[np.float64], steps: int) -> NDArray[np.int16]:
    """Slices at 0, 1, 2 ... between the two that lie next to each, by their distances."""
    even = np.empty((steps, *hu.shape[1:]), np.int16)
    for step in range(steps):
        after = min(max(int(np.searchsorted(places, step)), 1), len(places) - 1)
        weight = float(np.clip((step - places[after - 1]) / (places[after] - places[after - 1]), 0, 1))
        even[step] = np.rint(hu[after - 1] * np.float32(1 - weight) + hu[after] * np.float32(weight))
    return even
