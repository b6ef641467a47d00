"""The twins of paired_box_iou and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_cases import boxes, odd_boxes

import ops

PAIRS = [(boxes(1, 1), boxes(1, 2)), (boxes(150, 3), boxes(150, 4)), (odd_boxes(), odd_boxes()[::-1].copy())]
PAIRS.append((boxes(0, 1), boxes(0, 1)))


# Of CIoU the arc tangent differs in its last digits.
KINDS = pytest.mark.parametrize(("kind", "within"), [("iou", 0), ("giou", 0), ("diou", 0), ("ciou", 1e-6)])


@KINDS
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_forward(twin: Any, a: Any, b: Any, kind: str, within: float) -> None:
    twin.check(ops.paired_box_iou, a, b, kind=kind, within=within)


@KINDS
@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_backward(twin: Any, a: Any, b: Any, kind: str, within: float) -> None:
    upstream = np.random.default_rng(0).normal(size=len(a)).astype(np.float32)
    keep = np.abs(np.nan_to_num(b)).max(1, initial=0) < 1e20  # where the slopes are 1e30 so are their last digits
    twin.check(ops.paired_box_iou_backward, a[keep], b[keep], upstream[keep], kind=kind, within=within)
