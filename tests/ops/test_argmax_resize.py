"""argmax_resize against bilinear interpolation and argmax in float64, and against torch's; what ties and NaN give."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ops
from ops import Placement
from ops.argmax_resize import _parallel, _serial


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def regions(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Logits as a network gives them: large areas of one class, a little noise."""
    coarse = np.random.default_rng(seed).normal(size=(shape[0], 4, 5)).astype(np.float32) * 4
    smooth = [cv2.resize(plane, (shape[2], shape[1]), interpolation=cv2.INTER_CUBIC) for plane in coarse]
    return np.stack(smooth) + noise(shape, seed) * np.float32(0.1)


def interpolated(logits: np.ndarray, image_size: Any, input_size: Any, placement: Placement) -> np.ndarray:
    """The definition: float64 logits [C, H, W] at the centres of the picture's pixels, the border's repeated."""
    result = logits.astype(np.float64)
    scales, offsets = placement[:2], placement[2:]
    for axis in (0, 1):
        size = logits.shape[1 + axis]
        at = ((np.arange(image_size[axis]) + 0.5) * scales[axis] + offsets[axis]) / (input_size[axis] / size) - 0.5
        at = np.clip(at, 0, size - 1)
        low = np.floor(at).astype(int)
        weight = (at - low).reshape([-1 if k == axis + 1 else 1 for k in range(3)])
        high = np.minimum(low + 1, size - 1)
        result = result.take(low, axis + 1) * (1 - weight) + result.take(high, axis + 1) * weight
    return result


def assert_best(mask: np.ndarray, values: np.ndarray, near: float = 1e-4) -> None:
    """The mask is the argmax, wherever the best two are not nearer than float32 can tell."""
    best = np.sort(values, axis=0)
    clear = best[-1] - best[-2] > near if len(values) > 1 else np.abs(values[0]) > near
    wanted = values.argmax(0) if len(values) > 1 else values[0] > 0
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(mask[clear], wanted[clear])


# logits (C, h, w), picture (height, width)
SIZES = [
    ((3, 16, 16), (16, 16)),  # as it is
    ((3, 16, 16), (64, 64)),
    ((21, 13, 17), (120, 151)),
    ((5, 9, 30), (77, 31)),  # larger one way, hardly the other
    ((5, 40, 50), (13, 7)),  # smaller: only some logits are looked at
    ((1, 12, 15), (50, 70)),
    ((2, 1, 1), (9, 8)),
    ((4, 1, 7), (20, 33)),
    ((4, 7, 1), (33, 20)),
    ((7, 5, 6), (1, 1)),
    ((256, 6, 6), (40, 40)),
]


@pytest.mark.parametrize("make", [noise, regions])
@pytest.mark.parametrize(("shape", "image_size"), SIZES)
def test_matches_the_definition_and_torch(shape: Any, image_size: Any, make: Any) -> None:
    logits = make(shape)
    mask = ops.argmax_resize(logits, image_size)
    assert mask.shape == image_size
    assert mask.dtype == np.uint8
    stretched = Placement(shape[1] / image_size[0], shape[2] / image_size[1], 0, 0)
    assert_best(mask, interpolated(logits, image_size, shape[1:], stretched))
    theirs = F.interpolate(torch.from_numpy(logits)[None], image_size, mode="bilinear", align_corners=False)[0].numpy()
    assert_best(mask, theirs)


# picture (height, width), input (height, width), stride, placement
PLACEMENTS = [
    ((97, 130), (64, 64), 8, "letterbox"),
    ((97, 130), (64, 64), 8, "letterbox, centred"),
    ((333, 217), (128, 160), 4, "letterbox, centred"),
    ((20, 10), (64, 96), 2, "letterbox"),  # the picture is smaller than the logits
    ((97, 130), (64, 96), 16, Placement(64 / 97, 96 / 130, 0, 0)),  # stretched
    ((97, 130), (64, 64), 8, Placement(1.0, 1.0, -10.5, -30.25)),  # a region: the rest lies beside the input
    ((40, 40), (64, 64), 4, Placement(1.0, 1.0, 100.0, -200.0)),  # wholly beside it: the border goes on
    ((40, 40), (64, 64), 4, Placement(100.0, 0.001, 0.0, 7.0)),
]


