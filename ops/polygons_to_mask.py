"""A mask drawn from polygons, pixel for pixel as pycocotools draws COCO's segmentations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import describe, height_and_width, output_array
from ops._kernel import kernel

_compiled = njit(nogil=True, cache=True)

# Corners are brought to a grid that is so many times finer than the pixels; the third of five grid columns, 5 x + 2,
# is the one under a pixel's centre.
_FINER, _MIDDLE = 5, 2


@_compiled
def _first_pixel_below(v, height):  # type: ignore[no-untyped-def]
    """The first row whose centre is not above the grid's row ``v``, at most ``height``."""
    return math.ceil(min(max((v + 0.5) / _FINER - 0.5, 0.0), float(height)))


@_compiled
def _passed(x, slope, steps, middle):  # type: ignore[no-untyped-def]
    """Whether a side's rounded column is past a centre after so many steps."""
    u = int(x + slope * steps + 0.5)
    return u > middle if slope > 0 else u <= middle


@_compiled
def _steps_to(x, slope, column, most):  # type: ignore[no-untyped-def]
    """After how many steps along a steep side its rounded column has passed from one side of a centre to the other."""
    middle = _FINER * column + _MIDDLE
    steps = min(max(int((middle + 0.5 - x) / slope), 1), most)
    while steps > 1 and _passed(x, slope, steps - 1, middle):
        steps -= 1
    while steps < most and not _passed(x, slope, steps, middle):
        steps += 1
    return steps


@_compiled
def _cross(x0, y0, x1, y1, flips, box):  # type: ignore[no-untyped-def]
    """Mark where a side crosses the middle of a column: from there down, inside and outside change places.

    ``flips`` [H + 1, W]; ``box`` (left, top, right, bottom) is widened.
    """
    height, width = flips.shape[0] - 1, flips.shape[1]
    across, down = abs(x1 - x0), abs(y1 - y0)
    steep = down > across
    if (y0 > y1) if steep else (x0 > x1):  # a side is the same in both directions
        x0, y0, x1, y1 = x1, y1, x0, y0
    low, high = min(x0, x1), max(x0, x1)
    first = max((low - _MIDDLE + _FINER - 1) // _FINER, 0)
    last = min((high - _MIDDLE - 1) // _FINER, width - 1)
    for column in range(first, last + 1):
        if steep:
            v = y0 + _steps_to(x0, (x1 - x0) / down, column, down) - 1
        else:
            slope, t = (y1 - y0) / across, _FINER * column + _MIDDLE - x0
            v = min(int(y0 + slope * t + 0.5), int(y0 + slope * (t + 1) + 0.5))
        row = _first_pixel_below(v, height)
        flips[row, column] ^= 1
        box[0], box[1] = min(box[0], column), min(box[1], row)
        box[2], box[3] = max(box[2], column + 1), max(box[3], row)


@kernel("void(Array(float64, 2, 'C', readonly=True), Array(int64, 1, 'C', readonly=True), uint8[:,::1])")
def _draw(points, ends, out):  # type: ignore[no-untyped-def]
    height, width = out.shape
    flips, inside = np.zeros((height + 1, width), np.uint8), np.empty(width, np.uint8)
    out[:] = 0
    begin = 0
    for end in ends:
        box = np.array([width, height, 0, 0])
        x, y = int(_FINER * points[end - 1, 0] + 0.5), int(_FINER * points[end - 1, 1] + 0.5)
        for k in range(begin, end):
            next_x, next_y = int(_FINER * points[k, 0] + 0.5), int(_FINER * points[k, 1] + 0.5)
            _cross(x, y, next_x, next_y, flips, box)
            x, y = next_x, next_y
        begin = end
        left, top, right, bottom = box
        inside[left:right] = 0
        for row in range(top, bottom):
            for column in range(left, right):
                inside[column] ^= flips[row, column]
                out[row, column] |= inside[column]
                flips[row, column] = 0
        for column in range(left, right):
            flips[bottom, column] = 0


# Where the grid's numbers still fit 32 bits, as pycocotools has them.
_FARTHEST = 1e8


def _corners(polygon: Any, i: int) -> NDArray[np.float64]:
    array = np.asarray(polygon)
    if array.ndim == 1 and array.size % 2 == 0:
        array = array.reshape(-1, 2)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < 3 or array.dtype.kind not in "iuf":
        raise ValueError(
            f"polygons[{i}]: expected numbers of shape [K, 2] (x, y), or x and y in turn, K at least 3,"
            f" got {describe(array)}"
        )
    corners = array.astype(np.float64)
    if not (np.abs(corners) <= _FARTHEST).all():
        raise ValueError(f"polygons[{i}]: expected coordinates from {-_FARTHEST:g} to {_FARTHEST:g}, got others")
    return corners


def polygons_to_mask(
    polygons: Sequence[Any], size: tuple[int, int], *, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Draw the mask of one object from its polygons, as COCO's ``segmentation`` lists them.

    Args:
        polygons: each [K, 2] corners (x, y), or a list x, y, x, y, ...; K at least 3, whole numbers or floats, from
            -1e8 to 1e8. Pixel (0, 0) reaches from 0 to 1. They may lie outside the picture.
        size: (height, width).
        out: uint8 [height, width] to write into.

    Returns:
        uint8 [height, width]: 1 where any of the polygons is, 0 elsewhere. A pixel belongs to a polygon whose inside
        its centre lies in, by the even-odd rule where sides cross, and after corners, and the sides between them, were
        rounded to a grid of a fifth of a pixel: pycocotools' rule (``frPyObjects`` and ``merge``), pixel for pixel.

    Cost: one step for each column that a side crosses, and two for each pixel of the polygons' boxes. No CUDA twin:
    polygons are lists on the host, and short ones.
    """
    height, width = height_and_width(size, "size", least=0)
    corners = [_corners(polygon, i) for i, polygon in enumerate(polygons)]
    mask: NDArray[np.uint8] = output_array(out, np.uint8, (height, width))
    ends = np.cumsum([len(each) for each in corners], dtype=np.int64)
    _draw(np.concatenate([np.empty((0, 2)), *corners]), ends, mask)
    return mask
