"""The twins of confusion_matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize(("classes", "shape"), [(1, (5,)), (3, (7, 50)), (60, (40,)), (4, (0, 3))])
def test_counts(twin: Any, dtype: Any, classes: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    truth, predicted = (np.sort(rng.integers(0, classes, shape)).astype(dtype) for _ in range(2))
    twin.check(ops.confusion_matrix, truth, predicted, classes, moves=16)
    twin.check(ops.confusion_matrix, truth, predicted, classes, ignore=0, moves=16)


REFUSED: list[tuple[Any, Any, Any, type[Exception], str]] = [
    ([0, 1, 5, -1], [0, 9, 0, 0], None, ValueError, "truth: expected class ids 0..2, got 5"),
    ([0, 5, 1], [0, 7, 7], 5, ValueError, "predicted: expected class ids 0..2, got 7"),
    ([0, -1], [0, 0], 9, ValueError, "truth: expected class ids 0..2 (or 9, which is not counted), got -1"),
    ([0, 0], [0], None, ValueError, "expected equal shapes, got truth (2,) and predicted (1,)"),
]


@pytest.mark.parametrize(("truth", "predicted", "ignore", "error", "message"), REFUSED)
def test_refuses(twin: Any, truth: Any, predicted: Any, ignore: Any, error: type[Exception], message: str) -> None:
    a, b = np.array(truth, np.int64), np.array(predicted, np.int64)
    for arrays in ((a, b), (twin.send(a), twin.send(b))):
        with pytest.raises(error) as caught:
            ops.confusion_matrix(*arrays, 3, ignore=ignore)
        assert str(caught.value) == message


def test_refuses_types(twin: Any) -> None:
    ids = np.zeros(3, np.int64)
    with pytest.raises(TypeError, match="truth: expected uint8 or int32 or int64, got float64 device array of shape"):
        ops.confusion_matrix(twin.send(ids.astype(float)), twin.send(ids), 3)
    with pytest.raises(TypeError, match="predicted: expected int64 as truth has, got uint8"):
        ops.confusion_matrix(twin.send(ids), twin.send(ids.astype(np.uint8)), 3)
