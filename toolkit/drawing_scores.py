"""A classification on a picture: the likeliest classes as bars, and where the network looked as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from toolkit.drawing_text import NO_CLASS, RGB, Panel, Row

SHOWN = 3
_BAND = 64  # rows at a time: what a picture needs in between stays in the cache


def draw_classification(
    image: RGB,
    probabilities: NDArray[np.float32],
    class_names: Sequence[str],
    heat_map: NDArray[np.float32] | None = None,
    said: str = "",
) -> RGB:
    """Draw the three likeliest of C classes into a copy of ``image`` (RGB uint8 [H, W, 3]), at the upper left corner.

    ``heat_map`` [h, w] from 0 to 1, which covers the whole picture at any resolution, is blended in under them;
    ``said`` stands in a line over them. On small pictures fewer classes are shown; a label whose characters no font
    here has is written as its class number.
    """
    drawn = image.copy() if heat_map is None else blend_heat(image, heat_map)
    best = np.argsort(-probabilities, kind="stable")[:SHOWN].tolist()
    values = probabilities.tolist()
    rows = [Row(class_id, class_names[class_id], f"{values[class_id]:.2f}", values[class_id]) for class_id in best]
    size, top = (image.shape[1], image.shape[0]), 0
    if said:
        line = Panel(size, [Row(NO_CLASS, said, "")])
        line.draw(drawn, 0, 0)
        top = line.height
    panel = Panel(size, rows)
    if top + panel.height <= size[1]:  # on a picture of a line's height there is room for what is said alone
        panel.draw(drawn, 0, top)
    return drawn


def blend_heat(image: RGB, heat_map: NDArray[np.float32]) -> RGB:
    """Return ``image`` half covered with the colours of ``heat_map`` [h, w] (0..1): dark where cold, light where hot.

    The cover is even, so that the order of lightness survives on any ground.
    """
    height, width = image.shape[:2]
    columns = (heat_map.astype(np.float32) @ _spread(heat_map.shape[1], width).T) * 255
    rows, colors = _spread(heat_map.shape[0], height), heat_colors().astype(np.uint16)
    blended = np.empty_like(image)
    for top in range(0, height, _BAND):
        band = slice(top, top + _BAND)
        heat = np.rint(rows[band] @ columns).astype(np.uint8)
        blended[band] = (image[band] + colors[heat] + 1) >> 1
    return blended


def _spread(cells: int, pixels: int) -> NDArray[np.float32]:
    """Weights [pixels, cells] that blend the values of cells between the cells' centres: paint, not preprocessing."""
    centres = np.clip((np.arange(pixels, dtype=np.float32) + 0.5) * (cells / pixels) - 0.5, 0, cells - 1)
    weights: NDArray[np.float32] = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(cells, dtype=np.float32)))
    return weights


@cache
def heat_colors() -> NDArray[np.uint8]:
    """256 RGB colours from dark violet over red to light yellow, in even steps of lightness.

    A path through Oklab (B. Ottosson, "A perceptual color space for image processing", 2020), so equal differences of
    heat look equally large, also to colour-blind readers and in print.
    """
    t = np.linspace(0, 1, 256)
    lightness, hue = 0.25 + 0.7 * t, np.deg2rad(-70 + 175 * t)
    chroma = 0.12 + 0.085 * np.sin(np.pi * t) ** 2  # what the sRGB gamut holds on this path
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    return oklab_to_rgb(lab)


def oklab_to_rgb(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Oklab [N, 3] (lightness 0..1, green to red, blue to yellow) to sRGB uint8 [N, 3], clipped to its gamut."""
    to_cones = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
                         [1, -0.0894841775, -1.2914855480]])  # fmt: skip
    to_linear = np.array([[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
                          [-0.0041960863, -0.7034186147, 1.7076147010]])  # fmt: skip
    linear = np.clip((lab @ to_cones.T) ** 3 @ to_linear.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    colors: NDArray[np.uint8] = np.rint(255 * encoded).astype(np.uint8)
    return colors
