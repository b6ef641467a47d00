"""The twins of task_aligned_assign."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import ops

CENTRES = np.array([((x + 0.5) * s, (y + 0.5) * s) for s in (8, 16) for y in range(32 // s) for x in range(48 // s)])
A = len(CENTRES)


def scene(seed: int, counts: list[int]) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-5, 30, (sum(counts), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(6, 30, corner.shape)], 1).astype(np.float32)
    predicted = rng.uniform(0, 40, (len(counts), A, 4))
    if len(boxes):
        predicted = boxes[rng.integers(0, len(boxes), (len(counts), A))] + rng.normal(0, 3, predicted.shape)
    scores = rng.uniform(size=(len(counts), A, 2)).astype(np.float32)
    ids = rng.integers(0, 2, len(boxes))
    return scores, predicted.astype(np.float32), CENTRES.astype(np.float32), boxes, ids, counts


def check(twin: Any, *arguments: Any, **options: Any) -> Any:
    """Nothing passes to the device but where pictures begin; the lowest and the highest class come back."""
    moves = 8 * (len(arguments[-1]) + 1) + 16
    return twin.check(ops.task_aligned_assign, *arguments, moves=moves, within=1e-6, **options)


@pytest.mark.parametrize("counts", [[3], [2, 0, 3], [0, 0]])
def test_scenes(twin: Any, counts: list[int]) -> None:
    matched, _ = check(twin, *scene(len(counts), counts), top_k=4)
    assert (matched >= 0).any() == bool(sum(counts))


def test_in_parts_that_fit_into_memory(twin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["ops.task_aligned_assign"], "_MOST_PAIRS", 2 * A)
    check(twin, *scene(9, [3]), top_k=2)


def test_ties_and_nan(twin: Any) -> None:
    scores, predicted, centres, boxes, ids, counts = scene(3, [2])
    boxes[1], ids[1] = boxes[0], ids[0]  # both want the same cells
    predicted[0, ::2], scores[0, ::2] = boxes[0], 0.5
    scores[0, 7], predicted[0, 9, 1] = np.nan, np.nan
    check(twin, scores, predicted, centres, boxes, ids, counts, top_k=3)
