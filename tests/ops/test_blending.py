"""The blends that are written in LLVM's vectors, against their definitions; widths around those of the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from ops._blending import SPARE, blend_columns, blend_rows


@pytest.mark.parametrize("width", [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 23, 41])
@pytest.mark.parametrize("pixels", [1, 2, 9])
def test_blends_neighbours_into_planes(width: int, pixels: int) -> None:
    rng = np.random.default_rng(width)
    blended = rng.uniform(0, 255, 3 * pixels + SPARE).astype(np.float32)
    blended[-1] = np.nan  # read as the last pixel's fourth number, which goes nowhere
    first, weight = 3 * rng.integers(0, pixels, width), rng.uniform(0, 1, width).astype(np.float32)
    if width:
        first[-1] = 3 * (pixels - 1)
    gain, shift = rng.uniform(0.5, 2, (2, 3)).astype(np.float32)
    held = np.full((3, width + 2), -7, np.float32)
    rows = held[:, 1:-1]
    blend_columns(blended, first.astype(np.uint32), weight, tuple(gain), tuple(shift), *rows)
    for channel in range(3):
        near, far = (blended[first + channel + k].astype(np.float64) for k in (0, 3))
        expected = (near + weight * (far - near)) * gain[channel] + shift[channel]
        np.testing.assert_allclose(rows[channel], expected, rtol=1e-5, atol=1e-4)
    assert (held[:, [0, -1]] == -7).all()


@pytest.mark.parametrize("size", [0, 1, 3, 15, 16, 17, 31, 32, 33, 99])
@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_blends_rows(size: int, share: float) -> None:
    upper, lower = np.random.default_rng(size).integers(0, 256, (2, size), np.uint8)
    held = np.full(size + 2, -7, np.float32)
    blend_rows(upper, lower, np.float32(share), held[1:])
    expected = upper + share * (lower.astype(np.float64) - upper)
    np.testing.assert_allclose(held[1:-1], expected, rtol=1e-6, atol=1e-4)
    assert (held[[0, -1]] == -7).all()
