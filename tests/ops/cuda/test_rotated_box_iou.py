"""The twin of rotated_box_iou."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_cases import turned_boxes

import ops


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 20), (0, 3), (3, 0)])
def test_sizes(twin: Any, n: int, m: int) -> None:
    twin.check(ops.rotated_box_iou, turned_boxes(n, 1), turned_boxes(m, 2), within=1e-6)


def test_odd_boxes(twin: Any) -> None:
    rows = [
        (0, 0, 2, 2, 0), (0, 0, 2, 2, 0), (2, 0, 2, 2, 0), (0, 0, 2, 2, 0.8), (0, 0, 0, 2, 1), (0, 0, -2, 2, 1),
        (1e30, 0, 1e30, 1e30, 1), (np.nan, 0, 2, 2, 0), (0, 0, np.inf, 2, 0), (0, 0, 2, 2, np.inf),
    ]  # fmt: skip
    odd = np.array(rows, np.float32)
    twin.check(ops.rotated_box_iou, odd, odd, within=1e-6)
