"""The twins of simota_assign."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import ops

SIZE, STRIDES = (32, 48), (8, 16)
CELLS = [(x, y, s) for s in STRIDES for y in range(SIZE[0] // s) for x in range(SIZE[1] // s)]


def scene(seed: int, counts: list[int], classes: int = 2) -> tuple[Any, Any, Any, list[int]]:
    """Heads whose boxes lie about where the true ones are, as after some training."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-5, 30, (sum(counts), 2))
    boxes = np.concatenate([corner, corner + rng.uniform(6, 30, corner.shape)], 1).astype(np.float32)
    raw = rng.normal(0, 1.5, (len(counts), len(CELLS), 5 + classes))
    for picture in raw:
        for a, (x, y, stride) in enumerate(CELLS):
            x1, y1, x2, y2 = boxes[rng.integers(len(boxes))] if len(boxes) else (0, 0, 9, 9)
            picture[a, :2] = np.array([x1 + x2, y1 + y2]) / 2 / stride - [x, y] + rng.normal(0, 0.3, 2)
            picture[a, 2:4] = np.log([(x2 - x1) / stride, (y2 - y1) / stride]) + rng.normal(0, 0.2, 2)
    return raw.astype(np.float32), boxes, rng.integers(0, classes, len(boxes)), counts


def check(twin: Any, raw: Any, boxes: Any, ids: Any, counts: list[int]) -> Any:
    """Nothing passes to the device but where pictures begin; the lowest and the highest class come back."""
    moves = 8 * (len(counts) + 1) + 16
    return twin.check(
        ops.simota_assign, raw, boxes, ids, counts, input_size=SIZE, strides=STRIDES, moves=moves, within=1e-6
    )


@pytest.mark.parametrize("counts", [[3], [2, 0, 3], [0, 0]])
def test_scenes(twin: Any, counts: list[int]) -> None:
    matched, _ = check(twin, *scene(len(counts), counts))
    assert (matched >= 0).any() == bool(sum(counts))


def test_in_parts_that_fit_into_memory(twin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["ops.simota_assign"], "_MOST_PAIRS", 2 * len(CELLS))
    check(twin, *scene(9, [3]))


def test_ties_and_nan(twin: Any) -> None:
    raw, boxes, ids, counts = scene(3, [2])
    boxes[1], ids[1] = boxes[0], ids[0]  # both want the same cells at the same cost
    raw[0, 4:9] = raw[0, 4]
    raw[0, 11, 5] = raw[0, 12, 0] = raw[0, 13, 2] = np.nan
    check(twin, raw, boxes, ids, counts)


def test_refuses_classes(twin: Any) -> None:
    raw, boxes, _, counts = scene(3, [2])
    for wrong, message in (([0, 2], "class_ids: expected 0..1, got 0..2"), ([-1, 1], "got -1..1")):
        with pytest.raises(ValueError, match=message):
            ops.simota_assign(
                twin.send(raw), twin.send(boxes), twin.send(np.array(wrong)), counts, input_size=SIZE, strides=STRIDES
            )
