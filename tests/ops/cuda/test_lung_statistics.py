"""The twins of lung_statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@pytest.mark.parametrize("edges", [range(-1000, 1, 100), (-900.5, -100), (-32768, 0, 32767)])
@pytest.mark.parametrize(("shape", "labels"), [((2, 3, 7), 3), ((1, 1, 1), 1), ((0, 2, 3), 2)])
def test_volumes(twin: Any, shape: Any, labels: int, edges: Any) -> None:
    rng = np.random.default_rng(5)
    volume, marks = rng.integers(-1001, 3, shape).astype(np.int16), rng.integers(0, labels + 1, shape).astype(np.uint8)
    volume.flat[:2] = -32768, 32767
    edge_bytes = 8 * len(edges)
    twin.check(ops.lung_statistics, volume, marks, (1.5, 0.7, 0.7), labels + 1, edges, moves=edge_bytes + 8)


def test_more_cells_than_a_block_counts_for_itself(twin: Any) -> None:
    rng = np.random.default_rng(6)
    volume, marks = rng.integers(-9, 1100, (1, 4, 9)).astype(np.int16), rng.integers(0, 3, (1, 4, 9)).astype(np.uint8)
    twin.check(ops.lung_statistics, volume, marks, (1, 1, 1), 2, range(1100), moves=8 * 1100 + 8)


def test_refuses_a_label_above_the_last(twin: Any) -> None:
    volume, marks = np.zeros((2, 2, 2), np.int16), np.full((2, 2, 2), 9, np.uint8)
    with pytest.raises(ValueError, match=r"labels: expected labels 0\.\.8, got 9"):
        ops.lung_statistics(twin.send(volume), twin.send(marks), (1, 1, 1), 8, (0, 1))
