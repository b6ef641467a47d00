"""rle_encode and rle_encode_labels, byte for byte against pycocotools."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rle_reference import MASKS, ODD_MASKS, SIDES, coco_rle, random_masks

import ops


@pytest.mark.parametrize("name", list(ODD_MASKS))
def test_odd_masks_as_pycocotools(name: str) -> None:
    assert ops.rle_encode(ODD_MASKS[name]) == coco_rle(ODD_MASKS[name])


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_any_mask_as_pycocotools(mask: np.ndarray) -> None:
    assert ops.rle_encode(mask) == coco_rle(mask)
    assert ops.rle_encode(mask != 0) == coco_rle(mask)


@pytest.mark.parametrize("shape", [(480, 640), (641, 333), (64, 64), (7, 1001)])
def test_pictures_as_pycocotools(shape: tuple[int, int]) -> None:
    stack = random_masks(0, 6, shape)
    assert ops.rle_encode(stack) == [coco_rle(mask) for mask in stack]


def test_known_strings() -> None:
    """Written out by hand: 2 background, 1 foreground, 3 background; a run of 100 takes two characters."""
    assert ops.rle_encode(np.array([[0, 1, 0], [0, 0, 0]], np.uint8)) == {"size": [2, 3], "counts": "213"}
    assert ops.rle_encode(np.ones((10, 10), np.bool_)) == {"size": [10, 10], "counts": "0T3"}


def test_the_result_goes_into_json() -> None:
    rle = ops.rle_encode(random_masks(0, 1, (20, 30))[0])
    assert json.loads(json.dumps(rle)) == rle


def test_a_stack_of_none() -> None:
    assert ops.rle_encode(np.zeros((0, 4, 5), np.uint8)) == []


def test_the_mask_is_only_read() -> None:
    mask = random_masks(0, 1, (20, 30))[0]
    before = mask.copy()
    mask.flags.writeable = False
    ops.rle_encode(mask)
    np.testing.assert_array_equal(mask, before)


LABELS = SIDES.flatmap(lambda shape: arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])))


@settings(max_examples=150, deadline=None)
@given(LABELS, st.lists(st.sampled_from([0, 1, 2, 3, 255]), unique=True))
def test_labels_are_the_masks_of_each_class(labels: np.ndarray, class_ids: list[int]) -> None:
    assert ops.rle_encode_labels(labels, class_ids) == [coco_rle(labels == class_id) for class_id in class_ids]


@pytest.mark.parametrize("view", ["plain", "columns first in memory", "mirrored", "no row"])
def test_labels_of_all_256_classes(view: str) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (40, 90), np.uint8)
    labels = {"columns first in memory": np.asfortranarray(labels), "mirrored": labels[:, ::-1]}.get(view, labels)
    labels = labels[:0] if view == "no row" else labels
    class_ids = np.arange(255, -1, -1)
    assert ops.rle_encode_labels(labels, class_ids) == [coco_rle(labels == class_id) for class_id in class_ids]


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (None, TypeError, "mask: expected a uint8 array of shape [H, W], got object array of shape ()"),
        (
            np.zeros((3, 4)),
            TypeError,
            "mask: expected a uint8 array of shape [H, W], got float64 array of shape",
        ),
        (np.zeros((3, 4), np.int64), TypeError, "mask: expected a uint8 array of shape [H, W], got int64 array"),
        (np.zeros((2, 3, 4), np.float32), TypeError, "mask: expected a uint8 array of shape [N, H, W], got float32"),
        (np.zeros(4, np.uint8), ValueError, "mask: expected a uint8 array of shape [H, W], got uint8 array of shape"),
        (np.zeros((1, 2, 3, 4), np.bool_), ValueError, "mask: expected a bool array of shape [H, W], got bool array"),
        (
            np.broadcast_to(np.uint8(0), (2**16, 2**16)),
            ValueError,
            "mask: expected at most 4294967295 pixels, got 6",
        ),
    ],
)
def test_refuses(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rle_encode(mask)
    assert message in str(caught.value)


MAP = np.zeros((3, 4), np.uint8)


@pytest.mark.parametrize(
    ("labels", "class_ids", "error", "message"),
    [
        (MAP.astype(np.bool_), [1], TypeError, "label_map: expected a uint8 array of shape [H, W], got bool array"),
        (MAP[None], [1], ValueError, "label_map: expected a uint8 array of shape [H, W], got uint8 array of shape (1,"),
        (MAP, [0, 256], ValueError, "class_ids: expected different whole numbers from 0 to 255, got [0, 256]"),
        (MAP, [-1], ValueError, "from 0 to 255, got [-1]"),
        (MAP, [1, 2, 1], ValueError, "class_ids: expected different whole numbers"),
        (MAP, [1.0], ValueError, "whole numbers from 0 to 255, got [1.0]"),
        (MAP, 3, ValueError, "got 3"),
        (np.broadcast_to(MAP[0, 0], (2**16, 2**16)), [1], ValueError, "label_map: expected at most 4294967295 pixels"),
        (MAP, ["a"], ValueError, "got ['a']"),
        (MAP, [[1], [1, 2]], ValueError, "got [[1], [1, 2]]"),
    ],
)
def test_labels_refuses(labels: Any, class_ids: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rle_encode_labels(labels, class_ids)
    assert message in str(caught.value)
