"""boundary_distance against SciPy's exact Euclidean distance transform."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from volume_cases import ODD_MASKS, SIDES, SIZES, noise

import ops

MODULE = sys.modules["ops.boundary_distance"]


def surface(mask: np.ndarray) -> np.ndarray:
    inside: np.ndarray = mask != 0
    return inside & ~ndimage.binary_erosion(inside)


def reference(a: np.ndarray, b: np.ndarray, spacing: Any) -> np.ndarray:
    """From the surface of a to that of b."""
    to, here = surface(b), surface(a)
    if not to.any():
        return np.full(np.count_nonzero(here), np.inf)
    distance: np.ndarray = ndimage.distance_transform_edt(~to, sampling=spacing)[here]
    return distance


def check(a: np.ndarray, b: np.ndarray, spacing: Any) -> ops.BoundaryDistances:
    found = ops.boundary_distance(a, b, spacing)
    for distances, wanted in zip(found, (reference(a, b, spacing), reference(b, a, spacing)), strict=True):
        assert distances.dtype == np.float64
        np.testing.assert_allclose(distances, wanted, rtol=1e-12, atol=0)
    return found


SPACINGS = [(1, 1, 1), (2.5, 0.7, 0.7), (0.3, 4, 1.1)]


@pytest.mark.parametrize("name", ODD_MASKS)
def test_odd_masks(name: str) -> None:
    mask = ODD_MASKS[name]
    for spacing in SPACINGS:
        check(mask, mask[::-1, ::-1], spacing[-mask.ndim :])
        check(mask, np.zeros_like(mask), spacing[-mask.ndim :])


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", SIZES)
def test_few_voxels_and_few_holes(shape: tuple[int, ...], spacing: Any) -> None:
    for density in (0.003, 0.1, 0.9):
        a, b = noise(shape, density, 1), noise(shape, density, 2)
        check(a, b, spacing[-len(shape) :])
        check(ndimage.binary_dilation(a, iterations=2), b, spacing[-len(shape) :])


MASKS = SIDES.flatmap(
    lambda shape: st.tuples(*[arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 255]))] * 2)
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(MASKS, st.tuples(*[st.floats(0.1, 10)] * 3))
def test_any_masks(pair: tuple[np.ndarray, np.ndarray], spacing: Any) -> None:
    check(*pair, spacing[-pair[0].ndim :])


def test_far_apart_and_at_the_ends() -> None:
    a, b = np.zeros((2, 50, 60, 70), np.uint8)
    a[0, 0, 0], b[49, 59, 69] = 1, 1
    found = check(a, b, (1, 2, 3))
    np.testing.assert_allclose(found.a_to_b, [np.sqrt(49**2 + 118**2 + 207**2)])
    b[20:30, 5:9, 60:] = a[3:40, 50:, :30] = 1
    check(a, b, (1, 2, 3))


def test_identical_masks_and_empty_ones() -> None:
    mask = ODD_MASKS["all foreground"]
    found = ops.boundary_distance(mask, mask, (1, 1, 1))
    assert found.a_to_b.size == mask.size - 3 * 5 * 7  # all but the inside
    assert not found.a_to_b.any()
    nothing = np.zeros_like(mask)
    assert np.isinf(ops.boundary_distance(mask, nothing, (1, 1, 1)).a_to_b).all()
    assert [a.size for a in ops.boundary_distance(nothing, nothing, (1, 1, 1))] == [0, 0]


def test_a_picture_is_no_volume_of_one_slice() -> None:
    mask = np.ones((5, 5), np.uint8)
    assert ops.boundary_distance(mask, mask, (1, 1)).a_to_b.size == 16
    assert ops.boundary_distance(mask[None], mask[None], (1, 1, 1)).a_to_b.size == 25


def test_surface_dice_and_hd95() -> None:
    """Two squares, one pushed 3 mm to the right: only the sides that look that way are further than 1 mm apart."""
    a, b = np.zeros((2, 40, 60), np.uint8)
    a[10:30, 10:30] = b[10:30, 16:36] = 1  # 0.5 mm a pixel
    to_b, to_a = ops.boundary_distance(a, b, (0.5, 0.5))
    assert max(np.percentile(to_b, 95), np.percentile(to_a, 95)) == 3
    # Of the upper and the lower side, all but the 4 pixels that are furthest out; of the inner one, 2 at each end.
    assert ((to_b <= 1).sum(), (to_a <= 1).sum()) == (2 * 16 + 2 * 2, 2 * 16 + 2 * 2)
    assert ops.boundary_distance(a[::-1], b[:, ::-1], [0.5, 0.5]).a_to_b.max() <= 12


def test_reads_views_and_read_only_arrays() -> None:
    mask = np.asfortranarray(noise((9, 20, 31), 0.4))
    view = mask[::2, ::-1, 3:]
    view.flags.writeable = False
    check(view, mask[1::2, :, :-3][[0, 1, 2, 3, 0]], (1, 2, 1))


@pytest.mark.parametrize("lanes", [2, 3, 100])
def test_any_number_of_threads(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = noise((9, 20, 31), 0.9, 1), noise((9, 20, 31), 0.1, 2)
    wanted = ops.boundary_distance(a, b, (1, 2, 1))
    monkeypatch.setattr(MODULE, "lanes_for", lambda *_: lanes)
    for found, expected in zip(ops.boundary_distance(a, b, (1, 2, 1)), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_eight_threads_at_once() -> None:
    masks = [noise((7, 21, 33), density / 10, density) for density in range(1, 9)] * 4
    wanted = [ops.boundary_distance(mask, masks[0], (1, 1, 2)) for mask in masks]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda mask: ops.boundary_distance(mask, masks[0], (1, 1, 2)), masks))
    for answer, expected in zip(answers, wanted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(answer, expected, strict=True))


M = np.zeros((2, 3), np.uint8)
REFUSED: list[tuple[Any, Any, Any, type[Exception], str]] = [
    (M.astype(float), M, (1, 1), TypeError, "a: expected a uint8 array of shape [H, W], got float64 array of"),
    (M, M.astype(int), (1, 1), TypeError, "b: expected a uint8 array of shape [2, 3], got int64 array of shape (2, 3)"),
    (M, M.T, (1, 1), ValueError, "b: expected a uint8 array of shape [2, 3], got uint8 array of shape (3, 2)"),
    (M[0], M[0], (1,), ValueError, "a: expected shape [H, W] or [D, H, W], each side below 65535, got uint8 array of"),
    (np.zeros((1, 65535), np.uint8), M, (1, 1), ValueError, "each side below 65535, got uint8 array of shape (1, 6"),
    (M, M, (1, 1, 1), ValueError, "spacing: expected (y, x) in mm, finite and above 0, got (1, 1, 1)"),
    (M[None], M[None], (1, -1, 1), ValueError, "spacing: expected (z, y, x) in mm, finite and above 0, got (1, -1, 1)"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "spacing", "error", "message"), REFUSED)
def test_refuses(a: Any, b: Any, spacing: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.boundary_distance(a, b, spacing)
    assert message in str(caught.value)
