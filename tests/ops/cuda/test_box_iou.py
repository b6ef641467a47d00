"""The twin of box_iou."""

from __future__ import annotations

from typing import Any

import pytest
from box_cases import boxes, odd_boxes

import ops


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 130), (9, 2), (0, 3), (3, 0)])
def test_sizes(twin: Any, n: int, m: int) -> None:
    twin.check(ops.box_iou, boxes(n, 1), boxes(m, 2))


def test_odd_boxes(twin: Any) -> None:
    twin.check(ops.box_iou, odd_boxes(), odd_boxes())
