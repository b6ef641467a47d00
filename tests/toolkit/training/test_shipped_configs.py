"""The configs that are shipped: each loads, and a user's own pictures train from the shipped bundle alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_sets import draw_masks
from PIL import Image

from toolkit.api import train_from
from toolkit.config import load_config
from toolkit.config.load import shipped_configs
from toolkit.data.shapes import draw_set
from toolkit.errors import UserError
from toolkit.training.augment import Albumentations

# What a user must give; `quickstart` draws its pictures itself.
GIVEN = {
    name: ["data.root=/x", *(["data.classes=[background, thing]"] if name == "segmentation" else [])]
    for name in shipped_configs()
    if name != "quickstart"
}


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_shipped_config_loads(name: str) -> None:
    config = load_config(name, GIVEN.get(name, [])).config
    assert config.name
    boxes = config.task == "detection"
    assert Albumentations(config.augment.albumentations, boxes=boxes)  # every transform can be made
    for name, listed in config.measures.changes.items():
        assert Albumentations(listed, boxes=boxes, where=f"measures.changes.{name}")
    if config.task == "detection":
        assert config.train.epochs > config.augment.mosaic.off_epochs


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_required_key_is_asked_for(name: str) -> None:
    with pytest.raises(UserError, match=r"data\.root: required key"):
        load_config(name)


@pytest.mark.parametrize("name", sorted(name for name in GIVEN if "/" not in name))
def test_what_users_start_from_is_shipped(name: str) -> None:
    """Recipes made the bundles and ask for other start weights; all else trains with what is here."""
    from toolkit.training.start_weights import read_tensors

    init = load_config(name, GIVEN[name]).config.model.init
    assert init is not None
    assert init.startswith("zoo:")
    assert read_tensors(init)


def boxes_of(*names: str) -> Callable[[Path], None]:
    """COCO boxes of these classes, on drawn shapes."""

    def draw(folder: Path) -> None:
        draw_set(folder, pictures=16, size=(96, 96), val_fraction=0.25, seed=0)
        table = json.loads((folder / "annotations.json").read_text())
        table["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
        for position, box in enumerate(table["annotations"]):
            box["category_id"] = position % len(names) + 1
        (folder / "annotations.json").write_text(json.dumps(table))

    return draw


def class_folders(*names: str) -> Callable[[Path], None]:
    def draw(folder: Path) -> None:
        rng = np.random.default_rng(0)
        for name in names:
            (folder / name).mkdir(parents=True)
            for index in range(4):
                Image.fromarray(rng.integers(0, 256, (40, 48, 3)).astype(np.uint8)).save(folder / name / f"{index}.jpg")

    return draw


def lung_slices(folder: Path) -> None:
    """The columns that the config reads, for drawn warm and cold things."""
    folder.mkdir()
    draw_masks(folder, pictures=18)
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {"image": "image", "lung_mask": "warm", "lesion_mask": "cold", "patient": "patient", "split": "split"}
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows({new: row[old] for new, old in columns.items()} for row in rows)


APPLICATIONS: dict[str, Callable[[Path], None]] = {
    # in another order than the bundle's: names count
    "mask_detection": boxes_of("mask_worn_incorrectly", "with_mask", "without_mask"),
    "garbage_detection": boxes_of("glass", "metal", "paper", "plastic"),
    "garbage_classification": class_folders("cardboard", "glass", "metal", "paper", "plastic", "trash"),
    "ct_pneumonia": lung_slices,
}
SMALL = ["train.epochs=1", "train.batch_size=4", "train.precision=fp32", "model.input_size=[64,64]"]


@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_an_application_trains_from_its_shipped_bundle(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    APPLICATIONS[name](tmp_path / "data")
    monkeypatch.setattr("toolkit.training.train._finish", lambda run, *_: run)  # exports are tested elsewhere
    run = train_from(name, [f"data.root={tmp_path / 'data'}", *SMALL], run_dir=tmp_path / "run")
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert f"start weights zoo:{name}: " in log
    assert "tensors loaded, 0 of another shape left at their start values, 0 not in the file, 0 in the file not" in log
    labels: dict[str, Any] = json.loads((run.path / "labels.json").read_text())
    assert tuple(labels["counts"]) == tuple(load_config(name, GIVEN[name]).config.data.classes)  # type: ignore[union-attr,arg-type]
    assert run.checkpoint.is_file()
