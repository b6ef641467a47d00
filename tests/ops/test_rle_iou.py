"""rle_iou against pycocotools, to the bit, crowds included."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco
from rle_reference import SIDES, coco_rle, random_masks

import ops

module = importlib.import_module("ops.rle_iou")

STACKS = SIDES.flatmap(lambda shape: arrays.arrays(np.bool_, (5, *shape)))


@settings(max_examples=150, deadline=None)
@given(STACKS, st.lists(st.integers(0, 1), min_size=3, max_size=3))
def test_any_masks_as_pycocotools(stack: np.ndarray, iscrowd: list[int]) -> None:
    rles = [coco_rle(mask) for mask in stack]
    result = ops.rle_iou(rles[:2], rles[2:], iscrowd)
    assert (result.dtype, result.shape) == (np.float64, (2, 3))
    np.testing.assert_array_equal(result, coco.iou(rles[:2], rles[2:], iscrowd))


@pytest.mark.parametrize("shape", [(480, 640), (5, 2000), (2000, 5), (1, 300), (300, 1), (1, 1)])
@pytest.mark.parametrize("crowd", ["none", "all", "some"])
def test_pictures_as_pycocotools(shape: tuple[int, int], crowd: str) -> None:
    a, b = ([coco_rle(mask) for mask in random_masks(seed, 12, shape)] for seed in (0, 1))
    iscrowd = {"none": [0] * 12, "all": [1] * 12, "some": [0, 1] * 6}[crowd]
    expected = coco.iou(a, b, iscrowd)
    np.testing.assert_array_equal(ops.rle_iou(a, b, iscrowd), expected)
    np.testing.assert_array_equal(ops.rle_iou(a, b, np.array(iscrowd, np.bool_)), expected)
    if crowd == "none":
        np.testing.assert_array_equal(ops.rle_iou(a, b), expected)
        # with itself 1, but an empty mask meets nothing
        np.testing.assert_array_equal(ops.rle_iou(a, a).diagonal(), ops.rle_area(a) > 0)


def test_small_masks_far_and_near() -> None:
    """Bars of 3 x 3 at every place of a 9 x 9 picture: apart by rows, by columns, touching, across column borders."""
    masks = []
    for y in range(-2, 9):
        for x in range(9):
            mask = np.zeros((9, 9), np.uint8)
            mask[max(y, 0) : y + 3, x : x + 3] = 1
            masks.append(coco_rle(mask))
    np.testing.assert_array_equal(ops.rle_iou(masks, masks), coco.iou(masks, masks, [0] * len(masks)))


def test_a_run_goes_on_at_the_head_of_the_next_column() -> None:
    """Rows 8 and 9 of one column and row 0 of the next are one run: it meets a mask of row 0, none of rows 1 to 7."""
    run, head, middle, foot = (
        {"size": [10, 2], "counts": counts} for counts in ([8, 3, 9], [10, 1, 9], [11, 6, 3], [9, 1, 10])
    )
    np.testing.assert_array_equal(ops.rle_iou([run], [head, middle, foot]), [[1 / 3, 0, 1 / 3]])
    np.testing.assert_array_equal(ops.rle_iou([head, middle, foot], [run]), [[1 / 3], [0], [1 / 3]])


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_no_masks(n: int, m: int) -> None:
    rle = {"size": [3, 4], "counts": "57"}
    result = ops.rle_iou([rle] * n, [rle] * m, [1] * m)
    assert (result.shape, result.dtype) == ((n, m), np.float64)


def test_masks_without_a_pixel() -> None:
    rles = [{"size": [0, 3], "counts": "0"}] * 2
    np.testing.assert_array_equal(ops.rle_iou(rles, rles), np.zeros((2, 2)))


def test_all_forms_of_counts_and_runs_of_no_pixel() -> None:
    forms = ["57", b"57", [5, 7], [5, 3, 0, 4], [0, 0, 5, 7, 0, 0], (5, 0, 0, 7)]
    rles = [{"size": [3, 4], "counts": counts} for counts in forms]
    np.testing.assert_array_equal(ops.rle_iou(rles, rles), np.ones((6, 6)))


def test_runs_too_long_to_decode() -> None:
    whole = {"size": [65535, 65537], "counts": [0, 2**32 - 1]}
    tail = {"size": [65535, 65537], "counts": [2**31, 2**31 - 1]}
    both = ops.rle_iou([whole, tail], [whole, tail])
    part = (2**31 - 1) / (2**32 - 1)
    np.testing.assert_array_equal(both, [[1, part], [part, 1]])


def test_serial_and_parallel_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rles = [coco_rle(mask) for mask in random_masks(0, 40, (90, 120))]
    runs: list[str] = []
    for name in ("_serial", "_parallel"):
        compiled = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, name=name, run=compiled: (runs.append(name), run(*given)))
    monkeypatch.setattr(module, "lone_caller", lambda: False)
    serial = ops.rle_iou(rles, rles)
    monkeypatch.setattr(module, "lone_caller", lambda: True)
    np.testing.assert_array_equal(ops.rle_iou(rles, rles), serial)
    np.testing.assert_array_equal(ops.rle_iou(rles[:2], rles), serial[:2])
    assert runs == ["_serial", "_parallel", "_serial"]  # the last one is too small for a team


RLE = {"size": [3, 4], "counts": "57"}


@pytest.mark.parametrize(
    ("a", "b", "iscrowd", "error", "message"),
    [
        (
            [RLE],
            [RLE, {"size": [4, 3], "counts": "57"}],
            None,
            ValueError,
            "expected masks of one size, got a[0] of 3 x 4",
        ),
        ([RLE, {"size": [4, 3], "counts": "57"}], [], None, ValueError, "and a[1] of 4 x 3"),
        (
            [RLE],
            [RLE],
            [0, 1],
            ValueError,
            "iscrowd: expected 1 flags, one for each mask of b, got int64 array of shape",
        ),
        ([RLE], [RLE], [0.5], ValueError, "iscrowd: expected 1 flags, one for each mask of b, got float64 array"),
        ([RLE], [RLE], 1, ValueError, "iscrowd: expected 1 flags"),
        (RLE, [RLE], None, TypeError, "a: expected a list of RLEs, got dict"),
        ([RLE], [RLE, {"size": [3, 4], "counts": "58"}], None, ValueError, "b[1]: expected runs that fill 3 x 4 = 12"),
    ],
)
def test_refuses(a: Any, b: Any, iscrowd: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rle_iou(a, b, iscrowd)
    assert message in str(caught.value)
