"""Bilinear resizing in whole numbers, to the last bit as OpenCV's ``INTER_LINEAR`` does it on uint8.

The scheme: weights are whole 2048ths, rounded half to even, of positions held in float32. Columns are blended first
and keep all their bits but four; each of the two rows is then weighed and cut to quarters of a grey level, and their
sum is rounded. Along x a position beside the picture becomes its border's pixel; along y the border's row is taken for
both neighbours, which the cuts make a different thing.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def _to_even(value):  # type: ignore[no-untyped-def]
    """The whole number nearest to one that is not negative, the even one of two."""
    whole = np.int64(value)
    rest = value - np.float32(whole)
    if rest > np.float32(0.5) or (rest == np.float32(0.5) and whole & 1):
        whole += 1
    return whole


@njit(nogil=True, cache=True)
def exact_source(position, size, new_size, across):  # type: ignore[no-untyped-def]
    """The two neighbours of an output pixel's centre and their weights; ``across`` along x."""
    scale = 1.0 / (new_size / size)
    centre = np.float32((position + 0.5) * scale - 0.5)
    first = np.int64(math.floor(centre))
    weight = np.float32(centre - np.float32(first))
    if across and (first < 0 or first >= size - 1):
        first, weight = max(np.int64(0), min(first, np.int64(size - 1))), np.float32(0.0)
    near = _to_even((np.float32(1.0) - weight) * np.float32(2048.0))
    far = _to_even(weight * np.float32(2048.0))
    return max(first, 0), max(0, min(first + 1, size - 1)), near, far


@njit(nogil=True, cache=True, inline="always")
def exact_blend(p, q, r, s, near_x, far_x, near_y, far_y):  # type: ignore[no-untyped-def]
    """The grey level between ``p`` and ``q`` in the upper row, ``r`` and ``s`` in the lower one."""
    upper, lower = (p * near_x + q * far_x) >> 4, (r * near_x + s * far_x) >> 4
    return (((near_y * upper) >> 16) + ((far_y * lower) >> 16) + 2) >> 2


@njit(nogil=True, cache=True)
def exact_columns(width, new_width):  # type: ignore[no-untyped-def]
    """For each output column the bytes of its two neighbours in a row, and their weights."""
    found = np.empty((4, new_width), np.int64)
    for x in range(new_width):
        i, j, near, far = exact_source(x, width, new_width, True)
        found[0, x], found[1, x], found[2, x], found[3, x] = 3 * i, 3 * j, near, far
    return found


@njit(nogil=True, cache=True)
def exact_row(image, out, y, new_height, top, left, columns, order, gain, shift):  # type: ignore[no-untyped-def]
    """Write one resized row, normalised."""
    height, width = image.shape[0], image.shape[1]
    a, b, near_y, far_y = exact_source(y, height, new_height, False)
    upper, lower = image[a].reshape(width * 3), image[b].reshape(width * 3)
    first, second, near, far = columns[0], columns[1], columns[2], columns[3]
    for k in range(3):
        c = np.uint64(order[k])
        row = out[k, top + y, left : left + columns.shape[1]]
        for x in range(columns.shape[1]):
            i, j = np.uint64(first[x]) + c, np.uint64(second[x]) + c
            p, q, r, s = np.int64(upper[i]), np.int64(upper[j]), np.int64(lower[i]), np.int64(lower[j])
            grey = exact_blend(p, q, r, s, near[x], far[x], near_y, far_y)
            row[x] = np.float32(grey) * gain[k] + shift[k]
