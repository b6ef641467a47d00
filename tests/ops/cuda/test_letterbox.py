"""The twin of letterbox. The CPU's kernel may contract and reorder, so the last bits of both differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

PICTURES = [(1, 1), (5, 9), (17, 4), (40, 33)]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", PICTURES)
@pytest.mark.parametrize("size", [(8, 12), (20, 35)])
def test_grey_levels(twin: Any, shape: tuple[int, int], size: tuple[int, int]) -> None:
    twin.check(ops.letterbox, picture(*shape), size, within=1e-4)


@pytest.mark.parametrize("shape", PICTURES)
def test_exact_is_the_same_to_the_bit(twin: Any, shape: tuple[int, int]) -> None:
    twin.check(ops.letterbox, picture(*shape), (8, 12), exact=True, center=True, mean=(1, 2, 3), std=(50, 60, 70))


@pytest.mark.parametrize("exact", [False, True])
def test_float16(twin: Any, exact: bool) -> None:
    options: dict[str, Any] = {"mean": (99, 99, 99), "std": (50, 60, 70), "dtype": np.float16, "exact": exact}
    # A sum that differs in its last bit may be rounded to the next float16, 2**-10 away below 2.
    within = 0 if exact else 2**-9
    twin.check(ops.letterbox, picture(13, 30), (7, 9), within=within, **options)
    twin.check(ops.letterbox_batch, [picture(5, 9), picture(9, 4)], (7, 9), within=within, moves=64, **options)


@pytest.mark.parametrize(
    "options", [{"swap_channels": True}, {"center": True, "fill": 0}, {"pad_multiple": 3, "center": True}]
)
def test_options(twin: Any, options: dict[str, Any]) -> None:
    twin.check(ops.letterbox, picture(13, 30), (16, 20), mean=(1, 2, 3), std=(50, 60, 70), within=1e-5, **options)


def test_border_is_left_as_it_is(twin: Any) -> None:
    for border in (True, False):
        out = np.full((3, 9, 9), -7, np.float32)
        twin.check(ops.letterbox, picture(4, 9), (9, 9), border=border, out=out, on_device=("out",), within=1e-4)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_batch(twin: Any, count: int) -> None:
    pictures = [picture(*PICTURES[k % len(PICTURES)]) for k in range(count)]
    options: dict[str, Any] = {"mean": (1, 2, 3), "std": (50, 60, 70), "swap_channels": True, "center": True}
    twin.check(ops.letterbox_batch, pictures, (12, 16), within=1e-5, moves=32 * count, **options)


def test_a_batch_of_more_than_one_launch(twin: Any) -> None:
    out = np.zeros((34, 3, 4, 4), np.float32)
    pictures = [picture(2, k + 1) for k in range(34)]
    twin.check(ops.letterbox_batch, pictures, (4, 4), out=out, on_device=("out",), within=1e-4, moves=32 * 34)


def test_a_batch_in_both_memories_is_refused(twin: Any) -> None:
    with pytest.raises(TypeError, match=r"images\[1\]: expected a device array, as images\[0\] is one"):
        ops.letterbox_batch([twin.send(picture(2, 2)), picture(2, 2)], (4, 4))
