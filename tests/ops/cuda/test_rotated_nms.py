"""The twins of rotated_nms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_cases import turned_boxes

import ops


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_one_class(twin: Any, count: int, threshold: float) -> None:
    scores = np.random.default_rng(count).integers(0, 5, count).astype(np.float32)  # many ties
    twin.check(ops.rotated_nms, turned_boxes(count, 5), scores, threshold, moves=8)


def test_many_classes(twin: Any) -> None:
    rng = np.random.default_rng(0)
    ids, scores = rng.integers(-2, 2, 70) * 10**12, rng.uniform(size=70).astype(np.float32)
    crowd = turned_boxes(70, 6)
    crowd[3, 0], crowd[5, 4], crowd[7, 2] = np.nan, np.inf, 0
    twin.check(ops.rotated_nms, crowd, scores, 0.2, class_ids=ids, on_device=("class_ids",), moves=16)
