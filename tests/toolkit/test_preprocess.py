"""The one preprocessing: what the specification accepts, and that ``apply`` does what it says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.preprocess import Preprocessing

# value in the input = (grey level - mean) / std, per channel in the order of `color`
NORMALISATION = [
    ("rgb", (0, 0, 0), (1, 1, 1), (200, 60, 40)),
    ("bgr", (0, 0, 0), (1, 1, 1), (40, 60, 200)),
    ("rgb", (100, 10, 40), (50, 50, 10), (2, 1, 0)),
    ("bgr", (100, 10, 40), (50, 50, 10), (-1.2, 1, 16)),
]


@pytest.mark.parametrize(("color", "mean", "std", "expected"), NORMALISATION)
def test_apply_orders_and_normalises(
    color: str, mean: tuple[int, ...], std: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    preprocessing = Preprocessing(input_size=(32, 64), color=color, mean=mean, std=std)
    picture = np.full((32, 64, 3), (200, 60, 40), np.uint8)
    result, placement = preprocessing.apply(picture)
    assert (result.shape, result.dtype) == ((3, 32, 64), np.float32)
    np.testing.assert_allclose(result, np.broadcast_to(np.reshape(expected, (3, 1, 1)), result.shape), atol=1e-5)
    assert tuple(placement) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("center", "inside"),
    [
        (False, (slice(0, 16), slice(0, 32))),
        (True, (slice(8, 24), slice(0, 32))),
    ],  # half as high as wide: fits the width
)
def test_apply_pads_with_the_normalised_fill(center: bool, inside: tuple[slice, slice]) -> None:
    preprocessing = Preprocessing(input_size=(32, 32), fill=110, mean=(10, 10, 10), std=(2, 2, 2), center=center)
    result, placement = preprocessing.apply(np.full((64, 128, 3), 250, np.uint8))
    expected = np.full((3, 32, 32), 50, np.float32)
    expected[:, inside[0], inside[1]] = 120
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert tuple(placement) == (0.25, 0.25, inside[0].start, 0)


def test_apply_writes_into_out() -> None:
    out = np.zeros((2, 3, 32, 32), np.float32)
    result, _ = Preprocessing(input_size=(32, 32)).apply(np.full((10, 10, 3), 7, np.uint8), out=out[1])
    assert np.shares_memory(result, out)
    assert (out[1] == 7).all()
    assert not out[0].any()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "squeeze"),
        ("input_size", [416]),
        ("input_size", [0, 416]),
        ("input_size", ["416", 416]),
        ("color", "BGR"),
        ("fill", 256),
        ("fill", 114.5),
        ("mean", [0, 0]),
        ("mean", [0, 0, -1]),
        ("std", [1, 0, 1]),
        ("center", "no"),
        ("resize", True),
    ],
)
def test_wrong_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Preprocessing.model_validate_json(json.dumps({"input_size": [416, 416], key: value}))
    assert caught.value.errors()[0]["loc"][0] == key


def test_json_gives_an_equal_specification_back() -> None:
    preprocessing = Preprocessing(input_size=(416, 320), color="rgb", mean=(1, 2, 3), center=True)
    assert Preprocessing.model_validate_json(preprocessing.model_dump_json()) == preprocessing


def quadrants(height: int, width: int) -> np.ndarray:
    """Grey levels 40 and 80 above, 120 and 160 below: tells which part of the picture lies where."""
    picture = np.zeros((height, width, 3), np.uint8)
    for index, (rows, columns) in enumerate(
        (slice(row * height // 2, (row + 1) * height // 2), slice(column * width // 2, (column + 1) * width // 2))
        for row in (0, 1)
        for column in (0, 1)
    ):
        picture[rows, columns] = 40 * (index + 1)
    return picture


@pytest.mark.parametrize(
    ("kind", "size", "scales", "corner"),
    [
        # the whole picture, whatever its shape
        ("stretch", (32, 32), (0.5, 0.25), (0, 0)),
        ("stretch", (128, 64), (2, 0.5), (0, 0)),
        # the middle 64x64 of 64x128: 32 columns are cut off on both sides
        ("crop", (32, 32), (0.5, 0.5), (0, -16)),
        ("crop", (64, 64), (1, 1), (0, -32)),
    ],
)
def test_stretch_and_crop(
    kind: str, size: tuple[int, int], scales: tuple[float, float], corner: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(kind=kind, input_size=size)
    result, placement = preprocessing.apply(quadrants(64, 128))
    assert result.shape == (3, *size)
    np.testing.assert_allclose(placement, (*scales, *corner), atol=1e-9)
    # Each quarter of the input shows one quarter of the picture, or of its middle.
    quarters = result[0, :: size[0] - 1, :: size[1] - 1]
    np.testing.assert_allclose(quarters, [[40, 80], [120, 160]], atol=1e-3)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", ["letterbox", "stretch", "crop"])
def test_a_picture_normalised_by_its_own_levels(kind: str, color: str) -> None:
    """Brightness and contrast of a channel make no difference, nor does its order among the channels."""
    random = np.random.default_rng(0)
    base = random.integers(60, 100, (32, 32, 3)).astype(np.float64)
    preprocessing = Preprocessing(kind=kind, input_size=(32, 32), color=color, normalize="picture")
    first, _ = preprocessing.apply(base.astype(np.uint8))
    other, _ = preprocessing.apply((base * (2, 1, 2) + (10, 40, -60)).astype(np.uint8))
    np.testing.assert_allclose(first, other, atol=1e-4)
    np.testing.assert_allclose(first.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(first.std((1, 2)), 1, atol=1e-5)


def test_a_picture_of_one_grey_level_is_not_divided_by_nothing() -> None:
    result, _ = Preprocessing(input_size=(32, 32), normalize="picture").apply(np.full((32, 32, 3), 77, np.uint8))
    np.testing.assert_array_equal(result, 0)


@pytest.mark.parametrize(
    ("options", "one", "other", "equal"),
    [
        ({}, (30, 40), (30, 40), True),
        ({}, (30, 40), (40, 30), False),
        ({"center": True}, (30, 40), (30, 40), True),
        ({"normalize": "picture"}, (30, 40), (30, 40), None),  # the fill follows the picture's own levels
        ({"kind": "stretch"}, (30, 40), (30, 40), None),  # there is nothing beside it
        ({"pad_multiple": 8, "center": True}, (30, 40), (30, 40), True),
    ],
)
def test_what_decides_the_area_beside_a_picture(
    options: dict[str, object], one: tuple[int, int], other: tuple[int, int], equal: bool | None
) -> None:
    preprocessing = Preprocessing(input_size=(32, 32), **options)  # type: ignore[arg-type]
    first, second = preprocessing.border_of(*one), preprocessing.border_of(*other)
    if equal is None:
        assert first is second is None
    else:
        assert (first == second) is equal


@pytest.mark.parametrize(
    ("options", "picture", "size"),
    [
        ({}, (30, 60), (64, 96)),
        ({"pad_multiple": 32}, (30, 60), (64, 96)),  # 48 rows
        ({"pad_multiple": 32}, (30, 100), (32, 96)),  # 29 rows
        ({"pad_multiple": 32, "center": True}, (100, 30), (64, 32)),
        ({"pad_multiple": 64}, (30, 100), (64, 96)),
    ],
)
def test_the_size_that_a_picture_is_padded_to(
    options: dict[str, object], picture: tuple[int, int], size: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(input_size=(64, 96), mean=(9, 8, 7), **options)  # type: ignore[arg-type]
    assert preprocessing.size_for(*picture) == size
    image = np.random.default_rng(0).integers(0, 256, (*picture, 3), np.uint8)
    result, placement = preprocessing.apply(image)
    assert result.shape == (3, *size)
    whole, at = preprocessing.model_copy(update={"pad_multiple": None}).apply(image)
    y, x = int(at.top - placement.top), int(at.left - placement.left)
    np.testing.assert_array_equal(result, whole[:, y : y + size[0], x : x + size[1]])


@pytest.mark.parametrize("kind", ["stretch", "crop"])
def test_only_a_letterbox_is_padded(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"pad_multiple is for kind 'letterbox', not for '{kind}'"):
        Preprocessing(input_size=(64, 64), kind=kind, pad_multiple=32)  # type: ignore[arg-type]
