"""The IoU of two rotated boxes another way than the operator's: the hull of all points that lie in both."""

from __future__ import annotations

from typing import Any

import numpy as np


def corners(box: Any) -> np.ndarray:
    x, y, width, height, angle = (float(v) for v in box)
    right = np.array([np.cos(angle), np.sin(angle)]) * width / 2
    down = np.array([-np.sin(angle), np.cos(angle)]) * height / 2
    return np.array([x, y]) + np.array([-right - down, right - down, right + down, -right + down])


def _within(points: np.ndarray, box: Any, slack: float) -> np.ndarray:
    x, y, width, height, angle = (float(v) for v in box)
    apart = points - [x, y]
    across = apart @ [np.cos(angle), np.sin(angle)]
    along = apart @ [-np.sin(angle), np.cos(angle)]
    return (abs(across) <= width / 2 + slack) & (abs(along) <= height / 2 + slack)


def _crossings(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    found = []
    for p, q in zip(a, np.roll(a, -1, 0), strict=True):
        for r, s in zip(b, np.roll(b, -1, 0), strict=True):
            (ux, uy), (vx, vy), (wx, wy) = q - p, s - r, r - p
            determinant = ux * vy - uy * vx
            if abs(determinant) > 1e-12 * np.hypot(ux, uy) * np.hypot(vx, vy):
                t, w = (wx * vy - wy * vx) / determinant, (wx * uy - wy * ux) / determinant
                if 0 <= t <= 1 and 0 <= w <= 1:
                    found.append(p + t * (q - p))
    return found


def rotated_iou(a: Any, b: Any) -> float:
    """IoU of two boxes (centre x, y, width, height, angle in radians) in float64."""
    if min(a[2], a[3], b[2], b[3]) <= 0:
        return 0.0
    size = float(max(a[2], a[3], b[2], b[3]))
    corners_a, corners_b = corners(a), corners(b)
    points = [p for p in corners_a if _within(p, b, 1e-9 * size)] + [p for p in corners_b if _within(p, a, 1e-9 * size)]
    points += _crossings(corners_a, corners_b)
    if len(points) < 3:
        return 0.0
    hull = np.array(points)
    middle = hull.mean(0)
    hull = hull[np.argsort(np.arctan2(*(hull - middle).T[::-1]))] - middle
    onward = np.roll(hull, -1, 0)
    shared = abs((hull[:, 0] * onward[:, 1] - hull[:, 1] * onward[:, 0]).sum()) / 2
    return shared / (float(a[2]) * float(a[3]) + float(b[2]) * float(b[3]) - shared)
