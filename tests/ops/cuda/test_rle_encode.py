"""The twins of rle_encode and rle_encode_labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


def runs_and_table(rles: Any) -> int:
    """Bytes that come to the host: 9 for each run and one more of a mask, the count, and the table of labels."""
    return sum(9 * (len(rle["counts"]) + 1) for rle in rles) + 8 + 512


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(1, 1), (9, 14), (3, 8, 5), (2, 1, 7), (0, 4, 4), (2, 0, 3)])
def test_masks(twin: Any, shape: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(len(shape))
    masks = (rng.integers(0, 4, shape) > 1).astype(dtype)
    expected = ops.rle_encode(masks)
    twin.check(ops.rle_encode, masks, moves=runs_and_table(expected if isinstance(expected, list) else [expected]))


def test_extremes(twin: Any) -> None:
    masks = np.zeros((3, 6, 5), np.uint8)
    masks[1], masks[2, 0, 0], masks[2, 5, 4] = 7, 1, 255
    twin.check(ops.rle_encode, masks, moves=1000)


def test_labels(twin: Any) -> None:
    labels = np.random.default_rng(9).integers(0, 5, (11, 8), np.uint8).repeat(2, axis=0)
    twin.check(ops.rle_encode_labels, labels, [3, 0, 200], moves=9 * labels.size)
    twin.check(ops.rle_encode_labels, labels, [], moves=9 * labels.size)


def test_the_pixels_stay(twin: Any) -> None:
    mask = np.zeros((60, 40), np.uint8)
    mask[10:50, 5:30] = 1
    twin.check(ops.rle_encode, mask, moves=9 * 51 + 8 + 512)
