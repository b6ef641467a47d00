"""largest_component against scipy.ndimage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage
from volume_cases import CONNECTIVITIES, MASKS, ODD_MASKS, drawn, noise, structure

import ops


def largest(mask: np.ndarray, connectivity: int) -> np.ndarray:
    """The definition; ``argmax`` takes the first of equal ones."""
    labels, _ = ndimage.label(mask, structure(mask.ndim, connectivity))
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    kept: np.ndarray = labels == 1 + np.argmax(sizes)
    return kept.astype(np.uint8)


def check(mask: np.ndarray) -> None:
    for connectivity in CONNECTIVITIES[mask.ndim]:
        kept = ops.largest_component(mask, connectivity)
        assert kept.dtype == np.uint8
        np.testing.assert_array_equal(kept, largest(mask, connectivity))


@pytest.mark.parametrize("name", ODD_MASKS)
def test_odd_masks(name: str) -> None:
    check(ODD_MASKS[name])


def test_noise_of_many_sizes() -> None:
    for mask in drawn():
        check(mask)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MASKS)
def test_any_mask(mask: np.ndarray) -> None:
    check(mask)


def test_of_equal_ones_the_first_is_kept() -> None:
    kept = ops.largest_component(np.array([[0, 1, 0, 1, 1, 0, 1, 1]], np.uint8), 4)
    assert kept.tolist() == [[0, 0, 0, 1, 1, 0, 0, 0]]


def test_a_mask_above_the_size_for_threads() -> None:
    mask = noise((21, 230, 231), 0.3)
    np.testing.assert_array_equal(ops.largest_component(mask, 26), largest(mask, 26))
    np.testing.assert_array_equal(ops.largest_component(mask[:, ::2], 6), largest(mask[:, ::2], 6))


@pytest.mark.parametrize(
    ("mask", "connectivity", "error", "message"),
    [
        (np.zeros((2, 3)), 4, TypeError, "mask: expected a uint8 array of shape [H, W], got float64 array"),
        (np.zeros((2, 3), np.bool_), 26, ValueError, "connectivity: expected 4 or 8 for 2 dimensions, got 26"),
        (np.zeros(4, np.bool_), 4, ValueError, "mask: expected shape [H, W] or [D, H, W], got bool array of"),
    ],
)  # fmt: skip
def test_refuses(mask: Any, connectivity: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.largest_component(mask, connectivity)
    assert message in str(caught.value)
