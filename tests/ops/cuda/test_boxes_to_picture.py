"""The twin of boxes_to_picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from box_cases import boxes, odd_boxes

import ops
from ops import Placement


def test_boxes(twin: Any) -> None:
    for rows in (boxes(9, 1), odd_boxes(), np.empty((0, 4), np.float32)):
        twin.check(ops.boxes_to_picture, rows, Placement(0.3, 0.7, 5, -2.5), (40, 50))
