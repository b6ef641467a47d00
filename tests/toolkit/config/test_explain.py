"""What a key means, in every task or in the config at hand. Every key of the schema is held to a description here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolkit.config import LoadedConfig, explain, parse_config
from toolkit.config.tree import all_keys, find
from toolkit.errors import UserError

CONFIG = """\
name: a
task: detection
data: {format: coco, root: /pictures}
model: {name: yolox_s}
train:
  optimizer: {name: sgd}
"""
LOADED = parse_config(CONFIG, name="a.yaml", overrides=["train.batch_size=4"])
CLASSIFICATION, SEGMENTATION = (
    parse_config(Path(__file__).with_name(f"{task}.yaml").read_text(), name="b.yaml", directory="/configs")
    for task in ("classification", "segmentation")
)


def lines(key: str, loaded: Any = None) -> list[str]:
    return explain(key, loaded).splitlines()


def test_a_value() -> None:
    assert lines("train.epochs") == [
        "train.epochs",
        "  How often the training set is gone through.",
        "  type:     whole number, at least 1",
        "  default:  50",
    ]


def test_a_value_of_some_formats() -> None:
    assert lines("data.pictures") == [
        "data.pictures",
        "  How many pictures to draw.",
        "  with:     data.format: shapes",
        "  type:     whole number, at least 2, at most 100000",
        "  default:  240",
    ]


@pytest.mark.parametrize(
    ("key", "now"),
    [
        ("train.epochs", "  now:      50 (default)"),
        ("train.batch_size", "  now:      4 (override)"),
        ("model.name", "  now:      yolox_s (a.yaml:4)"),
        ("data.root", "  now:      /pictures (a.yaml:3)"),
        ("train.optimizer.lr", "  now:      0.01 (default)"),
        ("preprocess.center", "  now:      false (default)"),
        ("model.init", "  now:      null (default)"),
        ("train", "  now:      (a.yaml:5)"),
        ("task", "  now:      detection (a.yaml:2)"),
        ("data.format", "  now:      coco (a.yaml:3)"),
    ],
)
def test_where_the_present_value_came_from(key: str, now: str) -> None:
    assert [line for line in lines(key, LOADED) if "now:" in line] == [now]


@pytest.mark.parametrize(
    ("loaded", "key", "now"),
    [
        (CLASSIFICATION, "data.root", "  now:      /configs/pictures (b.yaml:5)"),
        (CLASSIFICATION, "data.extra", '  now:      ["/configs/more", "/others", "/third"] (b.yaml:6)'),
        (CLASSIFICATION, "data.classes", "  now:      null (default)"),
        (CLASSIFICATION, "model.width", "  now:      0.5 (b.yaml:10)"),
        (CLASSIFICATION, "model.input_size", "  now:      [224, 224] (default)"),
        (CLASSIFICATION, "preprocess.color", "  now:      rgb (default)"),
        (CLASSIFICATION, "loss", "  now:      (b.yaml:13)"),
        (CLASSIFICATION, "loss.class_weights", "  now:      none (default)"),
        (SEGMENTATION, "loss.class_weights", "  now:      [0.5, 1.0, 2.0] (b.yaml:16)"),
        (SEGMENTATION, "data.classes", '  now:      ["background", "lung", "lesion"] (b.yaml:7)'),
        (
            SEGMENTATION,
            "data.mask_columns",
            '  now:      {"lung": "lung_mask", "lesion": "lesion_mask"} (b.yaml:8)',
        ),
        (SEGMENTATION, "model.encoder", "  now:      resnet50 (b.yaml:12)"),
        (SEGMENTATION, "train.optimizer.weight_decay", "  now:      0.05 (default)"),
        (SEGMENTATION, "postprocess.regions", '  now:      {"lung": ["lung", "lesion"]} (b.yaml:18)'),
    ],
)
def test_of_several_meanings_a_config_gets_its_own(loaded: LoadedConfig, key: str, now: str) -> None:
    text = lines(key, loaded)
    assert text.count(key) == 1
    assert [line for line in text if "now:" in line] == [now]


@pytest.mark.parametrize(
    ("loaded", "key"),
    [
        (LOADED, "data.pictures"),
        (LOADED, "loss"),
        (LOADED, "loss.kind"),
        (CLASSIFICATION, "loss.kind"),
        (CLASSIFICATION, "augment.mosaic.probability"),
        (CLASSIFICATION, "data.index"),  # of the same task, but another format
        (SEGMENTATION, "model.width"),
    ],
)
def test_a_key_that_the_config_has_no_use_for_is_explained_all_the_same(loaded: LoadedConfig, key: str) -> None:
    assert explain(key, loaded) == explain(key)
    assert "with:     " in explain(key)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("name", "text, matching ^[A-Za-z0-9_-]+$"),
        ("task", "'detection' or 'classification' or 'segmentation'"),
        ("data.format", "'coco' or 'voc' or 'yolo' or 'shapes' or 'folders' or 'csv' or 'masks'"),
        ("model.input_size", "list of 2, each whole number, at least 32, at most 4096, a multiple of 32"),
        ("model.init", "text, not empty; or null"),
        ("data.classes", "list of at least 1, each text, not empty; or null"),
        ("data.classes", "list of at least 2, each text, not empty"),
        ("data.splits", "path or null"),
        ("data.extra", "list, each path"),
        ("data.mask_columns", "block of keys, each text, not empty"),
        ("postprocess.regions", "block of keys, each list, each text, not empty"),
        ("preprocess.center", "true or false"),
        ("preprocess.std", "list of 3, each number, above 0"),
        ("postprocess.score_threshold", "number, at least 0, at most 1"),
        ("loss.class_weights", "'none' or 'balanced'"),
        ("loss.class_weights", "list, each number, above 0; or null"),
        ("augment.albumentations", "list, each block of keys"),
    ],
)
def test_types_in_words(key: str, kind: str) -> None:
    assert f"  type:     {kind}" in lines(key)


@pytest.mark.parametrize(
    ("loaded", "kind"),
    [
        (LOADED, "'yolox_nano' or 'yolox_tiny' or 'yolox_s'"),
        (CLASSIFICATION, "'mobilenet_v2' or 'resnet18' or 'resnet50'"),
        (SEGMENTATION, "'unet' or 'deeplabv3'"),
    ],
)
def test_a_key_that_chooses_offers_what_the_task_of_the_config_has(loaded: LoadedConfig, kind: str) -> None:
    assert f"  type:     {kind}" in lines("model.name", loaded)


# Key -> the choices that lead to each of its meanings; one without any is the same everywhere.
CHOICES: list[tuple[str, list[str]]] = [
    ("name", []),
    ("data", []),
    ("data.format", []),
    ("data.workers", []),
    ("train.epochs", []),
    ("train.optimizer.name", []),
    ("loss", ["task: classification or segmentation"]),
    ("loss.smoothing", ["task: classification"]),
    ("loss.class_weights", ["task: classification", "task: segmentation"]),
    ("augment.mosaic", ["task: detection"]),
    ("augment.mosaic.probability", ["task: detection"]),
    ("augment.crop_to_labels.margin", ["task: segmentation"]),
    ("preprocess.color", ["task: detection", "task: classification or segmentation"]),
    ("model.input_size", ["task: detection", "task: classification", "task: segmentation"]),
    ("model.encoder", ["task: segmentation"]),
    ("model.width", ["model.name: mobilenet_v2"]),
    ("data.root", ["every data.format but shapes", "data.format: shapes"]),
    ("data.splits", ["every data.format but shapes"]),
    ("data.images", ["data.format: coco", "data.format: voc", "data.format: yolo or masks"]),
    ("data.mask_columns", ["data.format: csv (task: segmentation)"]),
    (
        "data.classes",
        [
            "data.format: coco, voc, yolo, folders or csv (task: classification)",
            "data.format: masks",
            "data.format: csv (task: segmentation)",
        ],
    ),
    ("train.optimizer.momentum", ["train.optimizer.name: sgd"]),
]


@pytest.mark.parametrize(("key", "expected"), CHOICES)
def test_which_choices_lead_to_a_meaning(key: str, expected: list[str]) -> None:
    text = lines(key)
    assert text.count(key) == max(1, len(expected))
    assert [line.removeprefix("  with:     ") for line in text if line.startswith("  with: ")] == expected


def test_a_key_that_chooses_lists_the_choices() -> None:
    assert lines("task")[-3:] == [
        "    detection       boxes with a class.",
        "    classification  a class for each picture.",
        "    segmentation    a class for each pixel.",
    ]
    text = lines("model.name")
    assert text[:2] == ["model.name", "  Network to train."]
    assert [line.split("  ")[2] for line in text if line.startswith("    ")] == [
        "yolox_nano or yolox_tiny or yolox_s",
        "mobilenet_v2",
        "resnet18 or resnet50",
        "unet",
        "deeplabv3",
    ]
    assert text.index("  with task: classification") < text.index("  with task: segmentation")


def test_a_block_lists_its_keys_and_which_choices_have_them() -> None:
    text = explain("train.optimizer")
    assert text.index(" lr ") < text.index("with train.optimizer.name: adamw") < text.index("nesterov")
    assert explain("augment.mosaic").count("\n") == 4
    assert sections(lines("loss")) == {
        "  with task: classification": ["smoothing", "class_weights", "focal_gamma"],
        "  with task: segmentation": ["class_weights", "kind", "dice_weight", "dice_over"],
    }
    assert sections(lines("augment", CLASSIFICATION)) == {
        "": ["oversample_rare", "balance_sources", "albumentations", "mixup", "cutmix"],
    }


def sections(text: list[str]) -> dict[str, list[str]]:
    """Return the names that are listed under each heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in text:
        if line.startswith("  with "):
            heading = line
        elif line.startswith("    "):
            found.setdefault(heading, []).append(line.split()[0])
    return found


