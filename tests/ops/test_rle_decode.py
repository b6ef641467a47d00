"""rle_decode against pycocotools, round trips, and a table of damaged run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from rle_reference import MASKS, ODD_MASKS, coco_rle, random_masks

import ops


def run_lengths(mask: np.ndarray) -> list[int]:
    """By the definition, in plain Python: down the columns, background first."""
    counts, value = [0], 0
    for pixel in (mask != 0).T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@pytest.mark.parametrize("name", list(ODD_MASKS))
def test_odd_masks_come_back(name: str) -> None:
    mask = ODD_MASKS[name]
    decoded = ops.rle_decode(coco_rle(mask))
    assert (decoded.dtype, decoded.flags.c_contiguous) == (np.uint8, True)
    np.testing.assert_array_equal(decoded, (mask != 0).astype(np.uint8))


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_round_trip_in_every_form(mask: np.ndarray) -> None:
    rle = ops.rle_encode(mask)
    lengths = run_lengths(mask)
    forms = [rle["counts"], rle["counts"].encode(), lengths, tuple(lengths), np.array(lengths, np.uint16)]
    for counts in forms:
        np.testing.assert_array_equal(ops.rle_decode({"size": mask.shape, "counts": counts}), mask != 0)


@pytest.mark.parametrize("shape", [(480, 640), (641, 333), (7, 1001)])
def test_pictures_as_pycocotools(shape: tuple[int, int]) -> None:
    for mask in random_masks(0, 6, shape):
        np.testing.assert_array_equal(ops.rle_decode(coco_rle(mask)), coco.decode(coco_rle(mask)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_runs_of_no_pixel(counts: list[int]) -> None:
    """Other encoders write them; they change nothing."""
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    for size in [(1, flat.size), (flat.size, 1), *([(2, flat.size // 2)] if flat.size % 2 == 0 else [])]:
        expected = flat.reshape(size[::-1]).T
        np.testing.assert_array_equal(ops.rle_decode({"size": size, "counts": counts}), expected)


def test_writes_into_a_stack() -> None:
    masks = random_masks(0, 4, (30, 50))
    stack = np.full(masks.shape, 7, np.uint8)
    for mask, out in zip(masks, stack, strict=True):
        assert ops.rle_decode(coco_rle(mask), out=out) is out
    np.testing.assert_array_equal(stack, masks)


SIZE = [3, 4]
DAMAGED = [
    # counts, what the message says
    ("", "runs of another sum in counts str ''"),
    ("<0", None),  # 12 background, then a run of none: as good as "<"
    (";", "runs of another sum"),  # 11
    ("=", "runs of another sum"),  # 13
    ("56", "runs of another sum"),
    ("570", None),  # the third number is none of the differences
    ("5700", "runs of another sum"),  # but the fourth is: 7 again
    ("570I", None),  # 7 less than 7
    ("4 4", "a character outside '0' to 'o' in counts str '4 4'"),
    ("44p4", "a character outside"),
    ("44\x004", "a character outside"),
    ("44é", "a character outside"),
    ("44\ud800", "a character outside"),  # half a surrogate pair, as JSON can hold it
    (b"44\xff", "a character outside '0' to 'o' in counts bytes b'44\\xff'"),
    ("<P", "a last number that is cut off"),
    ("44T", "a last number that is cut off"),
    ("O", "a negative run"),  # -1
    ("=O", "runs of another sum"),  # the first fault counts
    ("4O9", "a negative run"),
    ("3111J", "a negative run"),  # the fourth number is a difference to the second
    ("PPPPPPP0", "a number of more than 7 characters"),
    ("PPPPPP0<", None),  # zero in seven characters: odd, but plain
    ("ooooooO<", "a negative run"),  # -1 in seven characters
    ("oooooo?", "runs of another sum"),  # the largest that fits: 2**34 - 1
    ([], "runs of another sum in counts list []"),
    ([5, 6], "runs of another sum in counts list [5, 6]"),
    ([5, 8], "runs of another sum"),
    ([5, -1, 8], "a negative run in counts list [5, -1, 8]"),
    ([2**40, 12], "runs of another sum"),
    ([2**63 - 1, 2**63 - 1, 14], "runs of another sum"),  # the sum modulo 2**64 is 12
    (np.array([2**64 - 1, 13], np.uint64), "runs of another sum"),
    (np.array([200, 68], np.uint8), "runs of another sum"),  # modulo 256 it is 12
    ([5, 7], None),
]


@pytest.mark.parametrize(("counts", "message"), DAMAGED)
def test_damaged_counts(counts: Any, message: str | None) -> None:
    rle = {"size": SIZE, "counts": counts}
    if message is None:
        assert ops.rle_decode(rle).shape == (3, 4)
        return
    with pytest.raises(ValueError, match=r"^rle: expected runs that fill 3 x 4 = 12 pixels, got ") as caught:
        ops.rle_decode(rle)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=12) | st.text("01234P?Oop", max_size=8), st.integers(0, 9), st.integers(0, 9))
def test_any_text_is_a_mask_or_a_value_error(counts: Any, height: int, width: int) -> None:
    rle = {"size": [height, width], "counts": counts}
    try:
        mask = ops.rle_decode(rle)
    except ValueError:
        with pytest.raises(ValueError, match=r"^rle: expected runs that fill"):
            ops.rle_decode(rle)
    else:  # then pycocotools reads the same from it
        assert mask.shape == (height, width)
        assert coco.area(rle) == mask.sum()


SIZES = [[3], [3, 4, 1], [-3, -4], [-1, 0], [3.0, 4.0], ["3", "4"], "34", 12, None, [2**16, 2**16], [2**40, 2**40]]


@pytest.mark.parametrize("size", SIZES)
def test_damaged_sizes(size: Any) -> None:
    with pytest.raises(ValueError, match=r"^rle: expected a size \[height, width\] in whole numbers, at most 42949672"):
        ops.rle_decode({"size": size, "counts": "<"})


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        (None, 'rle: expected a dict with "size" and "counts", got NoneType None'),
        ([3, 4], 'expected a dict with "size" and "counts", got list [3, 4]'),
        ({"size": SIZE}, "got dict {'size': [3, 4]}"),
        ({"counts": "<"}, "got dict {'counts': '<'}"),
        ({"size": SIZE, "counts": None}, "rle: expected counts as a str, bytes, or a list of whole numbers, got NoneT"),
        ({"size": SIZE, "counts": 12}, "whole numbers, got int 12"),
        ({"size": SIZE, "counts": [5.0, 7.0]}, "whole numbers, got list [5.0, 7.0]"),
        ({"size": SIZE, "counts": [True]}, "whole numbers, got list [True]"),
        ({"size": SIZE, "counts": ["5", "7"]}, "whole numbers, got list ['5', '7']"),
        ({"size": SIZE, "counts": [[5, 7]]}, "whole numbers, got list [[5, 7]]"),
        ({"size": SIZE, "counts": [[5], [1, 7]]}, "whole numbers, got list [[5], [1, 7]]"),
        ({"size": SIZE, "counts": [2**70]}, "whole numbers, got list [1180591620717411303424]"),
    ],
)
def test_no_rle_is_a_type_error(rle: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        ops.rle_decode(rle)
    assert message in str(caught.value)


def test_refuses_an_out_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"out: expected a writable C-contiguous uint8 array of shape \(3, 4\), got "):
        ops.rle_decode({"size": SIZE, "counts": "<"}, out=np.zeros((4, 3), np.uint8))
