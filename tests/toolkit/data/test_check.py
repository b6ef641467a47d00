"""Figures about a set whose figures are known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toolkit.data.check import QUANTILES, summarise


def test_summary(coco: Any) -> None:
    coco.annotate(10, 3, [0, 0, 20, 20], iscrowd=1)
    rows = ["a.jpg,train,x,web", "b.jpg,train,x,web", "c.jpg,train,,own", "d.jpg,val,,own", "e.jpg,train,,"]
    coco.csv = "\n".join(["image,split,group,source", *rows])
    summary = summarise(coco.load())
    assert summary.pictures == {"train": 4, "val": 1, "test": 0}
    assert summary.without_boxes == {"train": 1, "val": 0, "test": 0}
    assert summary.boxes == {"train": 6, "val": 2, "test": 0}
    assert summary.boxes_per_class["cat"] == {"train": 3, "val": 1, "test": 0}
    assert (summary.crowd_boxes, summary.groups, summary.skipped) == (1, 4, 0)
    assert summary.sources == {"own": 2, "web": 2}
    assert summary.boxes_per_picture[0] == 0
    assert summary.boxes_per_picture[-1] == 2
    # Every cat is 10 x 8, every dog 15.5 x 20, every picture 40 x 30.
    assert summary.box_sides["cat"] == pytest.approx([80**0.5] * len(QUANTILES))
    assert summary.box_sides["dog"] == pytest.approx([310**0.5] * len(QUANTILES))
    assert summary.box_shares["cat"] == pytest.approx([(80 / 1200) ** 0.5] * len(QUANTILES))
    assert (summary.heights[3], summary.widths[3]) == (30, 40)


def test_quantiles_of_different_sizes(coco: Any) -> None:
    for side in (2, 4, 6):
        coco.annotate(14, 3, [0, 0, side, side])
    sides = summarise(coco.load()).box_sides["cat"]
    # Of 2, 4, 6 and four times sqrt(80), by linear interpolation.
    assert sides == pytest.approx([2, 2.6, 5, 80**0.5, 80**0.5, 80**0.5, 80**0.5])


def test_an_empty_subset_and_json(coco: Any) -> None:
    summary = summarise(coco.load().subset("test"))
    assert (summary.box_sides, summary.heights, summary.groups) == ({"cat": [], "dog": []}, [], 0)
    assert json.loads(json.dumps(summary.to_dict()))["quantiles"] == list(QUANTILES)
