"""How much two rotated boxes share: one of them, seen from the other, is cut at that one's four sides.

All in float64 and from the other's centre, so that places far from the origin cost no digits and equal boxes share
exactly what they have.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ops._arith import higher_of, lower_of

# Numbers of a shape: centre x and y, half of width and of height, cosine, sine, half of the diagonal.
SHAPE = 7
# A cut of a polygon of n points has at most 3/2 n points, also where rounding bent it: 4, 6, 9, 13, 19.
CORNERS = 20


@njit(nogil=True, cache=True)
def _turn(angle):  # type: ignore[no-untyped-def]
    return math.cos(angle), math.sin(angle)


@njit(nogil=True, cache=True)
def set_shape(box, shape):  # type: ignore[no-untyped-def]
    """Write the shape of a box (centre x, y, width, height, angle)."""
    width, height = np.float64(box[2]) * 0.5, np.float64(box[3]) * 0.5
    shape[4], shape[5] = _turn(np.float64(box[4]))
    shape[0], shape[1], shape[2], shape[3] = box[0], box[1], width, height
    shape[6] = math.sqrt(width * width + height * height)


@njit(nogil=True, cache=True)
def _cut(count, sign, limit, u, v, to_u, to_v):  # type: ignore[no-untyped-def]
    """Keep the part of a polygon where ``sign * u <= limit``. Returns how many points that has."""
    kept = 0
    for k in range(count):
        other = k + 1 if k + 1 < count else 0
        here, there = sign * u[k] - limit, sign * u[other] - limit
        if here <= 0:
            to_u[kept], to_v[kept] = u[k], v[k]
            kept += 1
        if (here < 0 and there > 0) or (here > 0 and there < 0):
            to_u[kept], to_v[kept] = sign * limit, v[k] + here / (here - there) * (v[other] - v[k])
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def shared_area(a, b, points):  # type: ignore[no-untyped-def]
    """The area that two shapes share; ``points`` is float64 [4, CORNERS] to work in. 0 for an empty or inverted one."""
    apart_x, apart_y, reach = b[0] - a[0], b[1] - a[1], a[6] + b[6]
    if a[2] <= 0 or a[3] <= 0 or b[2] <= 0 or b[3] <= 0 or apart_x * apart_x + apart_y * apart_y >= reach * reach:
        return 0.0
    x, y = apart_x * a[4] + apart_y * a[5], apart_y * a[4] - apart_x * a[5]
    cosine, sine = a[4] * b[4] + a[5] * b[5], b[5] * a[4] - b[4] * a[5]
    right_x, right_y, down_x, down_y = b[2] * cosine, b[2] * sine, -b[3] * sine, b[3] * cosine
    if abs(x) >= a[2] + abs(right_x) + abs(down_x) or abs(y) >= a[3] + abs(right_y) + abs(down_y):
        return 0.0
    px, py, qx, qy = points[0], points[1], points[2], points[3]
    px[0], py[0] = x - right_x - down_x, y - right_y - down_y
    px[1], py[1] = x + right_x - down_x, y + right_y - down_y
    px[2], py[2] = x + right_x + down_x, y + right_y + down_y
    px[3], py[3] = x - right_x + down_x, y - right_y + down_y
    count = _cut(4, 1.0, a[2], px, py, qx, qy)
    count = _cut(count, -1.0, a[2], qx, qy, px, py)
    count = _cut(count, 1.0, a[3], py, px, qy, qx)
    count = _cut(count, -1.0, a[3], qy, qx, py, px)
    twice = 0.0
    for k in range(2, count):
        twice += (px[k - 1] - px[0]) * (py[k] - py[0]) - (px[k] - px[0]) * (py[k - 1] - py[0])
    smaller = lower_of(a[2] * a[3], b[2] * b[3]) * 4.0  # rounding must not make the shared part the larger one
    return lower_of(higher_of(twice * 0.5, 0.0), smaller)


@njit(nogil=True, cache=True, inline="always")
def both_areas(a, b):  # type: ignore[no-untyped-def]
    """The sum of the areas of two shapes that are not empty."""
    return 4.0 * (a[2] * a[3] + b[2] * b[3])
