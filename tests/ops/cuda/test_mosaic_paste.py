"""The twin of mosaic_paste."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

CASES: list[tuple[tuple[float, float], tuple[float, float], Any]] = [
    ((1.0, 1.0), (0.0, 0.0), None),
    ((1.7, 0.6), (2.3, -1.5), None),
    ((2.0, 2.0), (-4.0, 3.0), (1, 2, 9, 10)),
    ((1.0, 1.0), (50.0, 0.0), None),  # beside the canvas
]


@pytest.mark.parametrize(("scale", "offset", "region"), CASES)
def test_pastes(twin: Any, scale: Any, offset: Any, region: Any) -> None:
    rng = np.random.default_rng(5)
    picture, canvas = rng.integers(0, 256, (7, 9, 3), np.uint8), rng.integers(0, 256, (12, 14, 3), np.uint8)
    there = twin.send(canvas)
    twin.moved.clear()
    written = ops.mosaic_paste(twin.send(picture), there, scale=scale, offset=offset, region=region)
    assert sum(twin.moved) == picture.nbytes  # what this test sent
    assert written == ops.mosaic_paste(picture, canvas, scale=scale, offset=offset, region=region)
    twin.compare("mosaic_paste", canvas, twin.fetch(there), within=1)


def test_shared_memory_is_refused(twin: Any) -> None:
    canvas = twin.send(np.zeros((8, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="canvas: expected memory of its own"):
        ops.mosaic_paste(canvas[2:4], canvas, scale=(1, 1), offset=(0, 0))
