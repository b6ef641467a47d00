"""confusion_matrix against NumPy's bincount and a plain double loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops


def counted(truth: np.ndarray, predicted: np.ndarray, classes: int, ignore: int | None = None) -> np.ndarray:
    """The definition, by NumPy."""
    kept = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    codes = truth[kept].astype(np.int64) * classes + predicted[kept].astype(np.int64)
    return np.bincount(codes.ravel(), minlength=classes * classes).reshape(classes, classes)


def pair(shape: Any, classes: int, dtype: Any, run: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction; ``run`` neighbours are equal, as in masks."""
    size = int(np.prod(shape))
    a, b = np.random.default_rng(size).integers(0, classes, (2, size // run + 1)).repeat(run, 1)[:, :size]
    return a.reshape(shape).astype(dtype), b.reshape(shape).astype(dtype)


SHAPES = [(), (0,), (1,), (31,), (32,), (33,), (2047,), (2048,), (2049,), (100, 100), (5, 6, 7), (3, 2111)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int32, np.uint16])
@pytest.mark.parametrize("run", [1, 7, 32, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_matches_bincount(shape: Any, run: int, dtype: Any) -> None:
    truth, predicted = pair(shape, 5, dtype, run)
    result = ops.confusion_matrix(truth, predicted, 5)
    assert result.shape == (5, 5)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, counted(truth, predicted, 5))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80),
    st.sampled_from([None, -1, 0, 2, 3, 7, 255, 300]),
    st.sampled_from([np.uint8, np.int8, np.int64]),
)
def test_matches_a_double_loop(pairs: Any, ignore: int | None, dtype: Any) -> None:
    wanted = [[0] * 4 for _ in range(4)]
    for t, p in pairs:
        if t != ignore:
            wanted[t][p] += 1
    truth, predicted = np.array(pairs, dtype).reshape(-1, 2).T
    np.testing.assert_array_equal(ops.confusion_matrix(truth, predicted, 4, ignore=ignore), wanted)


@pytest.mark.parametrize("classes", [1, 2, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_any_number_of_classes(classes: int, dtype: Any) -> None:
    truth, predicted = pair((3000,), min(classes, 256) if dtype is np.uint8 else classes, dtype, run=3)
    np.testing.assert_array_equal(ops.confusion_matrix(truth, predicted, classes), counted(truth, predicted, classes))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("run", [1, 64])
def test_ignored_pixels_are_not_counted_whatever_was_predicted_there(dtype: Any, run: int) -> None:
    truth, predicted = pair((70, 90), 4, dtype, run)
    truth[20:40], predicted[20:40] = 255, 99
    result = ops.confusion_matrix(truth, predicted, 4, ignore=255)
    np.testing.assert_array_equal(result, counted(truth, predicted, 4, ignore=255))
    assert result.sum() == 50 * 90
    assert not ops.confusion_matrix(np.full(100, 255, dtype), np.zeros(100, dtype), 4, ignore=255).any()


def test_mixed_types_views_and_lists() -> None:
    truth, predicted = pair((40, 60), 3, np.uint8)
    wanted = counted(truth[::2, ::-3], predicted[::2, ::-3], 3)
    truth.flags.writeable = False
    for other in (np.uint8, np.int64, np.int16, np.uint64, ">i4"):
        view = predicted.astype(other)[::2, ::-3]
        np.testing.assert_array_equal(ops.confusion_matrix(truth[::2, ::-3], view, 3), wanted)
    assert ops.confusion_matrix([0, 1, 1], [0, 0, 1], 2).tolist() == [[1, 0], [1, 1]]


SMALL = np.zeros(40, np.uint8)


def _with(value: int, dtype: Any, at: int = 7) -> np.ndarray:
    array = np.zeros(40, dtype)
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("truth", "predicted", "classes", "ignore", "error", "message"),
    [
        (_with(3, np.uint8), SMALL, 3, None, ValueError, "truth: expected class ids 0..2, got 3"),
        (SMALL, _with(255, np.uint8), 3, 255, ValueError, "predicted: expected class ids 0..2, got 255"),
        (_with(9, np.uint8), SMALL, 3, 255, ValueError, "truth: expected class ids 0..2 (or 255, which is not counted"),
        (SMALL + np.uint8(9), SMALL, 3, None, ValueError, "truth: expected class ids 0..2, got 9"),  # one long run
        (_with(-1, np.int64), SMALL, 3, None, ValueError, "truth: expected class ids 0..2, got -1"),
        (SMALL, _with(-5, np.int8), 3, None, ValueError, "predicted: expected class ids 0..2, got -5"),
        (
            SMALL,
            _with(2**40, np.int64, 39),
            3,
            None,
            ValueError,
            "predicted: expected class ids 0..2, got 1099511627776",
        ),
        (
            _with(-(2**63), np.int64),
            SMALL,
            3,
            None,
            ValueError,
            "truth: expected class ids 0..2, got -9223372036854775",
        ),
        (_with(2**64 - 1, np.uint64), SMALL, 3, -1, ValueError, "which is not counted), got 18446744073709551615"),
        (SMALL, SMALL[:39], 3, None, ValueError, "expected equal shapes, got truth (40,) and predicted (39,)"),
        (SMALL, SMALL[None], 3, None, ValueError, "expected equal shapes, got truth (40,) and predicted (1, 40)"),
        (
            SMALL / 1,
            SMALL,
            3,
            None,
            TypeError,
            "truth: expected an array of integers, got float64 array of shape (40,)",
        ),
        (SMALL, SMALL > 0, 3, None, TypeError, "predicted: expected an array of integers, got bool array of shape (40"),
        (SMALL, SMALL, 0, None, ValueError, "num_classes: expected 1 to 65000, got 0"),
        (SMALL, SMALL, 10**6, None, ValueError, "num_classes: expected 1 to 65000, got 1000000"),
        (SMALL, SMALL, 2.0, None, TypeError, "num_classes: expected a whole number of 64 bits, got float 2.0"),
        (SMALL, SMALL, 2, "void", TypeError, "ignore: expected a whole number of 64 bits, got str 'void'"),
        (SMALL, SMALL, 2, 2**64, TypeError, "ignore: expected a whole number of 64 bits, got int 18446744073709551616"),
    ],
)
def test_refuses(truth: Any, predicted: Any, classes: Any, ignore: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.confusion_matrix(truth, predicted, classes, ignore=ignore)
    assert message in str(caught.value)
