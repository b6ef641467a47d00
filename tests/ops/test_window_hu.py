"""window_hu against DICOM's formula in float64."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ops

MODULE = sys.modules["ops.window_hu"]


def reference(volume: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.2, to 0..1."""
    values = volume.astype(np.float64)
    inside = (values - center) / width + 0.5
    return np.where(values <= center - width / 2, 0.0, np.where(values > center + width / 2, 1.0, inside))


def check(volume: np.ndarray, center: float, width: float) -> None:
    wanted = reference(volume, center, width)
    # As far as float32 can tell HU near the window apart.
    apart = 3e-7 + 2.0**-23 * (abs(center) + width) / width
    found = ops.window_hu(volume, center, width)
    assert (found.dtype, found.shape) == (np.float32, volume.shape)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=apart)
    grey = ops.window_hu(volume, center, width, dtype=np.uint8)
    assert (grey.dtype, grey.shape) == (np.uint8, volume.shape)
    np.testing.assert_allclose(grey, 255 * np.nan_to_num(wanted, nan=0.0), rtol=0, atol=0.5 + 255 * apart)


WINDOWS = [(-600, 1500), (40, 400), (-500.5, 1), (0, 65536), (50, 0.5), (-1024, 2000)]


@pytest.mark.parametrize(("center", "width"), WINDOWS)
def test_every_hu(center: float, width: float) -> None:
    check(np.arange(-(2**15), 2**15).astype(np.int16), center, width)
    check(np.linspace(center - width, center + width, 4097).astype(np.float32), center, width)


SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
FLOATS = st.floats(-4000, 4000, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.int16, SHAPES) | arrays.arrays(np.float32, SHAPES, elements=FLOATS),
    st.floats(-1000, 1000),
    st.floats(1, 4000),
)
def test_any_volume(volume: np.ndarray, center: float, width: float) -> None:
    check(volume, center, width)


def test_what_is_not_finite() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    np.testing.assert_array_equal(ops.window_hu(values, 0, 100), np.array([np.nan, 1, 0, 1, 0], np.float32))
    assert ops.window_hu(values, 0, 100, dtype=np.uint8).tolist() == [0, 255, 0, 255, 0]


def test_the_ends_and_halves() -> None:
    volume = np.array([-101, -100, -99, 0, 99, 100, 101], np.int16)
    assert ops.window_hu(volume, 0, 200)[[0, 1, 3, 5, 6]].tolist() == [0, 0, 0.5, 1, 1]
    steps = np.arange(0, 511).astype(np.int16)  # half a grey level each
    np.testing.assert_array_equal(ops.window_hu(steps, 255, 510, dtype=np.uint8), np.rint(steps / 2))


def test_reads_views_lists_and_read_only_arrays_and_writes_into_out() -> None:
    volume = np.arange(-600, 600).reshape(10, 12, 10).astype(np.int16).transpose(2, 0, 1)[::3, ::-1]
    volume.flags.writeable = False
    check(volume, -100, 700)
    out = np.zeros(volume.shape, np.uint8)
    assert ops.window_hu(volume, 0, 200, dtype=np.uint8, out=out) is out
    np.testing.assert_array_equal(out, ops.window_hu(volume, 0, 200, dtype="uint8"))


@pytest.mark.parametrize("lanes", [2, 3, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_any_number_of_threads(lanes: int, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(0).normal(-400, 500, (5, 7, 11)).astype(np.float32)
    wanted = ops.window_hu(volume, -600, 1500, dtype=dtype)
    monkeypatch.setattr(MODULE, "lanes_for", lambda *_: lanes)
    np.testing.assert_array_equal(ops.window_hu(volume, -600, 1500, dtype=dtype), wanted)


V = np.zeros((2, 3), np.float32)
REFUSED: list[tuple[Any, Any, Any, dict[str, Any], type[Exception], str]] = [
    (V.astype(int), 0, 1, {}, TypeError, "volume: expected int16 or float32, got int64 array of shape (2, 3)"),
    (V.astype(">f4"), 0, 1, {}, TypeError, "volume: expected a float32 array of shape [2, 3], got >f4 array of shape"),
    (V, 0, 0, {}, ValueError, "expected a finite center and a width above 0, got center 0 and width 0"),
    (V, np.nan, 1, {}, ValueError, "expected a finite center and a width above 0, got center nan and width 1"),
    (V, 0, np.inf, {}, ValueError, "expected a finite center and a width above 0, got center 0 and width inf"),
    (V, 0, 1, {"dtype": np.int16}, ValueError, "dtype: expected float32 or uint8, got int16"),
    (V, 0, 1, {"out": V.astype(np.uint8)}, ValueError, "out: expected a writable C-contiguous float32 array of shape"),
    (V, 0, 1, {"out": V}, ValueError, "out: expected memory of its own, got that of the volume"),
]


@pytest.mark.parametrize(("volume", "center", "width", "options", "error", "message"), REFUSED)
def test_refuses(volume: Any, center: Any, width: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.window_hu(volume, center, width, **options)
    assert message in str(caught.value)
