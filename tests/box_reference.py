"""Boxes the plain way, in exact fractions or float64: what the operators are compared with."""

from __future__ import annotations

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


def greedy_nms(boxes: Any, scores: Any, class_ids: Any, threshold: str | float) -> list[int]:
    """Indices kept by the definition: best first, lower index first, dropped when above the threshold to a kept one."""
    limit = Fraction(threshold)
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i)):
        rivals = (k for k in kept if class_ids[k] == class_ids[i])
        if all(exact_iou(boxes[k], boxes[i]) <= limit for k in rivals):
            kept.append(i)
    return kept
