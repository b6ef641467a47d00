"""The twin of box_convert."""

from __future__ import annotations

from typing import Any

import pytest
from box_cases import boxes, odd_boxes

import ops

FORMATS = ("xyxy", "xywh", "cxcywh")


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_formats(twin: Any, source: str, target: str) -> None:
    for array in (boxes(3, 1), odd_boxes(), boxes(0, 1)):
        twin.check(ops.box_convert, array, source, target)


def test_more_boxes_than_threads_and_an_output(twin: Any) -> None:
    crowd = boxes(300, 2)
    twin.check(ops.box_convert, crowd, "xyxy", "cxcywh", out=crowd * 0, on_device=("out",))
