"""mask_to_polygons: drawn again, by pycocotools and by us, the mask is the same; counts and areas as SciPy says."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco
from scipy import ndimage
from volume_cases import CONNECTIVITIES, ODD_MASKS, drawn, noise, structure

import ops


def drawn_by_coco(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    if not polygons:
        return np.zeros(shape, np.uint8)
    rles = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return np.asarray(coco.decode(coco.merge(rles)))


def shoelace(polygon: np.ndarray) -> float:
    """Above 0 for a clockwise outline, y pointing down."""
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def check(mask: np.ndarray) -> None:
    for connectivity in CONNECTIVITIES[2]:
        polygons = ops.mask_to_polygons(mask, connectivity)
        labels, count = ndimage.label(mask, structure(2, connectivity))
        assert len(polygons) == count
        for number, polygon in enumerate(polygons, 1):
            here = labels == number
            assert polygon.dtype == np.float64
            first = np.argwhere(here)[0]
            assert polygon[0].tolist() == first[::-1].tolist()  # its first pixel's top left corner
            assert shoelace(polygon) == np.count_nonzero(here)
            turns = np.roll(polygon, -1, axis=0) != polygon
            assert (turns.sum(1) == 1).all()  # sides go along one axis ...
            assert (turns[:, 0] != np.roll(turns[:, 0], 1)).all()  # ... and the next one along the other
            np.testing.assert_array_equal(ops.polygons_to_mask([polygon], mask.shape), here)
        if mask.size:
            np.testing.assert_array_equal(drawn_by_coco(polygons, mask.shape), mask != 0)


PICTURES = {name: mask for name, mask in ODD_MASKS.items() if mask.ndim == 2}


@pytest.mark.parametrize("name", PICTURES)
def test_odd_masks(name: str) -> None:
    check(PICTURES[name])
    check(1 - (PICTURES[name] > 0).astype(np.uint8))


def test_noise_of_many_sizes() -> None:
    for mask in drawn():
        if mask.ndim == 2:
            check(mask)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12),
                     elements=st.sampled_from([0, 1, 255])))  # fmt: skip
def test_any_mask(mask: np.ndarray) -> None:
    check(mask)


# Rows of text to the corners of the one polygon that they make with 8 neighbours.
OUTLINES = [
    (["#"], [(0, 0), (1, 0), (1, 1), (0, 1)]),
    ([" ##", " # "], [(1, 0), (3, 0), (3, 1), (2, 1), (2, 2), (1, 2)]),
    (["# ", " #"], [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)]),
    # a hole, reached by a cut along its row's top line from the left, and left along that line again
    (["###", "# #", "###"], [(0, 0), (3, 0), (3, 3), (0, 3), (0, 1), (1, 1), (1, 2), (2, 2), (2, 1), (0, 1)]),
]


@pytest.mark.parametrize(("rows", "corners"), OUTLINES)
def test_corners(rows: list[str], corners: list[tuple[int, int]]) -> None:
    (polygon,) = ops.mask_to_polygons(np.array([[pixel == "#" for pixel in row] for row in rows]))
    assert [tuple(corner) for corner in polygon.tolist()] == corners


def test_rings_in_rings() -> None:
    y, x = np.indices((41, 41)) - 20
    mask = (np.maximum(abs(x), abs(y)) // 3) % 2 == 0
    check(mask)
    check(ndimage.rotate(mask.astype(np.uint8), 30, order=0))


def test_as_many_as_opencv_finds() -> None:
    mask = noise((60, 80), 0.4).astype(np.uint8)
    contours, levels = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = [contour for contour, level in zip(contours, levels[0], strict=True) if level[3] < 0]
    polygons = ops.mask_to_polygons(mask)
    # Its contours are in another order, and go through the centres of the outermost pixels.
    ours = sorted((*polygon.min(0), *(polygon.max(0) - 1)) for polygon in polygons)
    assert ours == sorted((*contour[:, 0].min(0), *contour[:, 0].max(0)) for contour in outer)


def test_reads_views_and_read_only_arrays() -> None:
    mask = np.asfortranarray(noise((30, 41), 0.5))[::2, ::-1]
    mask.flags.writeable = False
    check(mask)
    assert ops.mask_to_polygons([[True]])[0].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("mask", "connectivity", "error", "message"),
    [
        (np.zeros((2, 3)), 8, TypeError, "mask: expected a uint8 array of shape [H, W], got float64 array"),
        (np.zeros((2, 3, 4), np.uint8), 8, ValueError, "mask: expected a uint8 array of shape [H, W], got uint8 array"),
        (np.zeros((2, 3), np.uint8), 6, ValueError, "connectivity: expected 4 or 8, got 6"),
    ],
)  # fmt: skip
def test_refuses(mask: Any, connectivity: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.mask_to_polygons(mask, connectivity)
    assert message in str(caught.value)
