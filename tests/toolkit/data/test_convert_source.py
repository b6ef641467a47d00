"""What is to be converted: configs, folders, and what does not fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written_sets import CLASSES, coco_set, folder_set, mask_set, split_csv

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source
from toolkit.errors import DataFaults, UserError

MASK_CLASSES = f"data.classes=[background, {', '.join(CLASSES)}]"


def test_a_config(tmp_path: Path) -> None:
    root = coco_set(tmp_path / "set")
    config = {"name": "x", "task": "detection", "model": {"name": "yolox_nano"}}
    config["data"] = {"format": "coco", "root": "set", "splits": "set/splits.csv"}
    (tmp_path / "x.yaml").write_text(json.dumps(config))
    opened = open_source(str(tmp_path / "x.yaml"), None, "yolo")
    assert (len(opened.table), opened.task, opened.format, opened.root) == (5, "detection", "coco", root)
    (tmp_path / "other.csv").write_text((root / "splits.csv").read_text(encoding="utf-8").replace("test", "val"))
    opened = open_source(str(tmp_path / "x.yaml"), None, "yolo", [f"data.splits={tmp_path / 'other.csv'}"])
    assert {s.split for s in opened.table.samples} == {"train", "val"}


@pytest.mark.parametrize(
    ("stored", "to", "task"),
    [
        ("coco", "voc", "detection"),
        ("folders", "csv", "classification"),
        ("masks", "csv", "segmentation"),  # the same word as above
    ],
)
def test_the_two_formats_tell_the_task(tmp_path: Path, stored: str, to: str, task: str) -> None:
    make = {"coco": coco_set, "folders": folder_set, "masks": mask_set}[stored]
    keys = [MASK_CLASSES] if stored == "masks" else []
    assert open_source(str(make(tmp_path / "set")), stored, to, keys).task == task


def test_a_folder_whose_name_needs_quoting(tmp_path: Path) -> None:
    root = coco_set(tmp_path / 'my "set": 猫 # 🐈')
    assert len(open_source(str(root), "coco", "yolo").table) == 5


MISTAKES = [
    (None, "yolo", [], "is a folder; say how its labels are stored with --from: coco, voc, yolo, labelme, folders"),
    ("cocoo", "yolo", [], r"--from cocoo: expected one of .*; did you mean 'coco'\?"),
    ("coco", "yollo", [], r"--to yollo: expected one of .*; did you mean 'yolo'\?"),
    ("coco", "coco", [], "--to coco: the set is stored as coco already"),
    ("coco", "masks", [], "--to masks: coco holds boxes, masks holds masks; one cannot become the other"),
    ("coco", "csv", [], "--to csv: coco holds boxes, csv holds classes or masks"),
    ("folders", "labelme", [], "--to labelme: folders holds classes, labelme holds boxes"),
    ("shapes", "coco", [], "--from shapes: expected one of coco"),
    ("coco", "yolo", ["train.epochs=3"], "train.epochs=3: expected a key of the data block"),
    ("coco", "yolo", ["data.anotations=x"], r"data.anotations=x: unknown key; did you mean 'annotations'\?"),
    ("masks", "csv", [], "data.classes: required key is missing"),
    ("labelme", "coco", ["data.image=x"], r"data.image: labelme has the keys .* did you mean 'data.images'\?"),
]


@pytest.mark.parametrize(("stored", "to", "overrides", "sentence"), MISTAKES)
def test_mistakes(tmp_path: Path, stored: str | None, to: str, overrides: list[str], sentence: str) -> None:
    root = coco_set(tmp_path / "set")
    with pytest.raises(UserError, match=sentence):
        open_source(str(root), stored, to, overrides)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; --from coco reads a folder, without it a config is read"):
        open_source(str(tmp_path / "none"), "coco", "yolo")
    with pytest.raises(UserError, match="no such config"):
        open_source(str(tmp_path / "none.yaml"), None, "yolo")


@pytest.mark.parametrize(("to", "sentence"), [
    ("masks", "--to masks: this config is for detection; expected one of voc, yolo, labelme"),
    ("coco", "the set is stored as coco already"),
])  # fmt: skip
def test_a_config_and_a_format_that_do_not_fit(tmp_path: Path, to: str, sentence: str) -> None:
    coco_set(tmp_path / "set")
    config = {"name": "x", "task": "detection", "model": {"name": "yolox_nano"}}
    (tmp_path / "x.yaml").write_text(json.dumps({**config, "data": {"format": "coco", "root": "set"}}))
    with pytest.raises(UserError, match=sentence):
        open_source(str(tmp_path / "x.yaml"), None, to)


def test_labelme_with_pictures_and_splits_elsewhere(tmp_path: Path) -> None:
    opened = open_source(str(coco_set(tmp_path / "set")), "coco", "labelme")
    convert(opened.table, "detection", "labelme", tmp_path / "there")
    keys = [f"data.splits={split_csv(tmp_path / 'told.csv')}"]
    found = open_source(str(tmp_path / "there"), "labelme", "coco", keys).table
    told = {s.name: (s.split, s.group, s.source) for s in found.samples}
    assert told["night/a b.jpg"] == ("train", "walk", "own")
    assert told["z.png"] == ("val", "z.png", "web")
    (tmp_path / "pictures").mkdir()
    for path in (tmp_path / "there/night").glob("*.jpg"):
        path.rename(tmp_path / "pictures" / path.name)
    keys = [f"data.images={tmp_path / 'pictures'}"]
    assert len(open_source(str(tmp_path / "there/night"), "labelme", "coco", keys).table) == 2


def test_a_split_file_that_lacks_a_picture(tmp_path: Path) -> None:
    opened = open_source(str(coco_set(tmp_path / "set")), "coco", "labelme")
    convert(opened.table, "detection", "labelme", tmp_path / "there")
    text = split_csv(tmp_path / "told.csv").read_text(encoding="utf-8")
    (tmp_path / "told.csv").write_text("\n".join(text.splitlines()[:-1]), encoding="utf-8")
    with pytest.raises(DataFaults, match=r"told\.csv: été/été\.jpg is missing; give it a row"):
        open_source(str(tmp_path / "there"), "labelme", "coco", [f"data.splits={tmp_path / 'told.csv'}"])
