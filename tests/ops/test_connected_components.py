"""connected_components against scipy.ndimage: labels, sizes, boxes and centroids."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from scipy import ndimage
from volume_cases import CONNECTIVITIES, MASKS, ODD_MASKS, checkerboard, drawn, noise, structure

import ops

inner = importlib.import_module("ops._components")


def check(mask: np.ndarray, connectivity: int, found: ops.Components | None = None) -> ops.Components:
    """Hold every field, and the labels alone, to SciPy's answer: it too labels in the order of the first voxels."""
    found = ops.connected_components(mask, connectivity) if found is None else found
    labels, count = ndimage.label(mask, structure(mask.ndim, connectivity))
    np.testing.assert_array_equal(found.labels, labels)
    alone, number = ops.label_components(mask, connectivity)
    np.testing.assert_array_equal(alone, labels)
    assert (alone.dtype, number) == (np.int32, count)
    slices = ndimage.find_objects(labels) if count else []
    boxes = [[part.start for part in box[::-1]] + [part.stop for part in box[::-1]] for box in slices]
    np.testing.assert_array_equal(found.boxes, np.array(boxes).reshape(count, 2 * mask.ndim))
    numbers = np.arange(1, count + 1)
    np.testing.assert_array_equal(found.sizes, np.bincount(labels.ravel(), minlength=1)[1:])
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, numbers) if count else [])
    np.testing.assert_allclose(found.centroids, centres.reshape(count, mask.ndim)[:, ::-1], rtol=1e-12)
    kinds = found.labels.dtype, found.sizes.dtype, found.boxes.dtype, found.centroids.dtype
    assert kinds == (np.int32, np.int64, np.int32, np.float64)
    return found


@pytest.mark.parametrize("name", ODD_MASKS)
def test_odd_masks(name: str) -> None:
    for connectivity in CONNECTIVITIES[ODD_MASKS[name].ndim]:
        check(ODD_MASKS[name], connectivity)


def test_noise_of_many_sizes() -> None:
    for mask in drawn():
        for connectivity in CONNECTIVITIES[mask.ndim]:
            check(mask, connectivity)


@pytest.mark.parametrize("width", [63, 64, 65, 127, 128, 129, 200])
def test_rows_of_whole_words_and_more(width: int) -> None:
    """64 voxels are looked at at once: what touches across the end of a word, at odd heights and depths too."""
    for density in (0.02, 0.2, 0.5, 0.9):
        for shape in ((5, 6, width), (4, 7, width), (9, width)):
            mask = noise(shape, density, width)
            for connectivity in CONNECTIVITIES[mask.ndim]:
                check(mask, connectivity)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MASKS)
def test_any_mask(mask: np.ndarray) -> None:
    for connectivity in CONNECTIVITIES[mask.ndim]:
        check(mask, connectivity)


# What is joined at which connectivity: the other voxel beside the one at the middle of 3 x 3 x 3.
TOUCHING = [((1, 1, 2), 6), ((1, 2, 1), 6), ((0, 1, 1), 6), ((1, 0, 2), 26), ((0, 1, 0), 26), ((2, 0, 1), 26)]
TOUCHING += [((z, y, x), 26) for z in (0, 2) for y in (0, 2) for x in (0, 2)]


@pytest.mark.parametrize(("other", "least"), TOUCHING)
def test_who_touches_whom(other: tuple[int, int, int], least: int) -> None:
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[1, 1, 1] = mask[other] = 1
    assert [len(ops.connected_components(mask, c).sizes) for c in (6, 26)] == [1 if least == 6 else 2, 1]


def test_the_checkerboard_is_every_voxel_alone_or_one() -> None:
    board = checkerboard((7, 9))
    assert len(ops.connected_components(board, 4).sizes) == board.sum()
    assert len(ops.connected_components(board, 8).sizes) == 1


def test_reads_views_lists_and_read_only_arrays() -> None:
    mask = np.asfortranarray(noise((9, 20, 31), 0.4))
    view = mask[::2, ::-1, 3:]
    view.flags.writeable = False
    check(view, 26)
    found = ops.connected_components([[True, False], [False, True]], 4)
    assert found.labels.tolist() == [[1, 0], [0, 2]]
    check(np.pad(mask, 3)[:, :, 1:-2].astype(np.uint8) * 7, 6)


def test_writes_into_out() -> None:
    mask = noise((5, 6, 7), 0.5)
    out = np.full(mask.shape, -1, np.int32)
    found = ops.connected_components(mask, 26, out=out)
    assert found.labels is out
    check(mask, 26, found)
    assert ops.label_components(mask, 6, out=out)[0] is out
    np.testing.assert_array_equal(out, ops.connected_components(mask, 6).labels)


LARGE = noise((11, 40, 67), 0.45)
LARGE[3:5] = False


@pytest.mark.parametrize("connectivity", [6, 26])
@pytest.mark.parametrize("slabs", [1, 2, 3, 7, 64, 500])
def test_any_number_of_slabs(slabs: int, connectivity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slabs thinner than a slice, and more slabs than rows, too; as many threads as there are run them."""
    monkeypatch.setattr(inner, "lanes_for", lambda rows, least: slabs)
    check(LARGE, connectivity)
    check(np.ascontiguousarray(LARGE[:, 0]), 4 if connectivity == 6 else 8)


def test_eight_threads_at_once() -> None:
    masks = [noise((9, 30, 41), density / 10, density) for density in range(1, 9)]
    wanted = [ops.connected_components(mask, 26) for mask in masks]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda mask: ops.connected_components(mask, 26), masks * 4))
    for answer, expected in zip(answers, wanted * 4, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(answer, expected, strict=True))


@pytest.mark.parametrize(
    ("mask", "connectivity", "error", "message"),
    [
        (np.zeros((2, 3)), 4, TypeError, "mask: expected a uint8 array of shape [H, W], got float64 array"),
        (np.zeros((2, 3, 4), np.int64), 6, TypeError, "mask: expected a uint8 array of shape [D, H, W], got int64"),
        (np.zeros(3, np.uint8), 4, ValueError, "mask: expected shape [H, W] or [D, H, W], got uint8 array of"),
        (np.zeros((2, 3, 4, 5), np.uint8), 6, ValueError, "mask: expected shape [H, W] or [D, H, W], got uint8 array"),
        (np.zeros((2, 3), np.uint8), 6, ValueError, "connectivity: expected 4 or 8 for 2 dimensions, got 6"),
        (np.zeros((2, 3, 4), np.uint8), 18, ValueError, "connectivity: expected 6 or 26 for 3 dimensions, got 18"),
        (
            np.broadcast_to(np.zeros(1, np.uint8), (2**16, 2**15)),
            4,
            ValueError,
            "mask: expected fewer than 2**31 voxels, got shape (65536, 32768)",
        ),
    ],
)  # fmt: skip
def test_refuses(mask: Any, connectivity: int, error: type[Exception], message: str) -> None:
    for label in (ops.connected_components, ops.label_components):
        with pytest.raises(error) as caught:
            label(mask, connectivity)
        assert message in str(caught.value)


@pytest.mark.parametrize(
    "out", [np.zeros((2, 3), np.int64), np.zeros((3, 2), np.int32), np.zeros((2, 6), np.int32)[:, ::2]]
)
def test_refuses_an_output_that_does_not_fit(out: Any) -> None:
    for label in (ops.connected_components, ops.label_components):
        with pytest.raises(ValueError, match="out: expected a writable C-contiguous int32 array of shape"):
            label(np.ones((2, 3), np.uint8), 4, out=out)
