"""Pictures made small to be looked at: for sheets and reports, never for a network."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ops import letterbox
from toolkit.drawing_text import RGB


def fitted(image: RGB, size: tuple[int, int]) -> tuple[RGB, tuple[float, float, int, int]]:
    """The picture in the middle of a white tile of ``size`` (height, width), and (scale_x, scale_y, left, top) from its
    pixels to the tile's.
    """
    height, width = image.shape[:2]
    # Means of whole blocks first, or fine patterns would flicker.
    factor = max(1, max(height, width) // (2 * max(size)))
    small = np.asarray(Image.fromarray(image).reduce(factor)) if factor > 1 else image
    blended, placement = letterbox(small, size, fill=255, center=True)
    tile = np.rint(blended.transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
    scale_x = placement.scale_x * small.shape[1] / width
    scale_y = placement.scale_y * small.shape[0] / height
    return np.ascontiguousarray(tile), (scale_x, scale_y, int(placement.left), int(placement.top))


def shrunk(image: RGB, longest: int) -> RGB:
    """The picture with its longer side at most ``longest`` pixels; a smaller one as it is."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    return fitted(image, (max(1, round(height * scale)), max(1, round(width * scale))))[0]
