"""Reading a set to look at it: what a training would refuse is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_sets import coco_set

from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.data.folder_config import folder_config
from toolkit.data.open_set import open_set
from toolkit.errors import DataFaults


def test_groups_may_stand_in_two_splits(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    text = (root / "splits.csv").read_text(encoding="utf-8")
    (root / "splits.csv").write_text(text.replace(",val,,", ",val,walk,"), encoding="utf-8")
    config = folder_config(root, "detection", {"format": "coco"}, [f"data.splits={root / 'splits.csv'}"])
    with pytest.raises(DataFaults, match="group 'walk' is in val"):
        load_table(config)
    assert [s.split for s in open_set(config).samples if s.group == "walk"].count("val") == 1


def test_as_little_as_possible_is_held_out_before_a_new_split(tmp_path: Path) -> None:
    config = folder_config(coco_set(tmp_path / "set"), "detection", {"format": "coco"}, ["data.val_fraction=0.6"])
    held_out = [
        sum(s.split == "val" for s in open_set(config, redraw=redraw).samples) for redraw in (False, True)
    ]  # fmt: skip
    assert held_out == [3, 1]


def test_drawn_shapes(tmp_path: Path) -> None:
    config = load_config("quickstart", [f"data.root={tmp_path / 'drawn'}", "data.pictures=12"]).config
    assert len(open_set(config)) == 12
