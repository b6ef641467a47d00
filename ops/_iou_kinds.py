"""What the generalized, the distance and the complete IoU take off the IoU of two boxes, and the slopes of all four.

Sources: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019; Zheng et al., "Distance-IoU Loss", AAAI
2020 (DIoU, and CIoU with its weight alpha). All in float64, as squares of areas overflow float32.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ops._arith import higher_of, lower_of

IOU, GIOU, DIOU, CIOU = range(4)
_FOUR_OVER_PI_SQUARED = 4 / math.pi**2


@njit(nogil=True, cache=True, inline="always")
def _area(x1, y1, x2, y2):  # type: ignore[no-untyped-def]
    """An inverted box has none; NaN stays."""
    return higher_of(x2 - x1, 0.0) * higher_of(y2 - y1, 0.0)


@njit(nogil=True, cache=True)
def angle_of(x1, y1, x2, y2):  # type: ignore[no-untyped-def]
    """The aspect of a box (float32 corners): the arc tangent of its width by its height, 0 of a point."""
    width, height = np.float64(x2) - np.float64(x1), np.float64(y2) - np.float64(y1)
    # A side of -0 would turn the angle of a point by half a circle; adding 0 takes the sign away, and leaves NaN.
    return math.atan2(higher_of(width, 0.0) + 0.0, higher_of(height, 0.0) + 0.0)


@njit(nogil=True, cache=True, inline="always")
def _aspect_weight(difference, iou):  # type: ignore[no-untyped-def]
    """CIoU's alpha: how much the difference of two aspects counts beside what the IoU still lacks."""
    v = _FOUR_OVER_PI_SQUARED * difference * difference
    return v / (higher_of(1.0 - iou, 0.0) + v) if v != 0 else 0.0


@njit(nogil=True, cache=True)
def penalty_of(kind, iou, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2, angle_a, angle_b):  # type: ignore[no-untyped-def]
    """What a kind takes off the IoU of two boxes; the angles are read for CIoU only.

    Nothing where the smallest box around both has no extent.
    """
    if kind == IOU:
        return 0.0
    ax1, ay1, ax2, ay2 = np.float64(ax1), np.float64(ay1), np.float64(ax2), np.float64(ay2)
    bx1, by1, bx2, by2 = np.float64(bx1), np.float64(by1), np.float64(bx2), np.float64(by2)
    around_w = higher_of(ax2, bx2) - lower_of(ax1, bx1)
    around_h = higher_of(ay2, by2) - lower_of(ay1, by1)
    if kind == GIOU:
        if around_w <= 0 or around_h <= 0:
            return 0.0
        meet_w = higher_of(lower_of(ax2, bx2) - higher_of(ax1, bx1), 0.0)
        meet_h = higher_of(lower_of(ay2, by2) - higher_of(ay1, by1), 0.0)
        union = _area(ax1, ay1, ax2, ay2) + _area(bx1, by1, bx2, by2) - meet_w * meet_h
        return 1.0 - union / (around_w * around_h)
    apart_x, apart_y = ((ax1 + ax2) - (bx1 + bx2)) * 0.5, ((ay1 + ay2) - (by1 + by2)) * 0.5
    diagonal = around_w * around_w + around_h * around_h
    penalty = 0.0 if diagonal == 0 else (apart_x * apart_x + apart_y * apart_y) / diagonal
    if kind == CIOU:
        difference = angle_b - angle_a
        weight = _aspect_weight(difference, np.float64(iou))
        penalty += weight * (_FOUR_OVER_PI_SQUARED * difference * difference)
    return penalty


