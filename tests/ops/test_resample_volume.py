"""resample_volume against weight matrices in float64, and scipy.ndimage.zoom where both mean the same."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import ops

MODULE = sys.modules["ops.resample_volume"]
inner = ops.resample_volume


def weights(count: int, size: int, ratio: float) -> np.ndarray:
    """How much each of ``size`` voxels of an axis counts in each of ``count`` new ones."""
    at = ((np.arange(count) + 0.5) * ratio - 0.5).clip(0, size - 1)
    tent: np.ndarray = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))
    return tent


def reference(volume: np.ndarray, spacing: Any, new_spacing: Any, shape: Any) -> np.ndarray:
    ratios = np.divide(new_spacing, spacing)
    matrices = [weights(n, m, ratio) for n, m, ratio in zip(shape, volume.shape, ratios, strict=True)]
    return np.einsum("ai,bj,ck,ijk->abc", *matrices, volume.astype(np.float64), optimize=True)


def check(volume: np.ndarray, spacing: Any, new_spacing: Any, shape: Any = None) -> np.ndarray:
    found = inner(volume, spacing, new_spacing, shape=shape)
    extent = np.multiply(volume.shape, spacing) / new_spacing
    assert shape is not None or np.all(np.abs(found.shape - np.maximum(extent, 1)) <= 0.5 + 1e-9)
    assert found.dtype == volume.dtype
    wanted = reference(volume, spacing, new_spacing, found.shape)
    scale = np.abs(volume.astype(np.float64)).max()
    rounding = 0.0 if volume.dtype == np.float32 else 0.5
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rounding + 1e-6 * max(scale, 1e-30))
    return found


def drawn(shape: tuple[int, ...], dtype: Any = np.int16, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(-300, 600, shape)
    return (values.clip(0, 255) if dtype == np.uint8 else values).astype(dtype)


CASES = [
    ((1, 1, 1), (1, 1, 1), (3, 2, 0.2)),
    ((5, 6, 7), (1, 1, 1), (3, 3, 3)),
    ((9, 12, 15), (1, 1, 1), (3, 3, 3)),  # exactly 3 to 1: the middle voxel alone
    ((8, 11, 13), (1.25, 0.7, 0.7), (1.5, 1.5, 1.5)),
    ((8, 11, 13), (5, 0.7, 0.7), (1, 1, 1)),
    ((3, 1, 17), (2.5, 1, 0.6), (0.7, 4, 1)),
    ((2, 33, 65), (1, 1, 1), (1, 0.31, 2.9)),
    ((1, 4, 4097), (1, 1, 1), (1, 1, 1.7)),
    ((4, 4, 4), (1, 1, 1), (100, 100, 100)),
]


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
@pytest.mark.parametrize(("shape", "spacing", "new_spacing"), CASES)
def test_spacings(shape: Any, spacing: Any, new_spacing: Any, dtype: Any) -> None:
    check(drawn(shape, dtype), spacing, new_spacing)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_any_volume(data: st.DataObject) -> None:
    sides, millimetres = st.integers(1, 9), st.floats(0.1, 10)
    shape = data.draw(st.tuples(sides, sides, sides))
    have, want = (data.draw(st.tuples(millimetres, millimetres, millimetres)) for _ in range(2))
    wanted = data.draw(st.none() | st.tuples(sides, sides, sides))
    extent = np.multiply(shape, have) / want
    if wanted is None and extent.max() > 60:
        wanted = (5, 6, 7)
    dtype = data.draw(st.sampled_from([np.int16, np.uint8, np.float32]))
    check(drawn(shape, dtype, data.draw(st.integers(0, 99))), have, want, wanted)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(("shape", "new_shape"), [((6, 9, 10), (4, 6, 5)), ((5, 7, 4), (10, 21, 16))])
def test_is_scipys_zoom_where_the_extents_are_equal(shape: Any, new_shape: Any, dtype: Any) -> None:
    volume = drawn(shape, dtype)
    found = inner(volume, np.divide(1, shape), np.divide(1, new_shape))
    wanted = ndimage.zoom(
        volume.astype(np.float64), np.divide(new_shape, shape), order=1, grid_mode=True, mode="nearest"
    )
    assert found.shape == new_shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3 if dtype == np.float32 else 0.501)


def test_halves_are_rounded_to_even() -> None:
    volume = np.array([-3, 0, 1, 2, 3, -2], np.int16).reshape(1, 1, 6)
    found = inner(volume, (1, 1, 1), (1, 1, 2))
    assert found.tolist() == [[[-2, 2, 0]]]  # -1.5, 1.5, 0.5


def test_extremes_do_not_wrap_around() -> None:
    volume = np.tile(np.array([-32768, 32767], np.int16), (3, 3, 4))
    found = inner(volume, (1, 1, 1), (0.37, 0.41, 0.29))
    assert (found.min(), found.max()) == (-32768, 32767)
    check(volume, (1, 1, 1), (0.37, 0.41, 0.29))


def test_what_is_not_finite_spreads_where_it_counts_and_no_further() -> None:
    volume = drawn((4, 5, 6), np.float32)
    volume[1, 2, 3], volume[3, 4, 5], volume[0, 0, 0] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(inner(volume, (1, 1, 1), (1, 1, 1)), volume)  # the same spacing: the same bits
    spacing, shape = (0.8, 0.8, 0.8), (5, 6, 8)
    bad = reference((~np.isfinite(volume)).astype(float), (1, 1, 1), spacing, shape)
    found = inner(volume, (1, 1, 1), spacing)
    np.testing.assert_array_equal(~np.isfinite(found), bad > 0)
    wanted = reference(np.where(np.isfinite(volume), volume, 0), (1, 1, 1), spacing, shape)
    np.testing.assert_allclose(found[bad == 0], wanted[bad == 0], atol=2e-3)


def test_there_and_back_fits_when_the_shape_is_given() -> None:
    volume = drawn((7, 13, 9))
    coarse = inner(volume, (1, 0.7, 0.7), (1.5, 1.5, 1.5))
    assert inner(coarse, (1.5, 1.5, 1.5), (1, 0.7, 0.7), shape=volume.shape).shape == volume.shape


def test_reads_views_and_read_only_arrays_and_writes_into_out() -> None:
    volume = np.asfortranarray(drawn((9, 14, 11)))[::2, ::-1, 1:]
    volume.flags.writeable = False
    found = check(volume, (2, 1, 1), (1, 1.3, 1.7))
    out = np.empty_like(found)
    assert inner(volume, (2, 1, 1), (1, 1.3, 1.7), out=out) is out
    np.testing.assert_array_equal(out, found)


@pytest.mark.parametrize("lanes", [1, 2, 3, 50])
def test_any_number_of_threads(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = drawn((6, 7, 30))
    wanted = check(volume, (1, 1, 1), (0.7, 0.6, 0.9))
    monkeypatch.setattr(MODULE, "lanes_for", lambda *_: lanes)
    np.testing.assert_array_equal(inner(volume, (1, 1, 1), (0.7, 0.6, 0.9)), wanted)


def test_eight_threads_at_once() -> None:
    volumes = [drawn((5, 6, 7), seed=seed) for seed in range(32)]
    wanted = [inner(volume, (1, 1, 1), (0.7, 0.7, 0.7)) for volume in volumes]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(
            pool.map(lambda v: inner(v, (1, 1, 1), (0.7, 0.7, 0.7)), volumes), wanted, strict=True
        ):
            np.testing.assert_array_equal(found, expected)


V = np.zeros((2, 3, 4), np.int16)
REFUSED: list[tuple[Any, Any, Any, dict[str, Any], type[Exception], str]] = [
    (V.astype(float), (1, 1, 1), (1, 1, 1), {}, TypeError,
     "volume: expected int16 or uint8 or float32, got float64 array of shape (2, 3, 4); convert it first"),
    (V[0], (1, 1, 1), (1, 1, 1), {}, ValueError,
     "volume: expected shape [D, H, W] with at least one voxel, got int16 array of shape (3, 4)"),
    (V[:0], (1, 1, 1), (1, 1, 1), {}, ValueError, "volume: expected shape [D, H, W] with at least one voxel, got"),
    (V, (1, 1), (1, 1, 1), {}, ValueError, "spacing: expected (z, y, x) in mm, finite and above 0, got (1, 1)"),
    (V, (1, 1, 0), (1, 1, 1), {}, ValueError, "spacing: expected (z, y, x) in mm, finite and above 0, got (1, 1, 0)"),
    (V, (1, 1, 1), (1, np.nan, 1), {}, ValueError, "new_spacing: expected (z, y, x) in mm, finite and above 0, got"),
    (V, (1, 1, 1), 1.5, {}, ValueError, "new_spacing: expected (z, y, x) in mm, finite and above 0, got 1.5"),
    (V, (1, 1, 1), (1, 1, 1), {"shape": (2, 0, 2)}, ValueError, "shape: expected 3 numbers above 0, got (2, 0, 2)"),
    (V, (1, 1, 1), (1, 1, 1), {"out": np.zeros((2, 3, 5), np.int16)}, ValueError,
     "out: expected a writable C-contiguous int16 array of shape (2, 3, 4), got int16 array of shape (2, 3, 5)"),
    (V, (1, 1, 1), (1, 1, 1), {"out": V}, ValueError, "out: expected memory of its own, got that of the volume"),
]  # fmt: skip


@pytest.mark.parametrize(("volume", "spacing", "new_spacing", "options", "error", "message"), REFUSED)
def test_refuses(
    volume: Any, spacing: Any, new_spacing: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        ops.resample_volume(volume, spacing, new_spacing, **options)
    assert message in str(caught.value)
