"""The twins of roi_align."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

BOXES = np.array(
    [
        (0, 0, 28, 20), (3.3, 5.7, 20.1, 13.9), (-30, -20, 10, 12), (28, 3, 31, 9), (90, 9, 99, 12), (5, 5, 5, 9),
        (20, 15, 5, 4), (np.nan, 0, 9, 9), (0, 0, np.inf, 9), (-1e30, -1e30, 1e30, 1e30),
    ],
    np.float32,
)  # fmt: skip
PICTURES = np.arange(len(BOXES)) % 2


@pytest.mark.parametrize("options", [{}, {"aligned": False}, {"sampling_ratio": 2}])
def test_boxes(twin: Any, options: dict[str, Any]) -> None:
    features = np.random.default_rng(0).normal(size=(2, 2, 5, 7)).astype(np.float32)
    options = {"pictures": PICTURES, "scale": 0.25, "on_device": ("pictures",), **options}
    pooled = twin.check(ops.roi_align, features, BOXES, (2, 3), **options)
    upstream = np.nan_to_num(pooled, nan=1.0)
    twin.check(ops.roi_align_backward, upstream, BOXES, features.shape, **options)


@pytest.mark.parametrize("count", [0, 1])
def test_few_boxes_of_one_picture(twin: Any, count: int) -> None:
    features = np.random.default_rng(1).normal(size=(1, 1, 4, 4)).astype(np.float32)
    pooled = twin.check(ops.roi_align, features, BOXES[:count], (2, 2))
    twin.check(ops.roi_align_backward, pooled, BOXES[:count], features.shape)


def test_a_picture_that_there_is_not_gives_nan(twin: Any) -> None:
    features, pictures = np.ones((1, 1, 3, 3), np.float32), np.array([0, 1, -1])
    pooled = ops.roi_align(*map(twin.send, (features, BOXES[:3])), (1, 1), pictures=twin.send(pictures))
    np.testing.assert_array_equal(np.isnan(twin.fetch(pooled)).ravel(), [False, True, True])
