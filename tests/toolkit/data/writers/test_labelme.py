"""The JSON files, key by key as LabelMe 5 writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def test_the_files(boxes_in: Callable[..., Any]) -> None:
    table, out = boxes_in("labelme", crowd=True)
    for sample in table.samples:
        path = (out / sample.name).with_suffix(".json")
        found = json.loads(path.read_text(encoding="utf-8"))
        assert list(found) == ["version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"]
        assert (path.parent / found["imagePath"]).read_bytes() == sample.path.read_bytes()
        assert (found["imageHeight"], found["imageWidth"]) == sample.size
        kept = [box for box, crowd in zip(sample.boxes.tolist(), sample.crowd, strict=True) if not crowd]
        assert [[*shape["points"][0], *shape["points"][1]] for shape in found["shapes"]] == kept
        assert {shape["shape_type"] for shape in found["shapes"]} <= {"rectangle"}
