"""The table of pictures and masks."""

from __future__ import annotations

import csv
from pathlib import Path

from written_sets import CLASSES, NAMES, mask_set

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source


def test_the_table(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    keys = [f"data.splits={root / 'splits.csv'}", f"data.classes=[background, {', '.join(CLASSES)}]"]
    table = open_source(str(root), "masks", "csv", keys).table
    convert(table, "segmentation", "csv", tmp_path / "out")
    with (tmp_path / "out/index.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {f"images/{name}" for name in NAMES}
    for name, (split, group, source) in NAMES.items():
        row = rows[f"images/{name}"]
        assert row["mask"] == str(Path("masks", name).with_suffix(".png"))
        assert (row["split"], row["source"]) == (split, source)
        assert row["group"] == (group or f"images/{name}")
        assert (tmp_path / "out" / row["mask"]).is_file()
