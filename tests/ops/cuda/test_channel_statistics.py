"""The twin of channel_statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops


@pytest.mark.parametrize(("shape", "region"), [((1, 1), None), ((9, 40), None), ((9, 40), (2, 3, 4, 30))])
def test_pictures(twin: Any, shape: tuple[int, int], region: Any) -> None:
    picture = np.random.default_rng(6).integers(0, 256, (*shape, 3), np.uint8)
    twin.check(ops.channel_statistics, picture, region, moves=48)
