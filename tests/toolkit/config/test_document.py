"""Overrides and base files: what they replace, what they keep, what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.config import load_config, parse_config
from toolkit.config.data_blocks import CocoData
from toolkit.errors import UserError

DETECTION, CLASSIFICATION, SEGMENTATION = (
    Path(__file__).with_name(f"{task}.yaml").read_text() for task in ("detection", "classification", "segmentation")
)


def load(text: str = DETECTION, *overrides: str, directory: str | Path = "/configs") -> Any:
    return parse_config(text, name="configs/x.yaml", directory=directory, overrides=overrides)


def message(text: str = DETECTION, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(text, *overrides)
    return str(caught.value)


OVERRIDES = [
    ("train.epochs=5", "train.epochs", 5),
    ("train.epochs= 5", "train.epochs", 5),
    ("model.input_size=[416,416]", "model.input_size", (416, 416)),
    ("train.ema_decay=null", "train.ema_decay", None),
    ("train.ema_decay=", "train.ema_decay", None),
    ("name=no", "name", "no"),
    ("augment.mosaic.probability=0", "augment.mosaic.probability", 0.0),
    ("augment.albumentations=[{Blur: {p: .1}}]", "augment.albumentations", ({"Blur": {"p": 0.1}},)),
    ("train.optimizer={name: adamw}", "train.optimizer.lr", 1e-3),
    ("bundle.intended_use='a = b # c'", "bundle.intended_use", "a = b # c"),
]


@pytest.mark.parametrize(("override", "key", "expected"), OVERRIDES)
def test_overrides(override: str, key: str, expected: object) -> None:
    loaded = load(DETECTION, override)
    assert loaded.value(key) == expected
    assert loaded.origin(override.partition("=")[0]) == "override"


# Config, override, key -> value.
TASK_OVERRIDES: list[tuple[str, str, str, object]] = [
    (CLASSIFICATION, "augment.cutmix.alpha=1", "augment.cutmix.probability", 0.3),  # the rest of the block stays
    (CLASSIFICATION, "augment.mixup.alpha=1", "augment.mixup.alpha", 1.0),
    (CLASSIFICATION, "loss={smoothing: 0.1}", "loss.focal_gamma", None),
    (CLASSIFICATION, "loss.class_weights=balanced", "loss.class_weights", "balanced"),
    (CLASSIFICATION, "preprocess.kind=crop", "preprocess.kind", "crop"),
    (CLASSIFICATION, "data.extra=[]", "data.extra", ()),
    (SEGMENTATION, "data.mask_columns={lung: lung_mask}", "data.mask_columns", {"lung": "lung_mask"}),
    (
        SEGMENTATION,
        "data.mask_columns.lung=other",
        "data.mask_columns",
        {"lung": "other", "lesion": "lesion_mask"},
    ),
    (SEGMENTATION, "postprocess.regions={}", "postprocess.regions", {}),
    (SEGMENTATION, "loss.class_weights=null", "loss.class_weights", None),
    (SEGMENTATION, "augment.crop_to_labels.probability=1", "augment.crop_to_labels.margin", (0.1, 0.2)),
]


@pytest.mark.parametrize(("text", "override", "key", "expected"), TASK_OVERRIDES)
def test_overrides_of_the_other_tasks(text: str, override: str, key: str, expected: object) -> None:
    loaded = load(text, override)
    assert loaded.value(key) == expected
    assert loaded.origin(override.partition("=")[0]) == "override"


def test_the_later_override_holds() -> None:
    assert load(DETECTION, "train.epochs=5", "train.epochs=6").config.train.epochs == 6


def test_override_of_a_default_choice_keeps_the_choice() -> None:
    text = DETECTION[: DETECTION.index("  optimizer:")]
    optimizer = load(text, "train.optimizer.lr=0.5").config.train.optimizer
    assert (optimizer.name, optimizer.lr) == ("adamw", 0.5)
    assert load(text, "train.optimizer.name=sgd").config.train.optimizer.name == "sgd"


WRONG_OVERRIDES = [
    ("train.epochs=ten", "override train.epochs=ten: expected a whole number, got 'ten' (text)"),
    ("train.epohcs=5", "override train.epohcs=5: unknown key; did you mean 'epochs'?"),
    ("epochs=5", "override epochs=5: unknown key; did you mean 'train.epochs'?"),
    ("tarin.epochs=5", "override tarin.epochs=5: tarin: unknown key; did you mean 'train'?"),
    ("train.epochs", "override train.epochs: expected KEY=VALUE, such as train.epochs=5"),
    ("=5", "override =5: expected KEY=VALUE, such as train.epochs=5"),
    ("train..epochs=5", "override train..epochs=5: expected KEY=VALUE, such as train.epochs=5"),
    ("name.first=5", "override name.first=5: name is 'mask' (text), not a block of keys"),
    ("base=other.yaml", "override base=other.yaml: base can only stand in a config file; give another config instead"),
    (
        "model.input_size.0=416",
        "override model.input_size.0=416: model.input_size is a list, its items are not set one by one; "
        "give all: model.input_size=[...]",
    ),
    (
        "train.optimizer.name=adamw",
        "configs/x.yaml:13: train.optimizer.momentum: unknown key for name 'adamw' "
        "(set by override train.optimizer.name=adamw), it belongs to 'sgd'; "
        "remove it, or give the whole block as train.optimizer={name: adamw}",
    ),
    (
        "data={format: coco, rot: a}",
        "override data={format: coco, rot: a}: data.rot: unknown key; did you mean 'root'?",
    ),
]


@pytest.mark.parametrize(("override", "expected"), WRONG_OVERRIDES)
def test_wrong_overrides(override: str, expected: str) -> None:
    assert message(DETECTION, override) == expected


def test_a_base_may_hold_the_task_or_leave_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("loss: {kind: focal}\ntrain: {epochs: 3}\n")
    (tmp_path / "child.yaml").write_text(
        "base: base.yaml\n" + SEGMENTATION.replace("loss:\n  class_weights: [0.5, 1, 2]\n", "")
    )
    loaded = load_config(tmp_path / "child.yaml")
    assert (loaded.value("loss.kind"), loaded.value("train.epochs")) == ("focal", 3)
    assert loaded.origin("loss.kind") == f"{tmp_path / 'base.yaml'}:1"


def test_base_gives_the_blocks_that_are_not_given(tmp_path: Path) -> None:
    (tmp_path / "general").mkdir()
    (tmp_path / "general" / "base.yaml").write_text(DETECTION)
    child = tmp_path / "child.yaml"
    child.write_text("base: general/base.yaml\nname: child\ntrain: {batch_size: 4}\n")
    loaded = load_config(child)
    assert loaded.config.name == "child"
    assert loaded.config.model.input_size == (320, 416)
    assert loaded.config.train.epochs == 50  # the block is replaced, not merged
    assert loaded.config.train.batch_size == 4
    assert isinstance(loaded.config.data, CocoData)
    assert loaded.config.data.root == tmp_path / "general" / "pictures"  # relative to the file it stands in
    assert loaded.origin("name") == f"{child}:2"
    assert loaded.origin("model.input_size") == f"{tmp_path / 'general' / 'base.yaml'}:8"
    assert loaded.origin("train.epochs") == "default"


def test_fault_of_a_base_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(DETECTION.replace("epochs: 10", "epochs: ten"))
    (tmp_path / "child.yaml").write_text("base: ./base.yaml\nname: child\n")
    with pytest.raises(UserError) as caught:
        load_config("child.yaml")
    assert str(caught.value) == "base.yaml:10: train.epochs: expected a whole number, got 'ten' (text)"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("base: a.yaml", "", "a.yaml:1: base: the files name each other in a circle (a.yaml -> a.yaml)"),
        ("base: b.yaml", "base: a.yaml", "b.yaml:1: base: the files name each other in a circle (a.yaml -> b.yaml -> "),
        ("base: c.yaml", "", "a.yaml:1: base: no such file: c.yaml"),
        ("base: [b.yaml]", "", "a.yaml:1: base: expected the path of one config, got ['b.yaml'] (list)"),
        ("base: b.yaml\nbase: b.yaml", "", "a.yaml:2: base: this key already stands in line 1"),
    ],
)
def test_wrong_bases(a: str, b: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(a + "\n")
    (tmp_path / "b.yaml").write_text(b + "\n")
    with pytest.raises(UserError) as caught:
        load_config("a.yaml")
    assert str(caught.value).startswith(expected)
