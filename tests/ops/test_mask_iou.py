"""mask_iou against NumPy in float64."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rle_reference import coco_rle, random_masks

import ops

module = importlib.import_module("ops.mask_iou")


def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            shared = np.count_nonzero((a[i] != 0) & (b[j] != 0))
            result[i, j] = shared / np.count_nonzero((a[i] != 0) | (b[j] != 0)) if shared else 0
    return result.astype(np.float32)


VALUES = st.sampled_from([0, 0, 1, 2, 255])
PAIRS = arrays.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=20).flatmap(
    lambda shape: st.tuples(arrays.arrays(np.uint8, shape, elements=VALUES), arrays.arrays(np.bool_, (3, *shape[1:])))
)


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_any_masks(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    result = ops.mask_iou(a, b)
    assert (result.dtype, result.shape) == (np.float32, (len(a), 3))
    np.testing.assert_array_equal(result, reference(a, b))
    np.testing.assert_array_equal(ops.mask_iou(b, a), result.T)


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (8, 8), (1, 65), (127, 1), (5, 2000)])
def test_pictures(shape: tuple[int, int]) -> None:
    a, b = random_masks(0, 12, shape), random_masks(1, 7, shape)
    result = ops.mask_iou(a, b)
    np.testing.assert_array_equal(result, reference(a, b))
    on_runs = ops.rle_iou([coco_rle(mask) for mask in a], [coco_rle(mask) for mask in b])
    np.testing.assert_array_equal(result, on_runs.astype(np.float32))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_no_masks(n: int, m: int) -> None:
    assert ops.mask_iou(np.ones((n, 4, 5), np.uint8), np.ones((m, 4, 5), np.bool_)).shape == (n, m)


def test_bits_of_every_pattern() -> None:
    """A mask of 64 pixels is one word: each single bit, and all up to it."""
    single = np.eye(64, dtype=np.uint8).reshape(64, 8, 8)
    upto = np.tri(64, dtype=np.uint8).reshape(64, 8, 8)
    np.testing.assert_array_equal(ops.mask_iou(single, upto), reference(single, upto))
    np.testing.assert_array_equal(ops.mask_iou(upto, upto), reference(upto, upto))


def test_reads_views_and_read_only_arrays() -> None:
    masks = random_masks(0, 6, (40, 50))
    view = np.asfortranarray(masks)[::2, ::-1, 3:]
    view.flags.writeable = False
    np.testing.assert_array_equal(ops.mask_iou(view, view), reference(view, view))


def test_serial_and_parallel_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = random_masks(0, 60, (150, 160))
    runs: list[str] = []
    for name in ("_serial", "_parallel"):
        compiled = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, name=name, run=compiled: (runs.append(name), run(*given)))
    monkeypatch.setattr(module, "lone_caller", lambda: False)
    serial = ops.mask_iou(masks, masks)
    monkeypatch.setattr(module, "lone_caller", lambda: True)
    np.testing.assert_array_equal(ops.mask_iou(masks, masks), serial)
    np.testing.assert_array_equal(ops.mask_iou(masks[:2], masks), serial[:2])
    assert runs == ["_serial", "_parallel", "_serial"]  # the last one is too small for a team


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4), np.uint8), TypeError, "a: expected a uint8 array of shape [N, H, W]"),
        (np.zeros((3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8), ValueError, "got uint8 array of shape (3, 4)"),
        (
            np.zeros((2, 3, 4), np.bool_),
            np.zeros((3, 4), np.bool_),
            ValueError,
            "b: expected a bool array of shape [M,",
        ),
        (
            np.zeros((2, 3, 4), np.uint8),
            np.zeros((2, 4, 3), np.uint8),
            ValueError,
            "expected masks of one size, got a of",
        ),
    ],
)
def test_refuses(a: Any, b: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.mask_iou(a, b)
    assert message in str(caught.value)
