"""The twins of mask_iou."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@pytest.mark.parametrize(("n", "m", "size"), [(1, 1, (1, 1)), (3, 2, (9, 15)), (2, 5, (8, 8)), (0, 2, (3, 3))])
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_masks(twin: Any, n: int, m: int, size: tuple[int, int], dtype: Any) -> None:
    rng = np.random.default_rng(7)
    a, b = ((rng.integers(0, 3, (k, *size)) > 1).astype(dtype) for k in (n, m))
    twin.check(ops.mask_iou, a, b)


def test_empty_masks(twin: Any) -> None:
    masks = np.zeros((2, 4, 5), np.uint8)
    masks[1, 2, 3] = 255
    twin.check(ops.mask_iou, masks, masks)
    with pytest.raises(ValueError, match="expected masks of one size"):
        ops.mask_iou(twin.send(masks), twin.send(masks[:, :3].copy()))
