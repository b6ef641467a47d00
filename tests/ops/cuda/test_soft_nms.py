"""The twins of soft_nms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from box_cases import boxes, odd_boxes

import ops

METHODS = pytest.mark.parametrize("method", ["linear", "gaussian"])


@METHODS
@pytest.mark.parametrize("count", [0, 1, 2, 70])
def test_one_class(twin: Any, count: int, method: Any) -> None:
    scores = np.random.default_rng(count).integers(0, 5, count).astype(np.float32) / 4  # many ties
    options = {"method": method, "score_threshold": 0.3}
    twin.check(ops.soft_nms, boxes(count, 5, 30), scores, moves=8, within=1e-6, **options)


@METHODS
def test_many_classes(twin: Any, method: Any) -> None:
    rng = np.random.default_rng(1)
    options = {"class_ids": rng.integers(-2, 3, 40) * 10**12, "method": method, "score_threshold": 0.2}
    scores = rng.uniform(size=40).astype(np.float32)
    twin.check(ops.soft_nms, boxes(40, 6, 30), scores, moves=16, within=1e-6, on_device=("class_ids",), **options)


@METHODS
def test_odd_boxes_and_scores(twin: Any, method: Any) -> None:
    odd = odd_boxes()
    scores = np.linspace(1, 0, len(odd)).astype(np.float32)
    scores[3], scores[7], scores[8] = np.nan, np.inf, -1
    twin.check(ops.soft_nms, odd, scores, method=method, moves=8, within=1e-6)
