"""Figures about a set whose figures are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.data import LabelSample, MaskSample, Table
from toolkit.data.check import QUANTILES, LabelSummary, MaskSummary, summarise


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


def test_an_empty_subset_has_what_all_tables_have(coco: Any) -> None:
    summary = summarise(coco.load().subset("test"))
    assert (summary.heights, summary.groups, summary.pictures) == ([], 0, {"train": 0, "val": 0, "test": 0})


def test_json(coco: Any) -> None:
    written = json.loads(json.dumps(summarise(coco.load()).to_dict()))
    assert (written["quantiles"], written["unit"]) == (list(QUANTILES), "boxes")
    assert written["counts"] == written["boxes_per_class"]


def label(class_id: int, split: str, source: str) -> LabelSample:
    return LabelSample(
        path=Path("a.jpg"), name="a", size=(30, 40), split=split, group="g", source=source, class_id=class_id
    )


def test_summary_of_labels() -> None:
    samples = (label(0, "train", "web"), label(0, "val", "web"), label(1, "train", ""), label(0, "train", "own"))
    summary = summarise(Table(("cat", "dog"), samples))
    assert isinstance(summary, LabelSummary)
    assert (summary.unit, summary.pictures) == ("pictures", {"train": 3, "val": 1, "test": 0})
    assert summary.counts == {"cat": {"train": 2, "val": 1, "test": 0}, "dog": {"train": 1, "val": 0, "test": 0}}
    assert summary.pictures_per_source == {"cat": {"own": 1, "web": 2}, "dog": {"": 1}}
    assert (summary.sources, summary.groups) == ({"own": 1, "web": 2}, 1)
    assert json.loads(json.dumps(summary.to_dict()))["pictures_per_source"]["dog"] == {"": 1}


def mask(pixels: list[int], split: str) -> MaskSample:
    return MaskSample(
        path=Path("a.jpg"), name="a", size=(10, 10), split=split, group=split, masks=(), pixels=np.array(pixels)
    )


def test_summary_of_masks() -> None:
    samples = (mask([60, 20, 0], "train"), mask([100, 0, 0], "train"), mask([10, 10, 80], "val"))
    summary = summarise(Table(("ground", "cat", "dog"), samples))
    assert isinstance(summary, MaskSummary)
    assert summary.counts["cat"] == {"train": 20, "val": 10, "test": 0}
    assert summary.pixel_shares["cat"] == {"train": pytest.approx(20 / 180), "val": 0.1, "test": 0}
    assert summary.pictures_with_class["cat"] == {"train": 1, "val": 1, "test": 0}
    assert summary.pictures_with_class["dog"] == {"train": 0, "val": 1, "test": 0}
    assert summary.not_counted == {"train": 20, "val": 0, "test": 0}
    assert json.loads(json.dumps(summary.to_dict()))["unit"] == "pixels"
