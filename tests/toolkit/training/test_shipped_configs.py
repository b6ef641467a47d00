"""The configs that are shipped: each loads, and a user's own masks train from the shipped bundle, with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.api import train_from
from toolkit.config import load_config
from toolkit.config.load import shipped_configs
from toolkit.data.shapes import draw_set
from toolkit.errors import UserError

GIVEN = {"mask_detection": ["data.root=/x"], "recipes/mask_detection": ["data.root=/x"]}


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_a_shipped_config_loads(name: str) -> None:
    loaded = load_config(name, GIVEN.get(name, []))
    assert loaded.config.name
    assert loaded.config.train.epochs > loaded.config.augment.mosaic.off_epochs


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_required_key_is_asked_for(name: str) -> None:
    with pytest.raises(UserError, match=r"data\.root: required key"):
        load_config(name)


def test_mask_detection_trains_from_the_shipped_bundle(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    draw_set(masks, pictures=16, size=(96, 96), val_fraction=0.25, seed=0)
    table = json.loads((masks / "annotations.json").read_text())
    names = ("mask_worn_incorrectly", "with_mask", "without_mask")  # in another order than the bundle's: names count
    for category, name in zip(table["categories"], names, strict=True):
        category["name"] = name
    (masks / "annotations.json").write_text(json.dumps(table))
    settings = ["train.epochs=1", "train.batch_size=4", "model.input_size=[64,64]"]
    run = train_from("mask_detection", [f"data.root={masks}", *settings], run_dir=tmp_path / "run")
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert "start weights zoo:mask_detection: 538 tensors loaded, 0 of another shape" in log
    labels = json.loads((run.path / "labels.json").read_text())
    assert labels["boxes_per_class"].keys() == {"with_mask", "without_mask", "mask_worn_incorrectly"}
    assert run.bundle.is_dir()
