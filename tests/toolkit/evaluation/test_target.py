"""What is measured: anybody's folder, all of it or its own split, in the model's classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_folders import BOXES, FOLDERS, MASKS, PICTURES
from PIL import Image
from tiny_bundle import MAKERS, WARM, flat

from toolkit.api import evaluate, measure_target
from toolkit.bundle_spec import Provenance
from toolkit.errors import UserError
from toolkit.evaluation.table import as_table

TASKS = ("detection", "classification", "segmentation")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {task: MAKERS[task](folder / task) for task in TASKS}


KNOWN: dict[str, dict[str, Any]] = {
    "detection": {"found": 3 / 6, "precision_of_boxes": 3 / 5, "class_right_of_found": 2 / 3},
    "classification": {"top1": 3 / 5, "macro_f1": pytest.approx((2 / 4 + 2 / 3 + 2 / 3) / 3)},
    "segmentation": {"pixel_accuracy": (4096 + 0 + 2048 + 4096) / (4 * 4096), "mean_over": ["warm", "cold"]},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_folder_is_measured_whole(task: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """The answers are known; where right and wrong are counted by hand."""
    metrics = evaluate(bundles[task], data=FOLDERS[task](tmp_path / "set"))
    pictures = {"detection": BOXES, "classification": PICTURES, "segmentation": MASKS}[task]
    assert (metrics["data"]["split"], metrics["data"]["pictures"]) == ("all", len(pictures))
    told = metrics["operating_point"] if task == "detection" else metrics
    for name, value in KNOWN[task].items():
        assert told[name] == value, name


def split_file(folder: Path, splits: dict[str, str]) -> None:
    rows = [f'"{name.replace(chr(34), chr(34) * 2)}",{split}' for name, split in splits.items()]
    (folder / "splits.csv").write_text("\n".join(["image,split", *rows]), encoding="utf-8")


SPLITS = [
    (("train", "val", "test", "val", "train"), None, "val", 2),
    (("train", "test", "test", "test", "train"), None, "test", 3),
    (("train", "train", "train", "train", "train"), None, "all", 5),
    (("train", "val", "test", "val", "train"), "all", "all", 5),
    (("train", "val", "test", "val", "train"), "test", "test", 1),
]


@pytest.mark.parametrize(("splits", "asked", "split", "pictures"), SPLITS)
def test_the_splits_that_a_folder_tells(
    splits: Any, asked: Any, split: str, pictures: int, bundles: dict[str, Path], tmp_path: Path
) -> None:
    folder = FOLDERS["classification"](tmp_path)
    split_file(folder, dict(zip(PICTURES, splits, strict=True)))
    data = evaluate(bundles["classification"], data=folder, split=asked)["data"]
    assert data == {"split": split, "pictures": pictures}
    data = evaluate(bundles["classification"], data=folder, **{"data.splits": None})["data"]
    assert data == {"split": "all", "pictures": 5}


def test_folders_of_splits_need_not_show_every_class(bundles: dict[str, Path], tmp_path: Path) -> None:
    """A training would ask for each class in train; a measurement does not."""
    FOLDERS["classification"](tmp_path / "val")
    (tmp_path / "train/red").mkdir(parents=True)
    (tmp_path / "val/red/bluish.png").rename(tmp_path / "train/red/bluish.png")
    done = measure_target(bundles["classification"], data=tmp_path)
    assert done.metrics["data"] == {"split": "val", "pictures": 4}
    assert done.about["data"] == f"{tmp_path}, read as folders"


def test_classes_in_another_order_and_by_another_name(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = FOLDERS["detection"](tmp_path / "boxes")
    before = evaluate(bundles["detection"], data=folder)
    text = (folder / "annotations.json").read_text(encoding="utf-8")
    text = text.replace('{"id": 1, "name": "warm"}', '{"id": 1, "name": "hot"}')
    text = text.replace('{"id": 2, "name": "cold"}', '{"id": 0, "name": "cold"}').replace(
        '"category_id": 2', '"category_id": 0'
    )
    (folder / "annotations.json").write_text(text, encoding="utf-8")
    assert evaluate(bundles["detection"], data=folder, class_map={"hot": "warm"}) == before
    with pytest.raises(UserError, match=r"class 'hot' is none of the model's \(warm, cold\)"):
        evaluate(bundles["detection"], data=folder)


def test_ids_of_masks_in_another_order(bundles: dict[str, Path], tmp_path: Path) -> None:
    """Masks hold numbers: the model's, unless data.classes says what they are."""
    folder = FOLDERS["segmentation"](tmp_path / "masks")
    plain = evaluate(bundles["segmentation"], data=folder)
    swapped = evaluate(bundles["segmentation"], data=folder, **{"data.classes": ["background", "cold", "warm"]})
    assert plain["per_class"]["warm"]["dice"] > 0.5
    # of what is warm now half the pixels of one picture were warm before
    assert swapped["per_class"]["warm"]["dice"] == pytest.approx(2 * 4096 / (4096 + 4096 + 2 * 2048))
    assert swapped["confusion_labels"] == ["background", "warm", "cold"]


