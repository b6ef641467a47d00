"""fill_holes against scipy.ndimage.binary_fill_holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage
from volume_cases import CONNECTIVITIES, MASKS, ODD_MASKS, drawn, noise, structure

import ops


def check(mask: np.ndarray) -> None:
    for connectivity in (None, *CONNECTIVITIES[mask.ndim]):
        filled = ops.fill_holes(mask, connectivity)
        wanted = ndimage.binary_fill_holes(mask, structure(mask.ndim, connectivity or CONNECTIVITIES[mask.ndim][0]))
        assert filled.dtype == np.uint8
        np.testing.assert_array_equal(filled, wanted)


@pytest.mark.parametrize("name", ODD_MASKS)
def test_odd_masks(name: str) -> None:
    check(ODD_MASKS[name])
    check(1 - (ODD_MASKS[name] > 0).astype(np.uint8))


def test_noise_of_many_sizes() -> None:
    for mask in drawn():
        check(mask)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MASKS)
def test_any_mask(mask: np.ndarray) -> None:
    check(mask)


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    squares = sum((axis - (size - 1) / 2) ** 2 for axis, size in zip(np.indices(shape), shape, strict=True))
    inside: np.ndarray = squares < radius**2
    return inside


def test_a_shell_is_filled_and_a_pipe_is_not() -> None:
    shape = 21, 23, 25
    shell = ball(shape, 9) & ~ball(shape, 7)
    np.testing.assert_array_equal(ops.fill_holes(shell), ball(shape, 9))
    pipe = shell.copy()
    pipe[:, 11, 12] = False  # drilled through: the inside is outside now
    np.testing.assert_array_equal(ops.fill_holes(pipe), pipe)
    np.testing.assert_array_equal(ops.fill_holes(pipe[5]), ball(shape, 9)[5])  # a slice of it is a ring


def test_a_gap_at_a_corner_opens_a_hole_for_a_background_of_8_only() -> None:
    ring = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1]], np.uint8)
    assert ops.fill_holes(ring)[1].tolist() == [1, 1, 1, 1]
    assert ops.fill_holes(ring, 8)[1].tolist() == [1, 0, 0, 1]


def test_a_mask_above_the_size_for_threads() -> None:
    mask = noise((21, 230, 231), 0.75)
    np.testing.assert_array_equal(ops.fill_holes(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize(
    ("mask", "connectivity", "error", "message"),
    [
        (np.zeros((2, 3), np.int8), None, TypeError, "mask: expected a uint8 array of shape [H, W], got int8 array"),
        (np.zeros((2, 3, 4), np.uint8), 8, ValueError, "connectivity: expected 6 or 26 for 3 dimensions, got 8"),
        (np.uint8(1), None, ValueError, "mask: expected shape [H, W] or [D, H, W], got uint8 np.uint8(1)"),
    ],
)  # fmt: skip
def test_refuses(mask: Any, connectivity: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.fill_holes(mask, connectivity)
    assert message in str(caught.value)
