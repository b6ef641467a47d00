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
        ("kind", "stretch"),
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
