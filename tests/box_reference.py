"""Boxes the plain way, in exact fractions or float64: what the operators are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any


def exact_iou(a: Sequence[Any], b: Sequence[Any]) -> Fraction:
    """IoU of two xyxy boxes of finite numbers, without rounding."""
    ax1, ay1, ax2, ay2 = (Fraction(float(v)) for v in a)
    bx1, by1, bx2, by2 = (Fraction(float(v)) for v in b)
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    if width <= 0 or height <= 0:
        return Fraction(0)
    meet = width * height
    return meet / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - meet)


def penalised_iou(kind: str, a: Sequence[Any], b: Sequence[Any]) -> float:
    """GIoU, DIoU or CIoU of two xyxy boxes of finite numbers as their papers define them; the IoU for ``iou``."""
    iou = exact_iou(a, b)
    ax1, ay1, ax2, ay2 = (Fraction(float(v)) for v in a)
    bx1, by1, bx2, by2 = (Fraction(float(v)) for v in b)
    around_w, around_h = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    if kind == "giou":
        if around_w <= 0 or around_h <= 0:
            return float(iou)
        area = [max(w, 0) * max(h, 0) for w, h in ((ax2 - ax1, ay2 - ay1), (bx2 - bx1, by2 - by1))]
        meet = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
        around = around_w * around_h
        return float(iou - (around - (sum(area) - meet)) / around)
    if kind == "iou":
        return float(iou)
    diagonal = around_w**2 + around_h**2
    apart = ((ax1 + ax2 - bx1 - bx2) / 2) ** 2 + ((ay1 + ay2 - by1 - by2) / 2) ** 2
    diou = float(iou - (apart / diagonal if diagonal else 0))
    if kind == "diou":
        return diou
    aspects = [
        math.atan2(max(w, 0), max(h, 0)) for w, h in ((float(ax2 - ax1), float(ay2 - ay1)), (bx2 - bx1, by2 - by1))
    ]
    v = 4 / math.pi**2 * (aspects[1] - aspects[0]) ** 2
    return diou - (v * v / (1 - float(iou) + v) if v else 0)


def greedy_nms(boxes: Any, scores: Any, class_ids: Any, threshold: str | float) -> list[int]:
    """Indices kept by the definition: best first, lower index first, dropped when above the threshold to a kept one."""
    limit = Fraction(threshold)
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        rivals = (k for k in kept if class_ids[k] == class_ids[i])
        if all(exact_iou(boxes[k], boxes[i]) <= limit for k in rivals):
            kept.append(i)
    return kept
