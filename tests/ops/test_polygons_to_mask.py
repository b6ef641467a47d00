"""polygons_to_mask against pycocotools, pixel for pixel, and against OpenCV's distance to the outline."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

import ops


def check(polygons: list[Any], size: tuple[int, int]) -> np.ndarray:
    found = ops.polygons_to_mask(polygons, size)
    assert (found.dtype, found.shape) == (np.uint8, size)
    flat = [np.asarray(polygon, np.float64).ravel().tolist() for polygon in polygons]
    np.testing.assert_array_equal(found, coco.decode(coco.merge(coco.frPyObjects(flat, *size))))
    return found


def star(seed: int, size: tuple[int, int], longest: float) -> np.ndarray:
    """A star around a point, partly outside of the picture."""
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 40))))
    lengths = random.uniform(2, max(longest, 3), len(angles))
    rays = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points: np.ndarray = random.uniform((0, 0), size[::-1]) + rays
    return points


@pytest.mark.parametrize("seed", range(30))
def test_stars(seed: int) -> None:
    size = (24, 31)
    outline = star(seed, size, 20).astype(np.float32)
    middles = [(x + 0.5, y + 0.5) for y in range(size[0]) for x in range(size[1])]
    distance = np.array([cv2.pointPolygonTest(outline, middle, True) for middle in middles]).reshape(size)
    differ = check([outline], size) != (distance > 0)
    assert np.abs(distance[differ]).max(initial=0) < 0.3  # as far as the grid of fifths moves a side


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (333, 217)])
def test_sizes(size: tuple[int, int]) -> None:
    for seed in range(20):
        check([star(seed, size, max(size)), star(seed + 1, size, 5)], size)


COORDINATES = (
    st.floats(-50, 80)
    | st.integers(-5, 40)
    | st.integers(-30, 200).map(lambda n: n / 10)
    | st.sampled_from([-1e4, 1e4, 0.0])
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=9), min_size=1, max_size=3),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_polygons(polygons: list[Any], size: tuple[int, int]) -> None:
    check(polygons, size)


def test_areas_are_right_on_average() -> None:
    size = (60, 60)
    drawn, true = 0.0, 0.0
    for seed in range(300):
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        random = np.random.default_rng(seed)
        points = random.uniform(25, 35, 2) + random.uniform(3, 20) * np.stack([np.cos(angles), np.sin(angles)], 1)
        drawn += check([points], size).sum()
        true += cv2.contourArea(points.astype(np.float32))
    assert drawn / true == pytest.approx(1, abs=0.005)


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([[10, 5], [30, 5], [30, 20], [10, 20]], 300),
        ([[30, 20], [10, 20], [10, 5], [30, 5]], 300),  # the other way round
        ([[0, 0], [40, 0], [40, 30], [0, 30]], 1200),
        ([[-5, -5], [99, -5], [99, 99], [-5, 99]], 1200),
        ([[50, 5], [60, 5], [60, 15]], 0),
        ([[-9, 5], [-1, 5], [-1, 15]], 0),
        ([[3, 3], [3.4, 3], [3.4, 3.4]], 0),  # no middle inside
        ([[3.4, 3.4], [3.6, 3.4], [3.6, 3.6], [3.4, 3.6]], 1),  # around one middle
        ([[5, 5], [5, 5], [5, 5]], 0),
        ([[5, 5], [25, 5], [25, 5], [25, 15], [5, 15], [5, 15]], 200),  # corners twice
        ([[0, 0], [20, 0], [20, 20], [0, 20], [0, 0], [20, 0], [20, 20], [0, 20]], 0),  # twice round: even
    ],
)
def test_areas(points: list[list[float]], area: int) -> None:
    assert check([points], (30, 40)).sum() == area


def test_several_polygons_are_one_mask_and_none_is_an_empty_one() -> None:
    square, other = [[2, 2], [9, 2], [9, 9], [2, 9]], [[5, 5], [12, 5], [12, 12], [5, 12]]
    assert check([square, other], (20, 20)).sum() == 49 + 49 - 16  # where both are counts once
    assert not ops.polygons_to_mask([], (20, 20)).any()
    assert ops.polygons_to_mask([square], (0, 5)).shape == (0, 5)


def test_huge_coordinates_take_no_time() -> None:
    far = [[-1e8, -1e8], [1e8, -1e8], [1e8, 1e8], [-1e8, 1e8]]
    assert ops.polygons_to_mask([far], (300, 400)).all()
    slanted = ops.polygons_to_mask([[[-1e8, -1e8], [1e8, 1e8], [-1e8, 1e8]]], (300, 400))
    np.testing.assert_array_equal(slanted, np.tri(300, 400, 0, np.uint8))


def test_reads_flat_lists_views_and_read_only_arrays_and_writes_into_out() -> None:
    outline = np.asfortranarray(star(3, (40, 50), 30))[:, ::-1]
    outline.flags.writeable = False
    wanted = check([outline], (40, 50))
    out = np.full((40, 50), 9, np.uint8)
    assert ops.polygons_to_mask([outline.ravel().tolist()], (40, 50), out=out) is out
    np.testing.assert_array_equal(out, wanted)
    np.testing.assert_array_equal(
        ops.polygons_to_mask([[1, 2, 7, 2, 7, 9]], (9, 9)), check([[1, 2, 7, 2, 7, 9]], (9, 9))
    )


def test_eight_threads_at_once() -> None:
    stars = [star(seed, (40, 50), 30) for seed in range(32)]
    wanted = [ops.polygons_to_mask([each], (40, 50)) for each in stars]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(lambda p: ops.polygons_to_mask([p], (40, 50)), stars), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


SHAPE = "polygons[0]: expected numbers of shape [K, 2] (x, y), or x and y in turn, K at least 3, got "
REFUSED: list[tuple[Any, Any, str]] = [
    ([[1, 2, 3, 4]], (5, 5), SHAPE + "int64 array of shape (2, 2)"),
    ([[1, 2, 3, 4, 5, 6, 7]], (5, 5), SHAPE + "int64 array of shape (7,)"),
    ([np.zeros((4, 3))], (5, 5), SHAPE + "float64 array of shape (4, 3)"),
    ([["a"] * 6], (5, 5), SHAPE + "<U1 array of shape (3, 2)"),
    ([[1, 2, 3, 4, 5, np.nan]], (5, 5), "polygons[0]: expected coordinates from -1e+08 to 1e+08, got others"),
    ([[1] * 6, [1, 2, 3, 4, 5, 1e9]], (5, 5), "polygons[1]: expected coordinates from -1e+08 to 1e+08, got others"),
    ([], (-1, 5), "size: expected (height, width), not negative, got (-1, 5)"),
]


@pytest.mark.parametrize(("polygons", "size", "message"), REFUSED)
def test_refuses(polygons: Any, size: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ops.polygons_to_mask(polygons, size)


def test_refuses_an_output_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="out: expected a writable C-contiguous uint8 array of shape"):
        ops.polygons_to_mask([], (5, 5), out=np.zeros((5, 6), np.uint8))
