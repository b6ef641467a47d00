"""How a folder is stored, told from what lies in it: every format that the toolkit writes, and others' layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from written_sets import CLASSES, coco_set, folder_set, mask_set

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source
from toolkit.data.folder_config import folder_config
from toolkit.data.open_set import open_set
from toolkit.data.recognise import recognise
from toolkit.data.writers import WRITERS
from toolkit.errors import UserError

LABELS = {"detection": CLASSES, "classification": CLASSES, "segmentation": ("background", *CLASSES)}
MASK_NAMES = f"data.classes=[{', '.join(LABELS['segmentation'])}]"
SETS: dict[str, tuple[Callable[[Path], Path], str, list[str]]] = {
    "detection": (coco_set, "coco", []),
    "classification": (folder_set, "folders", []),
    "segmentation": (mask_set, "masks", [MASK_NAMES]),
}
WRITTEN = [(task, to) for task, formats in WRITERS.items() for to in formats if to != "labelme"]


@pytest.mark.parametrize(("task", "to"), WRITTEN)
def test_what_the_toolkit_writes_is_recognised_and_read(task: str, to: str, tmp_path: Path) -> None:
    make, stored, overrides = SETS[task]
    root = make(tmp_path / "set")
    if stored != to:
        opened = open_source(str(root), stored, to, [f"data.splits={root / 'splits.csv'}", *overrides])
        convert(opened.table, task, to, tmp_path / "out")
        root = tmp_path / "out"
    block = recognise(root, task, LABELS[task], given={})
    assert block["format"] == to
    found = open_set(folder_config(root, task, block, []), whole=True)
    expected = open_set(folder_config(tmp_path / "set", task, {"format": stored}, overrides), whole=True)
    assert set(found.class_names) == set(expected.class_names)
    assert len(found) == len(expected)
    assert {name: sum(row.values()) for name, row in found.counts().items()} == {
        name: sum(row.values()) for name, row in expected.counts().items()
    }
    assert {sample.split for sample in found.samples} == {"train", "val", "test"}  # as splits.csv or folders say


def picture(path: Path, colour: tuple[int, int, int] = (90, 120, 200)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), colour, np.uint8)).save(path)


def yolo(label: str, image: str, names: str = "") -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        picture(root / f"{image}/a.jpg")
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        if names:
            (root / names).parent.mkdir(parents=True, exist_ok=True)
            (root / names).write_text("names: [zebra]\n" if names.endswith("yaml") else "zebra\n")

    return lay


def voc(label: str, image: str) -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        picture(root / f"{image}/a.jpg")
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / "a.xml").write_text("<annotation><object/></annotation>")

    return lay


def coco(file: str, image: str) -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        picture(root / f"{image}/a.jpg")
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        listed = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}
        (root / file).write_text(json.dumps(listed))

    return lay


def masks(folder: str, image: str, value: int = 2) -> Callable[[Path], None]:
    def lay(root: Path) -> None:
        picture(root / f"{image}/a.png")
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30), value, np.uint8)).save(root / folder / "a.png")

    return lay


def table(name: str, header: str, row: str = "") -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(f"{header}\n{row}\n") and None


def all_of(*layers: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda root: [lay(root) for lay in layers] and None  # type: ignore[func-returns-value]


LAYOUTS: list[tuple[str, Callable[[Path], None], dict[str, str], dict[str, Any]]] = [
    ("detection", coco("annotations.json", "images"), {},
     {"format": "coco", "annotations": "annotations.json", "images": "images"}),
    ("detection", coco("annotations/instances.json", "photos"), {},
     {"format": "coco", "annotations": "annotations/instances.json", "images": "photos"}),
    ("detection", coco("all.json", "."), {}, {"format": "coco", "annotations": "all.json", "images": "."}),
    # a second file beside the one of the usual name is another version of it
    ("detection", all_of(coco("annotations.json", "images"), coco("old.json", "images")), {},
     {"format": "coco", "annotations": "annotations.json", "images": "images"}),
    ("detection", all_of(coco("b.json", "images"), coco("c.json", "images")), {"annotations": "c.json"},
     {"format": "coco", "images": "images"}),
    ("detection", voc("Annotations", "JPEGImages"), {},
     {"format": "voc", "annotations": "Annotations", "images": "JPEGImages"}),
    ("detection", voc(".", "."), {}, {"format": "voc", "annotations": ".", "images": "."}),
    ("detection", yolo("labels", "images", "classes.txt"), {},
     {"format": "yolo", "labels": "labels", "images": "images", "names": "classes.txt"}),
    ("detection", yolo("labels/val", "images/val", "data.yaml"), {},
     {"format": "yolo", "labels": "labels", "images": "images", "names": "data.yaml"}),
    ("detection", yolo("obj", "obj", "obj.names"), {},
     {"format": "yolo", "labels": ".", "images": ".", "names": "obj.names"}),
    ("detection", yolo("valid/labels", "valid/images", "data.yaml"), {},
     {"format": "yolo", "labels": "valid/labels", "images": "valid/images", "names": "data.yaml"}),
    ("detection", all_of(yolo("labels", "images"), coco("a.json", "images")), {"format": "yolo"},
     {"format": "yolo", "labels": "labels", "images": "images"}),
    ("classification", lambda root: picture(root / "cat/a.jpg"), {}, {"format": "folders"}),
    ("classification", all_of(lambda root: picture(root / "train/cat/a.jpg"),
                              lambda root: picture(root / "val/cat/b.jpg")), {}, {"format": "folders"}),
    ("classification", all_of(lambda root: picture(root / "a.jpg"), table("list.csv", "image,label")), {},
     {"format": "csv", "index": "list.csv"}),
    # a table that lists the pictures goes before how their folders look
    ("classification", all_of(lambda root: picture(root / "cat/a.jpg"), table("list.csv", "image,label")), {},
     {"format": "csv", "index": "list.csv"}),
    ("segmentation", masks("masks", "images"), {}, {"format": "masks", "masks": "masks", "images": "images"}),
    ("segmentation", masks("truth", "photos", 255), {}, {"format": "masks", "masks": "truth", "images": "photos"}),
    ("segmentation", table("index.csv", "image,mask"), {}, {"format": "csv", "index": "index.csv"}),
    ("segmentation", table("a.csv", "image,zebra_mask,猫,a dog,note"), {},
     {"format": "csv", "index": "a.csv",
      "mask_columns": {"zebra": "zebra_mask", "猫": "猫", "a dog": "a dog"}}),
]  # fmt: skip


@pytest.mark.parametrize(("task", "lay", "given", "wanted"), LAYOUTS)
def test_a_layout(task: str, lay: Any, given: dict[str, str], wanted: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    lay(tmp_path / "set")
    classes = {"classes": list(LABELS[task])} if task == "segmentation" else {}
    assert recognise(tmp_path / "set", task, LABELS[task], given=given) == {**wanted, **classes}


def test_the_names_may_lie_above_the_folder(tmp_path: Path) -> None:
    yolo("valid/labels", "valid/images", "data.yaml")(tmp_path)
    block = recognise(tmp_path / "valid", "detection", CLASSES, given={})
    assert block == {"format": "yolo", "labels": "labels", "images": "images", "names": "../data.yaml"}


KNOWN = {"format": "coco", "annotations": "mine.json", "images": "images", "root": "elsewhere", "classes": ["x"]}


def test_the_layout_of_the_training_comes_first(tmp_path: Path) -> None:
    all_of(coco("annotations.json", "images"), coco("mine.json", "images"))(tmp_path)
    block = recognise(tmp_path, "detection", CLASSES, known=KNOWN, given={})
    assert block == {"format": "coco", "annotations": "mine.json", "images": "images"}
    (tmp_path / "mine.json").unlink()
    assert recognise(tmp_path, "detection", CLASSES, known=KNOWN, given={})["annotations"] == "annotations.json"


def test_a_split_file_of_ours_is_taken_and_another_table_is_not(tmp_path: Path) -> None:
    coco("annotations.json", "images")(tmp_path)
    (tmp_path / "splits.csv").write_text("image,split\n")
    assert recognise(tmp_path, "detection", CLASSES, given={})["splits"] == str(tmp_path / "splits.csv")
    assert "splits" not in recognise(tmp_path, "detection", CLASSES, given={"splits": "null"})
    (tmp_path / "splits.csv").write_text("name,fold\n")
    assert "splits" not in recognise(tmp_path, "detection", CLASSES, given={})


REFUSED: list[tuple[str, Callable[[Path], None], dict[str, str], str]] = [
    ("detection", lambda root: picture(root / "images/a.jpg"), {},
     r"set: holds no labels of detection that are known by their looks; say how they are stored with"
     r" data\.format=coco\|voc\|yolo and its keys"),
    ("detection", all_of(coco("a.json", "images"), coco("b.json", "images")), {},
     r"set: can be read in 2 ways; add the one that is meant: data\.annotations=a\.json or data\.annotations=b\.json"),
    ("detection", all_of(coco("a.json", "images"), yolo("labels", "images")), {},
     r"can be read in 2 ways; add the one that is meant: data\.format=coco .* or data\.format=yolo"),
    ("classification", all_of(table("a.csv", "image,label"), table("b.csv", "label,image")), {},
     r"can be read in 2 ways; add the one that is meant: data\.index=a\.csv or data\.index=b\.csv"),
    ("detection", lambda root: (root / "a.json").write_text('{"shapes": []}') and None, {},
     "LabelMe files become coco with `toolkit data convert --from labelme`"),
    ("segmentation", masks("masks", "images", 77), {}, "holds no labels of segmentation"),  # no class has that id
    ("detection", yolo("notes", "images"), {"format": "voc"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("task", "lay", "given", "sentence"), REFUSED)
def test_what_is_not_clear_is_asked(task: str, lay: Any, given: Any, sentence: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    lay(root)
    if sentence:
        with pytest.raises(UserError, match=sentence):
            recognise(root, task, LABELS[task], given=given)
    else:  # the named format's own reader says what is missing
        assert recognise(root, task, LABELS[task], given=given) == {}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; --data names a folder of labelled pictures"):
        recognise(tmp_path / "nowhere", "detection", CLASSES, given={})


def test_text_files_that_are_no_labels(tmp_path: Path) -> None:
    yolo("labels", "images")(tmp_path)
    for text in ("a cat", "0 0.5 0.5 0.2", "0 0.1 0.1 0.2 0.2 0.9"):
        (tmp_path / "labels/a.txt").write_text(text)
        with pytest.raises(UserError, match="holds no labels of detection"):
            recognise(tmp_path, "detection", CLASSES, given={})
    shutil.rmtree(tmp_path / "labels")
    with pytest.raises(UserError, match="holds no labels of detection"):
        recognise(tmp_path, "detection", CLASSES, given={})