def test_the_layout_of_a_bundles_training_is_known(tmp_path: Path) -> None:
    """Two files could be meant; the bundle's own data block says which."""
    folder = FOLDERS["detection"](tmp_path / "set")
    (folder / "annotations.json").rename(folder / "a.json")
    (folder / "b.json").write_bytes((folder / "a.json").read_bytes())
    plain = MAKERS["detection"](tmp_path / "plain")
    with pytest.raises(UserError, match="can be read in 2 ways"):
        evaluate(plain, data=folder)
    data = {"format": "coco", "annotations": "b.json", "images": "images", "root": "x", "splits": "y.csv"}
    knowing = MAKERS["detection"](tmp_path / "knowing", provenance=Provenance(data=data))
    done = measure_target(knowing, data=folder)
    assert done.about["data"] == f"{folder}, read as coco (annotations: b.json, images: images)"


def test_a_config_with_another_root(bundles: dict[str, Path], tmp_path: Path) -> None:
    folder = FOLDERS["segmentation"](tmp_path / "set")
    split_file(folder, dict(zip(MASKS, ("train", "val", "train", "val"), strict=True)))
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: x\ntask: segmentation\nmodel: {name: unet}\n"
        "data: {format: masks, root: nowhere, splits: set/splits.csv, classes: [background, warm, cold]}\n"
    )
    with pytest.raises(UserError, match=r"class 'cold' has no pixel in train"):
        measure_target(bundles["segmentation"], data=folder, config=config)


def lone_picture(folder: Path, task: str, colour: tuple[int, int, int], mask: int) -> Path:
    """One picture: without a box, in the class red, or with a mask of one number."""
    image = folder / {"detection": "images", "classification": "red", "segmentation": "images"}[task] / "a.png"
    image.parent.mkdir(parents=True)
    Image.fromarray(flat(colour)).save(image)
    if task == "detection":
        listed = {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [],
            "categories": [{"id": 1, "name": "warm"}],
        }
        (folder / "annotations.json").write_text(json.dumps(listed))
    if task == "segmentation":
        (folder / "masks").mkdir()
        Image.fromarray(np.full((64, 64), mask, np.uint8)).save(folder / "masks/a.png")
    return folder


LONE = [
    ("detection", 0, "1 picture, 0 boxes, split all", "precision of boxes      0.000  of the boxes, at score 0.25"),
    ("classification", 0, "1 picture, split all", "top-1              1.000  the likeliest class is right"),
    ("segmentation", 2, "1 picture, split all", "mean Dice       0.000  over warm, cold"),
    ("segmentation", 255, "1 picture, split all", "mean Dice       -  over warm, cold"),  # not a pixel counts
]


@pytest.mark.parametrize(("task", "mask", "first", "line"), LONE)
def test_one_picture_has_numbers_but_no_intervals(
    task: str, mask: int, first: str, line: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    done = measure_target(bundles[task], data=lone_picture(tmp_path / "set", task, WARM, mask))
    lines = as_table(done.metrics).splitlines()
    assert (lines[0], line in lines) == (first, True)
    assert lines[-1] == "No intervals: they need two pictures, or two groups of pictures where groups are told."
    assert done.write_report(tmp_path / "report").stat().st_size > 10_000
