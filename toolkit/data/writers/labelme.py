"""Writes LabelMe's format: the pictures, and beside each a JSON file with its boxes as rectangles."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from toolkit.data.table import BoxSample, Table
from toolkit.data.writers.target import Target, Written, distinct, lost_areas, lost_crowds, plain_names, stem

VERSION = "5.4.1"  # of LabelMe, whose layout this is; it asks for one


def write(table: Table[BoxSample], target: Target) -> Written:
    names, notes = distinct(plain_names(table.samples))
    for name, sample in zip(names, table.samples, strict=True):
        document: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": _shapes(sample, table.class_names),
            "imagePath": PurePosixPath(name).name,
            "imageData": None,
            "imageHeight": sample.size[0],
            "imageWidth": sample.size[1],
        }
        target.data(f"{stem(name)}.json", json.dumps(document, ensure_ascii=False, indent=2).encode())
    target.pictures(table.samples, names)
    in_order = list(table.class_names) == sorted(table.class_names)
    order = [] if in_order else ["the order of the classes, which LabelMe has none of"]
    return Written(names, lost=[*notes, *order, *lost_crowds(table.samples), *lost_areas(table.samples)])


def _shapes(sample: BoxSample, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "label": class_names[class_id],
            "points": [box[:2], box[2:]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {},
        }
        for box, class_id, crowd in zip(
            sample.boxes.tolist(), sample.class_ids.tolist(), sample.crowd.tolist(), strict=True
        )
        if not crowd
    ]