def test_without_a_key_every_block_is_listed_once() -> None:
    text = lines("")
    blocks = [
        "name",
        "task",
        "seed",
        "data",
        "model",
        "preprocess",
        "augment",
        "train",
        "postprocess",
        "bundle",
        "export",
        "measures",
        "calibration",
        "loss",
    ]
    assert [line.split()[0] for line in text if line.startswith("  ")] == blocks
    assert text[-2].startswith("with task: classification or segmentation")
    assert text[-1].startswith("  loss ")
    assert [line.split()[0] for line in lines("", SEGMENTATION)] == [b for b in blocks if b != "calibration"]
    assert [line.split()[0] for line in lines("", LOADED)] == blocks[:-1]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("train.epohcs", "train.epohcs: unknown key; did you mean 'train.epochs'?"),
        ("epochs", "epochs: unknown key; did you mean 'train.epochs'?"),
        ("train.lr", "train.lr: unknown key; did you mean 'train.optimizer.lr'?"),
        ("zzz", "zzz: unknown key; the blocks are name, task, seed, data"),
        ("train.epochs.more", "train.epochs.more: unknown key"),
        (".", ".: unknown key"),
    ],
)
def test_unknown_keys(key: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        explain(key)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", all_keys())
def test_every_key_is_explained_in_one_sentence(key: str) -> None:
    for _, field in find(key):
        description = field.description or ""
        assert description.endswith(".")
        assert description.count(". ") == 0
    assert explain(key).startswith(key)
