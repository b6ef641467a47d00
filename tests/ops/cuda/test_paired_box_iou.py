"""The twins of paired_box_iou and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_cases import boxes, odd_boxes

import ops

PAIRS = [(boxes(1, 1), boxes(1, 2)), (boxes(150, 3), boxes(150, 4)), (odd_boxes(), odd_boxes()[::-1].copy())]
PAIRS.append((boxes(0, 1), boxes(0, 1)))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_forward(twin: Any, a: Any, b: Any) -> None:
    twin.check(ops.paired_box_iou, a, b)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_backward(twin: Any, a: Any, b: Any) -> None:
    upstream = np.random.default_rng(0).normal(size=len(a)).astype(np.float32)
    twin.check(ops.paired_box_iou_backward, a, b, upstream)
