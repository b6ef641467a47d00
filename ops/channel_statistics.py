"""Mean and standard deviation of a picture's channels, from exact sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._check import host_array
from ops._kernel import kernel
from ops.resize_normalize import within

# A strip of whole pixels whose 32-bit sums stay in the first-level cache, and the rows whose squares they hold:
# 65536 * 255 * 255 is below 2 ** 32.
_STRIP, _ROWS = 1536, 65536


@kernel("void(Array(uint8, 3, 'C', readonly=True), int64, int64, int64, int64, int64[:,::1])")
def _add_up(image, top, left, height, width, sums):  # type: ignore[no-untyped-def]
    """Add to ``sums`` [2, 3] the channels' values and squares. Rows are added onto each other, which vectorises."""
    total, square = np.empty(_STRIP, np.uint32), np.empty(_STRIP, np.uint32)
    for begin in range(3 * left, 3 * (left + width), _STRIP):
        size = min(_STRIP, 3 * (left + width) - begin)
        for first in range(top, top + height, _ROWS):
            total[:] = 0
            square[:] = 0
            for y in range(first, min(first + _ROWS, top + height)):
                line = image[y].reshape(image.shape[1] * 3)[begin : begin + size]
                for i in range(size):
                    value = np.uint32(line[i])
                    total[i] += value
                    square[i] += np.uint32(value * value)
            for i in range(size):
                sums[0, i % 3] += total[i]
                sums[1, i % 3] += square[i]


def channel_statistics(
    image: Any, region: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each channel, in grey levels.

    Args:
        image: uint8 [H, W, 3].
        region: (top, left, height, width) in whole pixels, within the picture; the whole picture if not given.

    Returns:
        mean float64 [3] and std float64 [3], over all pixels of the region (dividing by their number). Sums are
        integers, so both are right to the last digits. Cost: one read of the region.
    """
    picture = host_array(image, "image", np.uint8, ("H", "W", 3))
    if 0 in picture.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {picture.shape}")
    if region is not None and not all(isinstance(number, (int, np.integer)) for number in region):
        raise TypeError(f"region: expected whole numbers of pixels, got {tuple(region)}")
    top, left, high, wide = map(int, within(region, picture.shape[0], picture.shape[1]))
    sums = np.zeros((2, 3), np.int64)
    _add_up(picture, top, left, high, wide, sums)
    count, (totals, squares) = high * wide, sums.tolist()
    mean = np.array([total / count for total in totals])
    variance = [(count * q - s * s) / (count * count) for s, q in zip(totals, squares, strict=True)]  # Python integers
    return mean, np.array([math.sqrt(v) for v in variance])
