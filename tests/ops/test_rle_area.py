"""rle_area against pycocotools and on areas that no decoded mask would fit into memory for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from rle_reference import MASKS, ODD_MASKS, coco_rle

import ops


@settings(max_examples=100, deadline=None)
@given(st.lists(MASKS, max_size=4))
def test_as_pycocotools(masks: list[np.ndarray]) -> None:
    rles = [coco_rle(mask) for mask in masks]
    areas = ops.rle_area(rles)
    assert (areas.dtype, areas.shape) == (np.int64, (len(masks),))
    assert areas.tolist() == [np.count_nonzero(mask) for mask in masks]
    if rles:  # pycocotools gives a list for none
        assert areas.tolist() == coco.area(rles).tolist()


def test_odd_masks_of_many_sizes() -> None:
    masks = list(ODD_MASKS.values())
    assert ops.rle_area([coco_rle(mask) for mask in masks]).tolist() == [np.count_nonzero(mask) for mask in masks]


@pytest.mark.parametrize(
    ("counts", "area"),
    [
        ([2**32 - 1], 0),
        ([0, 2**32 - 1], 2**32 - 1),
        ([1, 2**31, 1, 2**31 - 3], 2**32 - 3),  # beyond 32 bits with a sign
        ("0ooooo3", 2**27 - 1),
    ],
)
def test_runs_too_long_to_decode(counts: Any, area: int) -> None:
    size = [1, 2**32 - 1] if isinstance(counts, list) else [1, area]
    assert ops.rle_area([{"size": size, "counts": counts}]).tolist() == [area]


@pytest.mark.parametrize(
    ("rles", "error", "message"),
    [
        (
            {"size": [3, 4], "counts": "<"},
            TypeError,
            "rles: expected a list of RLEs, got dict {'size': [3, 4], 'counts'",
        ),
        ("<", TypeError, "rles: expected a list of RLEs, got str '<'; put a single one into a list"),
        (None, TypeError, "rles: expected a list of RLEs, got NoneType None"),
        (
            [{"size": [3, 4], "counts": "<"}, 3],
            TypeError,
            'rles[1]: expected a dict with "size" and "counts", got int 3',
        ),
        ([{"size": [3, 4], "counts": "<"}, {"size": [3, 4], "counts": ";"}], ValueError, "rles[1]: expected runs that"),
    ],
)
def test_refuses(rles: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.rle_area(rles)
    assert message in str(caught.value)
