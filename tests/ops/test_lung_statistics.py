"""lung_statistics against numpy.histogram and means, label by label."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops

MODULE = sys.modules["ops.lung_statistics"]
SPACING = 1.25, 0.7, 0.71


def check(volume: np.ndarray, labels: np.ndarray, count: int, edges: Any) -> ops.LungStatistics:
    found = ops.lung_statistics(volume, labels, SPACING, count, edges)
    for label in range(1, count + 1):
        values = volume[labels == label].astype(np.float64)
        assert found.voxels[label - 1] == values.size
        np.testing.assert_allclose(found.volumes_ml[label - 1], values.size * 1.25 * 0.7 * 0.71 / 1000, rtol=1e-14)
        np.testing.assert_allclose(found.means_hu[label - 1], values.mean() if values.size else np.nan, rtol=1e-12)
        np.testing.assert_array_equal(found.histograms[label - 1], np.histogram(values, edges)[0])
    assert found.histograms.shape == (count, len(edges) - 1)
    assert [a.dtype for a in found] == [np.int64, np.float64, np.float64, np.int64]
    return found


def drawn(shape: tuple[int, ...], count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    volume = rng.normal(-600, 300, shape).astype(np.int16)
    labels = rng.integers(0, count + 1, shape).astype(np.uint8)
    labels[: shape[0] // 2] = 0
    return volume, labels


EDGES: dict[str, Any] = {
    "every 10 HU": range(-1024, 201, 10),
    "every HU": range(-1024, 1025),
    "one bin": (-950, -700),
    "uneven": (-1000, -950, -856.5, -700, -699, 100.25),
    "all there are": (-32768, 0, 32767),
    "beyond": (-1e9, -500.0, 1e9),
    "none there": (20000, 20001),
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (4, 17, 67), (0, 3, 4), (3, 1, 64)])
def test_edges(name: str, shape: tuple[int, ...]) -> None:
    for count in (1, 3, 255):
        check(*drawn(shape, count), count, EDGES[name])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 30)),
    st.integers(1, 255),
    st.integers(0, 99),
    st.lists(st.integers(-1100, 300) | st.floats(-1e4, 1e4), min_size=2, max_size=9, unique=True).map(sorted),
)
def test_any_volume(shape: Any, count: int, seed: int, edges: list[float]) -> None:
    check(*drawn(shape, count, seed), count, edges)


def test_the_edges_own_values() -> None:
    volume = np.array([[[-950, -900, -899, -850, -849, -951]]], np.int16)
    found = check(volume, np.ones_like(volume, np.uint8), 1, [-950, -900, -850])
    assert found.histograms.tolist() == [[1, 3]]  # the last bin has its upper edge
    assert found.voxels.tolist() == [6]


def test_extreme_values_and_the_last_label() -> None:
    volume = np.array([[[-32768, 32767, 32767]]], np.int16)
    found = check(volume, np.array([[[255, 255, 1]]], np.uint8), 255, [-40000, 0, 40000])
    assert found.means_hu[[0, 254]].tolist() == [32767, -0.5]
    assert np.isnan(found.means_hu[1])


def test_reads_views_and_read_only_arrays() -> None:
    volume, labels = drawn((8, 20, 30), 3)
    labels.flags.writeable = False
    check(np.asfortranarray(volume)[::2, ::-1], labels[::2, ::-1], 3, EDGES["uneven"])


@pytest.mark.parametrize("lanes", [2, 3, 500])
def test_any_number_of_threads(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "lanes_for", lambda *_: lanes)
    check(*drawn((4, 17, 67), 3), 3, EDGES["every 10 HU"])


V, L = np.zeros((2, 3, 4), np.int16), np.zeros((2, 3, 4), np.uint8)
REFUSED: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    ((V.astype(np.float32), L, (1, 1, 1), 2, [0, 1]), TypeError,
     "volume: expected a int16 array of shape [D, H, W], got float32 array of shape (2, 3, 4); convert"),
    ((V, L.astype(int), (1, 1, 1), 2, [0, 1]), TypeError, "labels: expected a uint8 array of shape [2, 3, 4], got"),
    ((V, L[:1], (1, 1, 1), 2, [0, 1]), ValueError, "labels: expected a uint8 array of shape [2, 3, 4], got"),
    ((V, L + 7, (1, 1, 1), 2, [0, 1]), ValueError, "labels: expected labels 0..2, got 7"),
    ((V, L + 255, (1, 1, 1), 254, [0, 1]), ValueError, "labels: expected labels 0..254, got 255"),
    ((V, L, (1, 1), 2, [0, 1]), ValueError, "spacing: expected (z, y, x) in mm, finite and above 0, got (1, 1)"),
    ((V, L, (1, 1, 1), 0, [0, 1]), ValueError, "num_labels: expected a whole number from 1 to 255, got 0"),
    ((V, L, (1, 1, 1), 256, [0, 1]), ValueError, "num_labels: expected a whole number from 1 to 255, got 256"),
    ((V, L, (1, 1, 1), 2, [0]), ValueError, "edges: expected 2 to 32768 finite rising numbers in HU, got list [0]"),
    ((V, L, (1, 1, 1), 2, [0, 0]), ValueError, "edges: expected 2 to 32768 finite rising numbers in HU, got list"),
    ((V, L, (1, 1, 1), 2, [0, np.nan]), ValueError, "edges: expected 2 to 32768 finite rising numbers in HU, got list"),
    ((V, L, (1, 1, 1), 2, ["a", "b"]), ValueError, "edges: expected 2 to 32768 finite rising numbers in HU, got list"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.lung_statistics(*arguments)
    assert message in str(caught.value)
