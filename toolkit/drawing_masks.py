"""A segmentation on a picture: tinted regions, their outlines and a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.drawing_text import RGB, Panel, Row, color_of, percent, tint_of

_FILL = 102  # of 256: the part of the class's colour; the picture keeps the rest
_BAND = 64
_LINE = 500  # of the picture's shorter side: the outline is 1 pixel up to 750, 8 at 4000


def draw_segmentation(
    image: RGB,
    mask: NDArray[np.uint8],
    class_names: Sequence[str],
    *,
    background: int | None = 0,
    legend: bool = True,
) -> RGB:
    """Draw class ids ``mask`` [H, W] into a copy of ``image`` (RGB uint8 [H, W, 3]).

    Each class is filled in its translucent colour and outlined; where two classes meet, the higher id lies on top and
    keeps the line. The ``legend``, names and percent of the picture, takes the corner where it hides the least; where
    not all classes fit, it lists the largest. Pixels of ``background`` (None: there is none), and ids without a name,
    such as 255 for "not labelled", stay as they are.
    """
    rank = _ranks(mask, min(len(class_names), 255), background)
    drawn = _filled(image, rank)
    _outline(drawn, rank, max(1, round(min(mask.shape) / _LINE)))
    if legend:
        _legend(drawn, rank, class_names)
    return drawn


def _ranks(mask: NDArray[np.uint8], classes: int, background: int | None) -> NDArray[np.uint8]:
    """Which class lies on top: class id + 1, and 0 where nothing is drawn."""
    table = np.zeros(256, np.uint8)
    table[:classes] = np.arange(1, classes + 1)
    if background is not None:
        table[background] = 0
    return table[mask]


def _filled(image: RGB, rank: NDArray[np.uint8]) -> RGB:
    """Blend by a table in 1/256, a few rows at a time: what a picture needs in between stays in the cache."""
    colors = np.array([(0, 0, 0), *(color_of(class_id) for class_id in range(255))], np.uint16)
    added, kept = colors * _FILL + 128, np.full((256, 1), 256 - _FILL, np.uint16)  # 128: to the nearest level
    added[0], kept[0] = 0, 256
    filled = np.empty_like(image)
    for top in range(0, len(image), _BAND):
        rows = slice(top, top + _BAND)
        filled[rows] = (image[rows] * kept[rank[rows]] + added[rank[rows]]) >> 8
    return filled


def _outline(image: RGB, rank: NDArray[np.uint8], width: int) -> None:
    """A light line inside each region, a black one outside: one of them stands out on any ground."""
    line = (rank > 0) & (_window(rank, width, np.minimum) < rank)
    casing = ~line & (_window(rank, max(1, width // 2), np.maximum) > rank)
    tints = np.array([(0, 0, 0), *(tint_of(class_id) for class_id in range(255))], np.uint8)
    image[line] = tints[rank[line]]
    image[casing] = 0


def _window(values: NDArray[np.uint8], radius: int, extreme: np.ufunc) -> NDArray[np.uint8]:
    """The smallest or largest value in the square of ``radius`` around each pixel, inside the picture."""
    for axis in (0, 1):
        found = values.copy()
        for shift in range(1, min(radius, values.shape[axis] - 1) + 1):
            low, high = [slice(None)] * 2, [slice(None)] * 2
            low[axis], high[axis] = slice(None, -shift), slice(shift, None)
            extreme(found[tuple(low)], values[tuple(high)], out=found[tuple(low)])
            extreme(found[tuple(high)], values[tuple(low)], out=found[tuple(high)])
        values = found
    return values


def _legend(image: RGB, rank: NDArray[np.uint8], class_names: Sequence[str]) -> None:
    counts = np.bincount(rank.ravel(), minlength=256)[1:]
    present = [c for c in np.argsort(-counts, kind="stable").tolist() if counts[c]]
    if not present:
        return
    height, width = rank.shape
    panel = Panel((width, height), [Row(c, class_names[c], percent(counts[c] / rank.size)) for c in present])
    corners = [(top, left) for top in (0, height - panel.height) for left in (0, width - panel.width)]
    hidden = [np.count_nonzero(rank[t : t + panel.height, x : x + panel.width]) for t, x in corners]
    top, left = corners[int(np.argmin(hidden))]
    panel.draw(image, left, top)