@njit(nogil=True, cache=True)
def _iou_slopes(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """The IoU, its slopes along the first box's edges, and those of the union (of the area where nothing is shared)."""
    a_w, a_h, b_w, b_h = ax2 - ax1, ay2 - ay1, bx2 - bx1, by2 - by1
    meet_w = lower_of(ax2, bx2) - higher_of(ax1, bx1)
    meet_h = lower_of(ay2, by2) - higher_of(ay1, by1)
    if meet_w <= 0 or meet_h <= 0:  # the IoU is constant 0 there
        union = higher_of(a_w, 0.0) * higher_of(a_h, 0.0) + higher_of(b_w, 0.0) * higher_of(b_h, 0.0)
        if a_w < 0 or a_h < 0:
            return 0.0, union, (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)
        return 0.0, union, (0.0, 0.0, 0.0, 0.0), (-a_h, -a_w, a_h, a_w)
    meet = meet_w * meet_h
    union = a_w * a_h + b_w * b_h - meet
    meet_1, meet_2 = -meet_h * (ax1 > bx1), -meet_w * (ay1 > by1)
    meet_3, meet_4 = meet_h * (ax2 < bx2), meet_w * (ay2 < by2)
    # iou = I / U with U = A + B - I:  d iou = ((U + I) dI - I dA) / U^2
    by_meet, by_area = (union + meet) / (union * union), meet / (union * union)
    slopes = (
        by_meet * meet_1 + by_area * a_h,
        by_meet * meet_2 + by_area * a_w,
        by_meet * meet_3 - by_area * a_h,
        by_meet * meet_4 - by_area * a_w,
    )
    return meet / union, union, slopes, (-a_h - meet_1, -a_w - meet_2, a_h - meet_3, a_w - meet_4)


@njit(nogil=True, cache=True)
def _distance_slopes(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """Slopes of the squared distance of the centres by the squared diagonal around both boxes."""
    around_w = higher_of(ax2, bx2) - lower_of(ax1, bx1)
    around_h = higher_of(ay2, by2) - lower_of(ay1, by1)
    diagonal = around_w * around_w + around_h * around_h
    if diagonal == 0:
        return 0.0, 0.0, 0.0, 0.0
    apart_x, apart_y = ((ax1 + ax2) - (bx1 + bx2)) * 0.5, ((ay1 + ay2) - (by1 + by2)) * 0.5
    by_diagonal = 2.0 * ((apart_x * apart_x + apart_y * apart_y) / diagonal)
    return (
        (apart_x + by_diagonal * around_w * (ax1 < bx1)) / diagonal,
        (apart_y + by_diagonal * around_h * (ay1 < by1)) / diagonal,
        (apart_x - by_diagonal * around_w * (ax2 > bx2)) / diagonal,
        (apart_y - by_diagonal * around_h * (ay2 > by2)) / diagonal,
    )


@njit(nogil=True, cache=True)
def slopes_of(kind, ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    """The slopes of a kind's value along the four edges of the first box (all corners float64).

    Of CIoU alpha is held constant, as its paper does.
    """
    iou, union, (s1, s2, s3, s4), (u1, u2, u3, u4) = _iou_slopes(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)
    if kind == GIOU:
        around_w = higher_of(ax2, bx2) - lower_of(ax1, bx1)
        around_h = higher_of(ay2, by2) - lower_of(ay1, by1)
        if around_w > 0 and around_h > 0:
            # giou = iou - 1 + U / C:  d (U / C) = dU / C - U / C * dC / C
            around = around_w * around_h
            part = union / around
            s1 += (u1 + part * around_h * (ax1 < bx1)) / around
            s2 += (u2 + part * around_w * (ay1 < by1)) / around
            s3 += (u3 - part * around_h * (ax2 > bx2)) / around
            s4 += (u4 - part * around_w * (ay2 > by2)) / around
    elif kind != IOU:
        d1, d2, d3, d4 = _distance_slopes(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2)
        s1, s2, s3, s4 = s1 - d1, s2 - d2, s3 - d3, s4 - d4
    width, height = ax2 - ax1, ay2 - ay1
    if kind == CIOU and width > 0 and height > 0:
        difference = angle_of(bx1, by1, bx2, by2) - angle_of(ax1, ay1, ax2, ay2)
        # d (alpha v) = -2 alpha 4/pi^2 difference d angle, and the angle's slopes are h and -w by w^2 + h^2
        push = 2.0 * _aspect_weight(difference, iou) * _FOUR_OVER_PI_SQUARED * difference
        push /= width * width + height * height
        s1, s2, s3, s4 = s1 - push * height, s2 + push * width, s3 + push * height, s4 - push * width
    return s1, s2, s3, s4
