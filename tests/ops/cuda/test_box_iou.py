"""The twins of box_iou and of its kinds with a penalty."""

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


@pytest.mark.parametrize("function", [ops.generalized_box_iou, ops.distance_box_iou, ops.complete_box_iou])
@pytest.mark.parametrize(
    ("a", "b"), [(boxes(3, 1), boxes(7, 2)), (odd_boxes(), odd_boxes()), (boxes(3, 1), boxes(0, 2))]
)
def test_kinds(twin: Any, a: Any, b: Any, function: Any) -> None:
    twin.check(function, a, b, within=1e-6 if function is ops.complete_box_iou else 0)
