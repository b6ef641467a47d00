"""The sort of COCO's scores, against NumPy's stable argsort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ops._coco_rank import rank
from ops._stable_sort import falling_order


def order(scores: np.ndarray) -> np.ndarray:
    """The rows of one class in the order in which `rank` puts them: `pictures` numbers them."""
    rows, none = np.arange(len(scores), dtype=np.int32), np.zeros((len(scores), 1), np.uint64)
    ranked = rank(np.zeros(len(scores), np.int32), 1, scores, rows, rows, none, none)
    np.testing.assert_array_equal(ranked.scores, scores[ranked.pictures])
    return ranked.pictures


def stable(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.integers(0, 30), elements=st.floats(allow_nan=True)))
def test_any_scores(scores: np.ndarray) -> None:
    np.testing.assert_array_equal(order(scores), stable(scores))


@pytest.mark.parametrize("size", [1, 2, 3, 100, 255, 256, 257, 1000, 4097])
@pytest.mark.parametrize(
    "kind", ["random", "float32", "few values", "one value", "sorted", "rising", "one far off", "neighbours", "mixed"]
)
def test_long_lists(size: int, kind: str) -> None:
    rng = np.random.default_rng(size)
    scores = {
        "random": rng.random(size),
        "float32": rng.random(size).astype(np.float32).astype(np.float64),
        "few values": rng.integers(0, 4, size) / 4,
        "one value": np.full(size, 0.5),
        "sorted": np.sort(rng.random(size))[::-1],
        "rising": np.sort(rng.random(size)),
        # one outlier: the leading bits of the range tell the others not apart
        "one far off": np.where(np.arange(size) == size // 2, 1e300, rng.random(size)),
        "neighbours": 0.5 + rng.integers(0, 7, size) * np.spacing(0.5),
        "mixed": rng.choice([np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, 5e-324], size),
    }[kind]
    np.testing.assert_array_equal(order(scores.copy()), stable(scores))


@settings(deadline=None)
@given(arrays.arrays(np.float32, st.integers(0, 30), elements=st.floats(width=32, allow_nan=True)))
def test_any_float32_scores(scores: np.ndarray) -> None:
    np.testing.assert_array_equal(falling_order(scores), stable(scores))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 4097])
@pytest.mark.parametrize("kind", ["random", "few values", "sorted", "rising", "neighbours", "mixed"])
def test_many_float32_scores(size: int, kind: str) -> None:
    rng = np.random.default_rng(size)
    scores = {
        "random": rng.normal(0, 1, size),
        "few values": rng.integers(0, 4, size) / 4,
        "sorted": np.sort(rng.random(size))[::-1],
        "rising": np.sort(rng.random(size)),
        "neighbours": 0.5 + rng.integers(0, 7, size) * 2.0**-24,
        "mixed": rng.choice([np.nan, -np.nan, -np.inf, np.inf, -0.0, 0.0, 1.0, -1.0, 1e-45], size),
    }[kind].astype(np.float32)
    np.testing.assert_array_equal(falling_order(scores), stable(scores))
