"""Writes COCO's format: ``images/`` and one ``annotations.json`` with boxes, areas and crowd flags."""

from __future__ import annotations

import json
from typing import Any

from toolkit.data.table import BoxSample, Table
from toolkit.data.writers.target import Target, Written, distinct, plain_names


def write(table: Table[BoxSample], target: Target) -> Written:
    """Ids count from 1: pictures in the table's order, categories in that of the class ids."""
    names, notes = distinct(plain_names(table.samples), key=str)
    pictures = [_picture(number, name, s) for number, (name, s) in enumerate(zip(names, table.samples, strict=True), 1)]
    boxes = [box for number, sample in enumerate(table.samples, 1) for box in _boxes(number, sample)]
    document = {
        "images": pictures,
        "annotations": [{"id": number, **box} for number, box in enumerate(boxes, 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(table.class_names, 1)],
    }
    target.data("annotations.json", json.dumps(document, ensure_ascii=False).encode())
    target.pictures(table.samples, [f"images/{name}" for name in names])
    return Written(names, lost=notes)


def _picture(number: int, name: str, sample: BoxSample) -> dict[str, Any]:
    entry = {"id": number, "file_name": name, "height": sample.size[0], "width": sample.size[1]}
    return {**entry, "source": sample.source} if sample.source else entry


def _boxes(number: int, sample: BoxSample) -> list[dict[str, Any]]:
    """``bbox`` is (x, y, width, height): in double precision, so that the corners come back to the last digit."""
    return [
        {
            "image_id": number,
            "category_id": class_id + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": area,
            "iscrowd": int(crowd),
        }
        for (left, top, right, bottom), class_id, crowd, area in zip(
            sample.boxes.astype(float).tolist(),
            sample.class_ids.tolist(),
            sample.crowd.tolist(),
            sample.areas.tolist(),
            strict=True,
        )
    ]
