"""The twin of masks_from_rois."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

BOXES = [(1, 1, 6, 5), (-3, -2, 4, 20), (0.3, 0.7, 0.9, 6.6), (5, 5, 5, 9), (np.nan, 0, 3, 3), (-9, -9, 99, np.inf)]


@pytest.mark.parametrize("shape", [(4, 4), (1, 3)])
def test_rois(twin: Any, shape: tuple[int, int]) -> None:
    rois = np.random.default_rng(6).random((len(BOXES), *shape), np.float32)
    rois[1, 0, 0] = np.nan
    for threshold in (0.5, 0.25):
        twin.check(ops.masks_from_rois, rois, np.array(BOXES, np.float32), (6, 7), threshold=threshold)
    twin.check(ops.masks_from_rois, rois[:0], np.zeros((0, 4), np.float32), (6, 7))
