"""Mean and standard deviation of a picture's channels, from exact sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
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


@cuda_kernel("void(Array(uint8, 3, 'C', readonly=True), int64, int64, int64, int64, int64[::1])", fixed=True)
def _twin(image, top, left, height, width, sums):  # type: ignore[no-untyped-def]
    """Add to ``sums`` [6] the channels' values and squares: each thread its pixels, then each block, then all."""
    block = cuda.shared.array(6, np.int64)
    if cuda.threadIdx.x < 6:
        block[cuda.threadIdx.x] = 0
    cuda.syncthreads()
    total0 = total1 = total2 = square0 = square1 = square2 = np.int64(0)
    for pixel in range(cuda.grid(1), height * width, cuda.gridsize(1)):
        y, x = top + pixel // width, left + pixel % width
        red, green, blue = np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2])
        total0, total1, total2 = total0 + red, total1 + green, total2 + blue
        square0, square1, square2 = square0 + red * red, square1 + green * green, square2 + blue * blue
    for i, value in enumerate((total0, total1, total2, square0, square1, square2)):
        cuda.atomic.add(block, i, value)
    cuda.syncthreads()
    if cuda.threadIdx.x < 6:
        cuda.atomic.add(sums, cuda.threadIdx.x, block[cuda.threadIdx.x])


# Threads that fill a large card, each with many pixels of a large picture: adding up among them is what costs.
_MOST_THREADS = 2**17


def channel_statistics(
    image: Any, region: Sequence[int] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the standard deviation of each channel, in grey levels.

    Args:
        image: uint8 [H, W, 3].
        region: (top, left, height, width) in whole pixels, within the picture; the whole picture if not given.

    Returns:
        mean float64 [3] and std float64 [3], over all pixels of the region (dividing by their number). Sums are
        integers, so both are right to the last digits. Cost: one read of the region. Takes device arrays too; the
        answer lies on the host then as well.
    """
    memory = memory_of(image=image)
    picture = memory.array(image, "image", np.uint8, ("H", "W", 3))
    if 0 in picture.shape:
        raise ValueError(f"image: expected at least one pixel, got shape {picture.shape}")
    if region is not None and not all(isinstance(number, (int, np.integer)) for number in region):
        raise TypeError(f"region: expected whole numbers of pixels, got {tuple(region)}")
    top, left, high, wide = map(int, within(region, picture.shape[0], picture.shape[1]))
    count = high * wide
    if memory.on_device:
        sums = memory.full(6, np.int64, 0)
        memory.launch(_twin, min(count, _MOST_THREADS), picture, top, left, high, wide, sums)
        numbers = memory.numbers(sums)
    else:
        sums = np.zeros((2, 3), np.int64)
        _add_up(picture, top, left, high, wide, sums)
        numbers = sums.ravel().tolist()
    totals, squares = numbers[:3], numbers[3:]
    mean = np.array([total / count for total in totals])
    variance = [(count * q - s * s) / (count * count) for s, q in zip(totals, squares, strict=True)]  # Python integers
    return mean, np.array([math.sqrt(v) for v in variance])
