"""The twins of nms and batched_nms."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from box_cases import boxes, odd_boxes

import ops


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("count", [0, 1, 2, 70])
def test_one_class(twin: Any, count: int, threshold: float) -> None:
    scores = np.random.default_rng(count).integers(0, 5, count).astype(np.float32)  # many ties
    twin.check(ops.nms, boxes(count, 5, 30), scores, threshold, moves=8)


@pytest.mark.parametrize("classes", [1, 3, 40])
def test_many_classes(twin: Any, classes: int) -> None:
    rng = np.random.default_rng(classes)
    ids = rng.integers(-classes, classes, 60) * 10**12
    twin.check(ops.batched_nms, boxes(60, 6, 30), rng.uniform(size=60).astype(np.float32), ids, 0.3, moves=16)


def test_odd_boxes_and_scores(twin: Any) -> None:
    odd = odd_boxes()
    scores = np.linspace(1, 0, len(odd)).astype(np.float32)
    scores[3], scores[7] = np.nan, np.inf
    for order in (slice(None), slice(None, None, -1)):
        twin.check(ops.nms, odd[order].copy(), scores, 0.4, moves=8)


@pytest.mark.parametrize("words", [14, 60])
def test_in_parts_that_fit_into_memory(twin: Any, monkeypatch: pytest.MonkeyPatch, words: int) -> None:
    monkeypatch.setattr(sys.modules["ops.nms"], "_MOST_WORDS", words)
    rng = np.random.default_rng(words)
    crowd, scores = boxes(80, 7, 25), rng.uniform(size=80).astype(np.float32)
    twin.check(ops.nms, crowd, scores, 0.3, moves=8)
    twin.check(ops.batched_nms, crowd, scores, rng.integers(0, 3, 80), 0.3, moves=16)


def test_refuses(twin: Any) -> None:
    there = twin.send(boxes(3, 1))
    with pytest.raises(ValueError, match="expected equal lengths, got boxes 3, scores 2"):
        ops.nms(there, twin.send(np.zeros(2, np.float32)), 0.5)
