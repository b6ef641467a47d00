"""The twins of decode_detections. A GPU's exp differs in the last digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops
from ops import Placement


def head(cells: int, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.5, (cells, 5 + classes)).astype(np.float32)


CASES: list[tuple[dict[str, Any], int]] = [
    ({}, 3),
    ({"score_threshold": 0.5, "iou_threshold": 0.2}, 1),
    ({"score_threshold": 0.0, "max_detections": 5}, 4),
    ({"placement": Placement(0.5, 0.4, 3, 2), "image_size": (50, 70)}, 2),
    ({"score_threshold": 1.0}, 2),  # nothing is found
]


@pytest.mark.parametrize(("options", "classes"), CASES)
def test_heads(twin: Any, options: dict[str, Any], classes: int) -> None:
    raw = head(16 + 4, classes, classes)
    twin.check(ops.decode_detections, raw, input_size=(32, 32), strides=(8, 16), moves=24, within=1e-4, **options)


@pytest.mark.parametrize("layout", ["cells_first", "channels_first"])
@pytest.mark.parametrize(
    ("head_of", "bins", "width"), [("yolox", 1, 5), ("distances", 4, 16), ("distances", 1, 4), ("boxes", 1, 4)]
)
def test_every_head_in_both_layouts(twin: Any, head_of: str, bins: int, width: int, layout: str) -> None:
    raw = np.abs(head(20, width - 5 + 3, 7))
    raw[:, :2] *= 9 if head_of == "boxes" else 1
    raw[3, 0], raw[5, width], raw[7, width + 1] = np.nan, np.nan, np.inf
    given = np.ascontiguousarray(raw.T) if layout == "channels_first" else raw
    found = twin.check(
        ops.decode_detections, given, input_size=(32, 32), strides=(8, 16), head=head_of, bins=bins, layout=layout,
        score_threshold=0.7, moves=24, within=0 if head_of == "boxes" else 1e-4,  # the others take exponentials
    )  # fmt: skip
    assert len(found[0])


def test_nan_and_ties(twin: Any) -> None:
    raw = np.zeros((20, 7), np.float32)
    raw[:, 2:4] = np.linspace(0, 1, 20)[:, None]
    raw[3, 0], raw[5, 4], raw[7, 6], raw[9, 2] = np.nan, np.nan, np.inf, np.inf
    twin.check(
        ops.decode_detections, raw, input_size=(32, 32), strides=(8, 16), score_threshold=0.2, moves=24, within=1e-4
    )
