"""The twin of clip_boxes."""

from __future__ import annotations

from typing import Any

import pytest
from box_cases import boxes, odd_boxes

import ops


@pytest.mark.parametrize("array", [boxes(0, 1), boxes(1, 1), boxes(80, 2), odd_boxes()])
def test_boxes(twin: Any, array: Any) -> None:
    twin.check(ops.clip_boxes, array, (30, 20))
    twin.check(ops.clip_boxes, array, (30, 20), out=array * 0, on_device=("out",))
