"""The column blend, which is written in LLVM's vectors, against its definition; every width modulo four."""

from __future__ import annotations

import numpy as np
import pytest

from ops._four_pixels import SPARE, blend_columns


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 5, 6, 7, 8, 41])
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
    blend_columns(blended, first.astype(np.uint64), weight, tuple(gain), tuple(shift), *rows)
    for channel in range(3):
        near, far = (blended[first + channel + k].astype(np.float64) for k in (0, 3))
        expected = (near + weight * (far - near)) * gain[channel] + shift[channel]
        np.testing.assert_allclose(rows[channel], expected, rtol=1e-5, atol=1e-4)
    assert (held[:, [0, -1]] == -7).all()
