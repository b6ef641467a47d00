"""float16 by bits against NumPy's own conversion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ops._half import float_dtype, to_half

HALVES = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32).view(np.uint32)
# Beside each float16, and beside the middle between it and the next.
STEPS = np.array([-1, 0, 1, 0x0FFF, 0x1000, 0x1001], np.int64).astype(np.uint32)


def agree(values: NDArray[np.float32]) -> None:
    found = np.empty((1, 1, values.size), np.float16)
    to_half(values.reshape(1, 1, -1), found)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype(np.float16)
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found.ravel()), nan)
    np.testing.assert_array_equal(found.ravel().view(np.uint16)[~nan], expected.view(np.uint16)[~nan])


def test_beside_every_half() -> None:
    agree((HALVES[:, None] + STEPS).ravel().view(np.float32))


def test_any_bits() -> None:
    agree(np.random.default_rng(0).integers(0, 2**32, 200_000, np.uint32).view(np.float32))


def test_a_region_leaves_the_rest() -> None:
    values = np.random.default_rng(0).normal(size=(2, 6, 9)).astype(np.float32)
    found = np.full(values.shape, -7, np.float16)
    to_half(values, found, (1, 2, 4, 7))
    expected = np.full(values.shape, -7, np.float16)
    expected[:, 1:4, 2:7] = values[:, 1:4, 2:7].astype(np.float16)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, "int32"])
def test_other_dtypes_are_refused(dtype: object) -> None:
    with pytest.raises(TypeError, match="dtype: expected float32 or float16, got "):
        float_dtype(dtype)
