"""The table of pictures and classes."""

from __future__ import annotations

import csv
from pathlib import Path

from written_sets import folder_set

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source


def test_the_table(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "set")
    table = open_source(str(root), "folders", "csv", [f"data.splits={root / 'splits.csv'}"]).table
    done = convert(table, "classification", "csv", tmp_path / "out")
    with (tmp_path / "out/index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["label"], row["split"], row["source"]) for row in rows] == [
        (f"images/{s.name}", table.class_names[s.class_id], s.split, s.source) for s in table.samples
    ]
    groups = {row["group"] for row in rows if not row["group"].startswith("images/")}
    assert groups == {"walk"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "index.csv"]
    assert "splits" not in done.block
