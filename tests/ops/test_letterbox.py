"""letterbox against OpenCV's resize and against the bilinear definition in float64."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops
from ops.letterbox import Placement, _exact_parallel, _exact_serial, _parallel, _serial, padded_size, place

# picture (height, width), input (height, width), resized (height, width)
SIZES = [
    ((32, 32), (32, 32), (32, 32)),  # nothing to do
    ((64, 64), (32, 32), (32, 32)),  # half
    ((16, 16), (32, 32), (32, 32)),  # double
    ((480, 640), (416, 416), (312, 416)),
    ((333, 217), (416, 416), (416, 271)),  # odd ratio, up
    ((333, 517), (96, 160), (96, 149)),  # odd ratio, down, oblong input
    ((97, 33), (64, 64), (64, 22)),
    ((1, 1), (32, 64), (32, 32)),
    ((1, 50), (32, 32), (1, 32)),
    ((50, 1), (32, 32), (32, 1)),
    ((1, 4000), (32, 32), (1, 32)),  # thinner than a pixel, yet one row stays
    ((4000, 1), (32, 32), (32, 1)),
    ((2, 3), (32, 32), (21, 32)),
    ((5, 7), (1, 1), (1, 1)),
]


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The definition: pixel centres at halves, the border's pixels repeated."""
    result = image.astype(np.float64)
    for axis in (0, 1):
        old, new = image.shape[axis], size[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        weight = (at - low).reshape([-1 if k == axis else 1 for k in range(3)])
        result = result.take(low, axis) * (1 - weight) + result.take(high, axis) * weight
    return result


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("shape", "size", "resized"), SIZES)
def test_matches_the_definition_and_opencv(shape: Any, size: Any, resized: Any, center: bool) -> None:
    image = picture(shape)
    result, placement = ops.letterbox(image, size, center=center)
    assert (result.shape, result.dtype) == ((3, *size), np.float32)
    top, left = ((size[0] - resized[0]) // 2, (size[1] - resized[1]) // 2) if center else (0, 0)
    assert placement == Placement(resized[0] / shape[0], resized[1] / shape[1], top, left)
    assert type(placement.top) is int
    inside = result[:, top : top + resized[0], left : left + resized[1]].transpose(1, 2, 0)
    np.testing.assert_allclose(inside, bilinear(image, resized), atol=2e-3)
    opencv = cv2.resize(image, resized[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(inside - opencv).max() <= 1
    padding = np.ones(size, bool)
    padding[top : top + resized[0], left : left + resized[1]] = False
    assert (result[:, padding] == 114).all()


# picture, largest input, multiple, and what the picture is padded to
PADDED = [
    ((64, 64), (512, 512), 32, (512, 512)),  # a square stays one
    ((720, 1280), (512, 512), 32, (288, 512)),
    ((1280, 720), (512, 512), 32, (512, 288)),
    ((667, 1000), (512, 512), 32, (352, 512)),  # 341.5 rows
    ((667, 1000), (512, 512), 64, (384, 512)),
    ((1081, 1921), (512, 512), 32, (288, 512)),  # 288.1 rows, which are 288: no strip of 32 for a tenth of one
    ((500, 520), (96, 100), 32, (96, 100)),  # never more than the input, whatever the multiple
    ((300, 400), (96, 160), 32, (96, 128)),  # an oblong input
    ((1, 4000), (64, 64), 32, (32, 64)),
    ((333, 217), (64, 64), 1, (64, 42)),
]


@pytest.mark.parametrize("options", [{}, {"center": True, "exact": True, "dtype": np.float16}])
@pytest.mark.parametrize(("shape", "size", "multiple", "padded"), PADDED)
def test_padding_to_a_multiple_is_the_middle_of_padding_to_all(
    shape: Any, size: Any, multiple: int, padded: Any, options: Any
) -> None:
    image = picture(shape)
    whole, at = ops.letterbox(image, size, **options)
    result, placement = ops.letterbox(image, size, pad_multiple=multiple, **options)
    assert result.shape[1:] == padded == padded_size(*shape, size, multiple)
    assert result.dtype == whole.dtype
    assert (placement.scale_y, placement.scale_x) == (at.scale_y, at.scale_x)
    _, high, wide = place(*shape, size)
    top, left = ((padded[0] - high) // 2, (padded[1] - wide) // 2) if "center" in options else (0, 0)
    assert (placement.top, placement.left) == (top, left)
    y, x = int(at.top) - top, int(at.left) - left
    np.testing.assert_array_equal(result, whole[:, y : y + padded[0], x : x + padded[1]])


@pytest.mark.parametrize("swap", [False, True])
def test_normalises_and_orders_channels(swap: bool) -> None:
    image, mean, std = picture((40, 30)), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    result, _ = ops.letterbox(image, (64, 64), fill=7, mean=mean, std=std, swap_channels=swap)
    expected = np.full((64, 64, 3), 7.0)
    expected[:, :48] = bilinear(image, (64, 48))[..., :: -1 if swap else 1]
    np.testing.assert_allclose(result, ((expected - mean) / std).transpose(2, 0, 1), atol=1e-4)


def test_untouched_size_keeps_the_grey_levels() -> None:
    image = picture((32, 48))
    np.testing.assert_array_equal(ops.letterbox(image, (32, 48))[0], image.transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"), [((480, 640), (416, 416)), ((90, 40), (416, 320)), ((1000, 333), (256, 256))]
)
def test_placement_leads_from_the_picture_to_the_input_and_back(shape: Any, size: Any, center: bool) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    y1, x1, y2, x2 = shape[0] // 4, shape[1] // 8, shape[0] // 2, shape[1] // 2
    image[y1:y2, x1:x2] = 255
    result, (scale_y, scale_x, top, left) = ops.letterbox(image, size, fill=0, center=center)
    rows, columns = np.nonzero(result[0] > 127)
    found = (rows.min() - top) / scale_y, (columns.min() - left) / scale_x
    ends = (rows.max() + 1 - top) / scale_y, (columns.max() + 1 - left) / scale_x
    pixel = max(1 / scale_y, 1.0)  # of the coarser of the two
    np.testing.assert_allclose([*found, *ends], [y1, x1, y2, x2], atol=0.51 * pixel + 0.01)


def test_place_always_fits_and_keeps_the_ratio() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        height, width = (int(side) for side in 10 ** rng.uniform(0, 5, 2))
        size = tuple(int(side) for side in rng.integers(1, 1300, 2))
        placement, new_height, new_width = place(height, width, size, center=True)
        assert 1 <= new_height <= size[0]
        assert 1 <= new_width <= size[1]
        assert new_height == size[0] or new_width == size[1]  # it fills one side
        ratio = min(size[0] / height, size[1] / width)
        assert abs(new_height - max(1, height * ratio)) <= 0.5
        assert abs(new_width - max(1, width * ratio)) <= 0.5
        assert placement.top in (0, (size[0] - new_height) // 2)
        assert 0 <= placement.left <= size[1] - new_width


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[..., ::-1],  # RGB seen as BGR
        lambda a: a[3:20:2, 5:30],
        np.asfortranarray,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.frombuffer(a.tobytes(), np.uint8).reshape(a.shape),  # read-only
    ],
)
def test_reads_any_layout(view: Any) -> None:
    image = view(picture((24, 36)))
    expected = ops.letterbox(np.array(image, order="C"), (32, 32))[0]
    np.testing.assert_array_equal(ops.letterbox(image, (32, 32))[0], expected)


def test_writes_all_of_out_and_nothing_else() -> None:
    batch = np.full((3, 3, 32, 32), np.nan, np.float32)
    image = picture((20, 30))
    result, _ = ops.letterbox(image, (32, 32), out=batch[1], center=True)
    assert np.shares_memory(result, batch)
    np.testing.assert_array_equal(batch[1], ops.letterbox(image, (32, 32), center=True)[0])
    assert np.isnan(batch[[0, 2]]).all()


# Besides those: 3:1, 2:1 (which OpenCV averages), 1:2, 1:3, one axis as it is, and sizes that share no divisor.
EXACT = [
    *((shape, resized) for shape, _, resized in SIZES), ((300, 450), (100, 150)), ((34, 62), (17, 31)),
    ((31, 17), (62, 34)), ((31, 17), (93, 51)), ((64, 50), (64, 25)), ((1044, 1856), (360, 640)),
    ((97, 1009), (89, 1013)), ((2, 2), (1, 1)), ((3, 3), (1, 1)), ((1, 2), (1, 97)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "resized"), EXACT)
def test_exact_is_opencv_to_the_last_bit(shape: tuple[int, int], resized: tuple[int, int]) -> None:
    """For this OpenCV. A picture of its greatest and least grey levels makes roundings show."""
    rng = np.random.default_rng(1)
    for image in (picture(shape), rng.choice(np.array([0, 1, 254, 255], np.uint8), (*shape, 3))):
        result, placement = ops.letterbox(image, resized, exact=True)
        inside = result.transpose(1, 2, 0)[: round(shape[0] * placement.scale_y), : round(shape[1] * placement.scale_x)]
        opencv = cv2.resize(image, inside.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(inside, opencv)


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    seed=st.integers(0, 9),
)
def test_any_size_is_exact_or_within_a_grey_level(shape: Any, size: Any, seed: int) -> None:
    image = picture(shape, seed)
    _, high, wide = place(*shape, size)
    opencv = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
    np.testing.assert_array_equal(ops.letterbox(image, size, exact=True)[0][:, :high, :wide], opencv)
    assert np.abs(ops.letterbox(image, size)[0][:, :high, :wide] - opencv).max() <= 1


def test_exact_normalises_whole_grey_levels() -> None:
    image, mean, std = picture((333, 517)), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    options: dict[str, Any] = {"swap_channels": True, "center": True, "exact": True}
    grey, _ = ops.letterbox(image, (96, 160), **options)
    assert (grey == np.round(grey)).all()
    result, _ = ops.letterbox(image, (96, 160), mean=mean, std=std, **options)
    expected = (grey - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_float16_is_the_float32_rounded(exact: bool, center: bool) -> None:
    image, options = picture((30, 50)), {"mean": (1, 2, 3), "std": (50, 60, 1e-4), "exact": exact, "center": center}
    whole, placement = ops.letterbox(image, (64, 64), **options)
    half, same = ops.letterbox(image, (64, 64), dtype=np.float16, **options)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half, whole.astype(np.float16))
    assert (half.dtype, same) == (np.float16, placement)
    assert np.isinf(half).any()
    held = np.full((3, 64, 64), -7.0, np.float16)
    ops.letterbox(image, (64, 64), dtype=np.float16, border=False, out=held, **options)
    assert (held == -7).mean() > 0.3
    np.testing.assert_array_equal(held[held != -7], half[held != -7])
    batch, _ = ops.letterbox_batch([image, image], (64, 64), dtype=np.float16, **options)
    np.testing.assert_array_equal(batch, [half, half])


@pytest.mark.parametrize("kernels", [(_serial, _parallel), (_exact_serial, _exact_parallel)])
@pytest.mark.parametrize("shape", [(33, 47), (480, 641), (1, 1), (16, 999)])
def test_serial_and_parallel_are_equal_to_the_bit(shape: Any, kernels: Any) -> None:
    image, size = picture(shape), (417, 415)
    placement, new_height, new_width = place(*shape, size, center=True)
    results = []
    serial, parallel = kernels
    for run, parts in ((serial, 1), (parallel, 2), (parallel, 7)):
        out = np.empty((3, *size), np.float32)
        gain, shift, fill = (np.array(v, np.float32) for v in ((0.017, 0.018, 0.019), (-2.1, -2, -1.8), (1, 2, 3)))
        where = new_height, new_width, placement.top, placement.left
        run(image, out, *where, np.arange(3), gain, shift, fill, True, parts)
        results.append(out)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("center", [False, True])
def test_without_its_border_the_rest_of_the_buffer_stays(center: bool) -> None:
    image = np.maximum(picture((30, 50)), 1)  # so that 0 is beside it only
    held = np.full((3, 64, 64), -7.0, np.float32)
    whole, placement = ops.letterbox(image, (64, 64), center=center, fill=0)
    again, same = ops.letterbox(image, (64, 64), center=center, fill=0, border=False, out=held)
    assert again is held
    assert same == placement
    beside = whole == 0
    assert beside.mean() > 0.3
    np.testing.assert_array_equal(held[beside], -7.0)
    np.testing.assert_array_equal(held[~beside], whole[~beside])


def test_a_border_can_only_be_kept_where_there_is_one() -> None:
    with pytest.raises(ValueError, match="border: False needs out"):
        ops.letterbox(picture((30, 50)), (64, 64), border=False)


IMAGE = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "size", "options", "error", "message"),
    [
        (
            IMAGE.astype(np.float32),
            (8, 8),
            {},
            TypeError,
            "image: expected a uint8 array of shape [H, W, 3], got float32",
        ),
        (
            IMAGE[..., 0],
            (8, 8),
            {},
            ValueError,
            "image: expected a uint8 array of shape [H, W, 3], got uint8 array of sh",
        ),
        (np.zeros((4, 5, 4), np.uint8), (8, 8), {}, ValueError, "shape (4, 5, 4)"),
        (np.zeros((3, 40, 50), np.uint8), (8, 8), {}, ValueError, "shape (3, 40, 50)"),  # channels first
        (
            np.zeros((0, 5, 3), np.uint8),
            (8, 8),
            {},
            ValueError,
            "image: expected at least one pixel, got shape (0, 5, 3)",
        ),
        (
            np.zeros((5, 0, 3), np.uint8),
            (8, 8),
            {},
            ValueError,
            "image: expected at least one pixel, got shape (5, 0, 3)",
        ),
        (IMAGE, (0, 8), {}, ValueError, "size: expected a positive (height, width), got (0, 8)"),
        (IMAGE, (8, -1), {}, ValueError, "size: expected a positive (height, width), got (8, -1)"),
        (IMAGE, (8, 8), {"pad_multiple": 0}, ValueError, "pad_multiple: expected at least 1, got 0"),
        (
            IMAGE,
            (8, 8),
            {"pad_multiple": 7, "out": np.zeros((3, 8, 8), np.float32)},
            ValueError,
            "float32 array of shape (3, 7, 8), got",
        ),
        (IMAGE, (8, 8), {"dtype": "float64"}, TypeError, "dtype: expected float32 or float16, got float64"),
        (IMAGE, (8, 8), {"fill": 256}, ValueError, "fill: expected a grey level from 0 to 255, got 256"),
        (IMAGE, (8, 8), {"std": (1, 0, 1)}, ValueError, "std positive, got (0.0, 0.0, 0.0) and (1, 0, 1)"),
        (IMAGE, (8, 8), {"std": (1, np.nan, 1)}, ValueError, "mean, std: expected three finite numbers each"),
        (IMAGE, (8, 8), {"mean": (np.inf, 0, 0)}, ValueError, "mean, std: expected three finite numbers each"),
        (IMAGE, (8, 8), {"mean": (0, 0)}, ValueError, "mean, std: expected three finite numbers each"),
        (IMAGE, (8, 8), {"out": np.zeros((3, 8, 9), np.float32)}, ValueError, "float32 array of shape (3, 8, 8), got"),
        (
            IMAGE,
            (8, 8),
            {"out": np.zeros((3, 8, 8))},
            ValueError,
            "out: expected a writable C-contiguous float32 array",
        ),
    ],
)
def test_refuses(image: Any, size: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.letterbox(image, size, **options)
    assert message in str(caught.value)


def test_a_batch_is_its_pictures() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((7, 9), (1, 1), (40, 12))]
    options: dict[str, Any] = {"fill": 9, "mean": (1, 2, 3), "std": (4, 5, 6), "swap_channels": True, "center": True}
    out = np.empty((3, 3, 16, 20), np.float32)
    batch, placements = ops.letterbox_batch(pictures, (16, 20), out=out, **options)
    assert batch is out
    for i, picture in enumerate(pictures):
        alone, placement = ops.letterbox(picture, (16, 20), **options)
        np.testing.assert_array_equal(batch[i], alone)
        assert placements[i] == placement
    assert ops.letterbox_batch([], (4, 5))[0].shape == (0, 3, 4, 5)


def test_a_batch_names_the_picture_at_fault() -> None:
    good = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(
        ValueError, match=r"images\[1\]: expected a uint8 array of shape \[H, W, 3\], got uint8 array of"
    ):
        ops.letterbox_batch([good, good[0]], (4, 4))
    with pytest.raises(ValueError, match=r"images\[1\]: expected at least one pixel"):
        ops.letterbox_batch([good, good[:0]], (4, 4))
