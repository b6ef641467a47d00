"""The COCO file, read by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from written_sets import CLASSES, coco_set

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source


def test_pycocotools_reads_it(tmp_path: Path, capsys: Any) -> None:
    root = coco_set(tmp_path / "set", crowd=True, areas=True)
    table = open_source(str(root), "coco", "yolo", [f"data.splits={root / 'splits.csv'}"]).table
    convert(table, "detection", "coco", tmp_path / "out")
    file = COCO(str(tmp_path / "out/annotations.json"))
    assert [file.cats[k]["name"] for k in sorted(file.cats)] == list(CLASSES)
    assert sorted(file.imgs) == [1, 2, 3, 4, 5]
    for sample in table.samples:
        (entry,) = (image for image in file.imgs.values() if image["file_name"] == sample.name)
        assert (entry["height"], entry["width"]) == sample.size
        assert entry.get("source", "") == sample.source
        found = file.loadAnns(file.getAnnIds(imgIds=entry["id"]))
        boxes = np.array([box["bbox"] for box in found]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert (boxes.astype(np.float32) == sample.boxes).all()  # to the last digit
        assert [box["category_id"] - 1 for box in found] == sample.class_ids.tolist()
        assert [bool(box["iscrowd"]) for box in found] == sample.crowd.tolist()
        assert [box["area"] for box in found] == sample.areas.tolist()
    assert len(file.anns) == 12


def test_names_are_written_as_they_are(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    table = open_source(str(root), "coco", "yolo").table
    convert(table, "detection", "coco", tmp_path / "there")
    text = (tmp_path / "there/annotations.json").read_text(encoding="utf-8")
    assert "night/猫 1.jpg" in text
    assert {image["file_name"] for image in json.loads(text)["images"]} == {s.name for s in table.samples}
