"""A CT volume on one sheet: slices from the feet up, two views from the side, the mask on them, and text above."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ops import resample_volume, window_hu
from toolkit.ct.volume import Volume
from toolkit.drawing_masks import draw_segmentation
from toolkit.drawing_text import RGB, color_of, font_for
from toolkit.drawing_tiles import fitted

Mask = NDArray[np.uint8]

_COLUMNS, _ROWS, _TILE = 4, 3, 256
_SIDE_VIEW = (384, _COLUMNS * _TILE // 2)
_TEXT, _LINE, _LETTERS = 20, 28, 100


def draw_volume(
    volume: Volume, mask: Mask, class_names: Sequence[str], window: tuple[float, float], lines: Sequence[str]
) -> RGB:
    """The sheet, RGB uint8: twelve slices of where ``mask`` [Z, Y, X] is not 0, a coronal and a sagittal view.

    ``window`` is its (center, width) in HU. Lengths are true in each view, and alike among the slices.
    """
    there = np.flatnonzero(mask.any((1, 2)))
    first, last = (int(there[0]), int(there[-1])) if there.size else (0, len(mask) - 1)
    places = np.linspace(first, last, _COLUMNS * _ROWS).round().astype(int).tolist()
    tiles = [_tile(volume.hu[z], mask[z], class_names, window, (_TILE, _TILE)) for z in places]
    rows = [np.hstack(tiles[at : at + _COLUMNS]) for at in range(0, len(tiles), _COLUMNS)]
    return np.vstack([_heading(lines, class_names, mask), *rows, _side_views(volume, mask, class_names, window)])


def _tile(
    hu: NDArray[np.int16], mask: Mask, names: Sequence[str], window: tuple[float, float], size: tuple[int, int]
) -> RGB:
    grey = window_hu(np.ascontiguousarray(hu), *window, dtype=np.uint8)
    picture = np.repeat(grey[:, :, None], 3, axis=2)
    return fitted(draw_segmentation(picture, mask, names, legend=False), size)[0]


def _side_views(volume: Volume, mask: Mask, names: Sequence[str], window: tuple[float, float]) -> RGB:
    """Through the middle of the lungs from the front and through the fuller lung from the right, the head above."""
    rows = mask.any((0, 2))
    middle = int(np.flatnonzero(rows).mean()) if rows.any() else mask.shape[1] // 2
    fuller = int(np.argmax(np.count_nonzero(mask, axis=(0, 1)))) if rows.any() else mask.shape[2] // 2
    depth, down, across = volume.spacing
    views = []
    for hu, part, side in (
        (volume.hu[:, middle], mask[:, middle], across),
        (volume.hu[:, :, fuller], mask[:, :, fuller], down),
    ):
        square, drawn = _squared(hu, part, (depth, side))
        views.append(_tile(square[::-1], np.ascontiguousarray(drawn[::-1]), names, window, _SIDE_VIEW))
    return np.hstack(views)


def _squared(hu: NDArray[np.int16], mask: Mask, spacing: tuple[float, float]) -> tuple[NDArray[np.int16], Mask]:
    """A side view with square pixels; of the classes, the one whose part of a pixel is half or more."""
    old, new = (1.0, *spacing), (1.0, spacing[1], spacing[1])
    square = resample_volume(np.ascontiguousarray(hu)[None], old, new)[0]
    drawn = np.zeros(square.shape, np.uint8)
    for class_id in np.unique(mask):
        part = resample_volume(np.where(mask == class_id, 255, 0).astype(np.uint8)[None], old, new)[0]
        drawn[part >= 128] = class_id
    return square, drawn


def _heading(lines: Sequence[str], class_names: Sequence[str], mask: Mask) -> RGB:
    lines = [part for line in lines for part in wrap(line, _LETTERS)]
    page = Image.new("RGB", (_COLUMNS * _TILE, _LINE * (len(lines) + 1) + 8), (0, 0, 0))
    pen = ImageDraw.Draw(page)
    for index, line in enumerate(lines):
        pen.text((8, 4 + index * _LINE), line, font=font_for(line, _TEXT)[1], fill=(255, 255, 255))
    left, top = 8, 4 + len(lines) * _LINE
    for class_id, name in enumerate(class_names):
        if class_id and (mask == class_id).any():
            font = font_for(name, _TEXT)[1]
            pen.rectangle((left, top + 4, left + 15, top + 19), fill=color_of(class_id))
            pen.text((left + 22, top), name, font=font, fill=(255, 255, 255))
            left += 48 + int(font.getlength(name))
    return np.asarray(page)