@pytest.mark.parametrize("make", [noise, regions])
@pytest.mark.parametrize(("image_size", "input_size", "stride", "placement"), PLACEMENTS)
def test_follows_the_placement(image_size: Any, input_size: Any, stride: int, placement: Any, make: Any) -> None:
    if isinstance(placement, str):
        blank = np.zeros((*image_size, 3), np.uint8)
        _, placement = ops.letterbox(blank, input_size, center="centred" in placement)
    for classes in (1, 6):
        logits = make((classes, input_size[0] // stride, input_size[1] // stride))
        mask = ops.argmax_resize(logits, image_size, input_size=input_size, placement=placement)
        assert_best(mask, interpolated(logits, image_size, input_size, placement))


def test_brings_a_letterboxed_mask_back_to_the_picture() -> None:
    truth = np.zeros((300, 420), np.uint8)
    truth[40:200, 60:160], truth[150:290, 200:400] = 1, 2
    placements = [
        ops.letterbox(np.dstack([truth] * 3), (128, 128), center=True)[1],
        ops.resize_normalize(np.dstack([truth] * 3), (128, 128))[1],
    ]
    for placement in placements:
        rows = ((np.arange(64) + 0.5) * 2 - placement.top) / placement.scale_y
        columns = ((np.arange(64) + 0.5) * 2 - placement.left) / placement.scale_x
        small = truth[np.clip(rows, 0, 299).astype(int)][:, np.clip(columns, 0, 419).astype(int)]
        logits = (small == np.arange(3)[:, None, None]).astype(np.float32)
        mask = ops.argmax_resize(logits, truth.shape, input_size=(128, 128), placement=placement)
        for c in range(3):
            assert ((mask == c) & (truth == c)).sum() / ((mask == c) | (truth == c)).sum() > 0.9


def test_equal_logits_go_to_the_lower_class() -> None:
    """Whole logits at a power of two: float32 is exact, so every tie is one."""
    rng = np.random.default_rng(0)
    for classes in (1, 2, 3, 7):
        logits = rng.integers(-2, 3, (classes, 12, 11)).astype(np.float32)
        values = interpolated(logits, (96, 88), (12, 11), Placement(1 / 8, 1 / 8, 0, 0))
        wanted = values.argmax(0) if classes > 1 else values[0] > 0
        assert classes == 1 or (np.sort(values, 0)[-1] == np.sort(values, 0)[-2]).sum() > 50
        np.testing.assert_array_equal(ops.argmax_resize(logits, (96, 88)), wanted)


def test_one_plane_is_class_1_against_a_logit_of_0() -> None:
    plane = noise((1, 9, 9))
    both = np.concatenate([np.zeros_like(plane), plane])
    np.testing.assert_array_equal(ops.argmax_resize(plane, (50, 60)), ops.argmax_resize(both, (50, 60)))
    assert not ops.argmax_resize(np.zeros((1, 3, 3), np.float32), (5, 5)).any()
    assert ops.argmax_resize(np.full((1, 3, 3), 1e-30, np.float32), (5, 5)).all()


def test_a_class_may_win_between_two_others_only() -> None:
    """Class 2 is second at both logits and first in the middle."""
    logits = np.array([[[9, 0]], [[0, 9]], [[8, 8]]], np.float32)
    assert ops.argmax_resize(logits, (1, 18))[0].tolist() == [0] * 6 + [2] * 6 + [1] * 6


def test_nan_never_wins() -> None:
    logits = np.zeros((3, 4, 4), np.float32)
    logits[2] = 1
    logits[2, 0, 0] = np.nan
    mask = ops.argmax_resize(logits, (4, 4))
    assert mask[0, 0] == 0
    assert (mask.ravel()[1:] == 2).all()
    assert not ops.argmax_resize(np.full((3, 4, 4), np.nan, np.float32), (9, 9)).any()


def test_reads_views_and_writes_into_out() -> None:
    logits = noise((4, 20, 24))
    view = logits[::2, ::-1, 3:20:2]
    view.flags.writeable = False
    masks = np.full((3, 30, 40), 99, np.uint8)
    result = ops.argmax_resize(view, (30, 40), out=masks[1])
    assert np.shares_memory(result, masks)
    np.testing.assert_array_equal(masks[1], ops.argmax_resize(np.array(view, order="C"), (30, 40)))
    assert (masks[[0, 2]] == 99).all()


@pytest.mark.parametrize("make", [noise, regions])
@pytest.mark.parametrize("shape", [(1, 8, 9), (21, 32, 31), (3, 1, 1)])
def test_serial_and_parallel_are_equal(shape: Any, make: Any) -> None:
    logits, results = make(shape), []
    for run in (_serial, _parallel):
        out = np.empty((301, 333), np.uint8)
        run(logits, shape[1] / 301, 0.1, shape[2] / 333, -0.2, out)
        results.append(out)
    np.testing.assert_array_equal(results[0], results[1])


LOGITS = np.zeros((3, 4, 5), np.float32)
PLACED = Placement(1.0, 1.0, 0, 0)


@pytest.mark.parametrize(
    ("logits", "size", "options", "error", "message"),
    [
        (LOGITS / np.float64(1), (8, 8), {}, TypeError, "logits: expected a float32 array of shape [C, h, w], got fl"),
        (LOGITS[None], (8, 8), {}, ValueError, "logits: expected a float32 array of shape [C, h, w], got float32"),
        (LOGITS[:0], (8, 8), {}, ValueError, "logits: expected 1 to 256 classes and at least one pixel, got shape (0,"),
        (LOGITS[:, :0], (8, 8), {}, ValueError, "at least one pixel, got shape (3, 0, 5)"),
        (np.zeros((257, 2, 2), np.float32), (8, 8), {}, ValueError, "1 to 256 classes and at least one pixel, got sh"),
        (LOGITS, (0, 8), {}, ValueError, "image_size: expected a positive (height, width), got (0, 8)"),
        (LOGITS, (8, -8), {}, ValueError, "image_size: expected a positive (height, width), got (8, -8)"),
        (LOGITS, (8, 8), {"input_size": (32, 0)}, ValueError, "input_size: expected a positive (height, width), got"),
        (LOGITS, (8, 8), {"placement": PLACED._replace(scale_x=0)}, ValueError, "placement: expected finite numbers,"),
        (LOGITS, (8, 8), {"placement": PLACED._replace(scale_y=-1)}, ValueError, "the scales positive, got Placement("),
        (LOGITS, (8, 8), {"placement": PLACED._replace(left=np.nan)}, ValueError, "placement: expected finite numbers"),
        (LOGITS, (8, 8), {"placement": PLACED._replace(scale_y=np.inf)}, ValueError, "placement: expected finite numb"),
        (
            LOGITS,
            (8, 8),
            {"out": np.zeros((8, 9), np.uint8)},
            ValueError,
            "out: expected a writable C-contiguous uint8",
        ),
        (
            LOGITS,
            (8, 8),
            {"out": np.zeros((8, 8), np.int64)},
            ValueError,
            "out: expected a writable C-contiguous uint8",
        ),
    ],
)
def test_refuses(logits: Any, size: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.argmax_resize(logits, size, **options)
    assert message in str(caught.value)
