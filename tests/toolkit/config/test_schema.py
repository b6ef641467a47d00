"""What a config of each task may say: values, defaults, the blocks to choose among."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from toolkit.config import parse_config
from toolkit.config.blocks import Block
from toolkit.config.data_blocks import (
    CocoData,
    CsvLabels,
    CsvMasks,
    FoldersData,
    MasksData,
    ShapesData,
    VocData,
    YoloData,
)
from toolkit.config.model_blocks import DeepLabV3Model, MobileNetV2Model, ResNetModel, UnetModel, YoloxModel

DETECTION, CLASSIFICATION, SEGMENTATION = (
    Path(__file__).with_name(f"{task}.yaml").read_text() for task in ("detection", "classification", "segmentation")
)


def load(text: str = DETECTION, *overrides: str, directory: str | Path = "/configs") -> Any:
    return parse_config(text, name="configs/x.yaml", directory=directory, overrides=overrides)


def test_values_and_defaults() -> None:
    config = load().config
    assert isinstance(config.data, CocoData)
    assert config.model.input_size == (320, 416)
    assert config.train.epochs == 10
    assert (config.train.optimizer.name, config.train.optimizer.momentum) == ("sgd", 0.8)
    assert config.train.optimizer.lr == 0.01  # sgd's own default
    assert config.train.batch_size == 16
    assert config.preprocess.fill == 114
    assert config.data.annotations == Path("annotations.json")  # stays relative to data.root


# Config, key -> value: what is given, and the defaults, which differ between the tasks.
VALUES: list[tuple[str, str, object]] = [
    (CLASSIFICATION, "data.extra", (Path("/configs/more"), Path("/others"), Path("/third"))),
    (CLASSIFICATION, "data.leave_out", ("unsorted",)),
    (CLASSIFICATION, "data.val_fraction", 0.1),
    (CLASSIFICATION, "model.width", 0.5),
    (CLASSIFICATION, "model.input_size", (224, 224)),
    (CLASSIFICATION, "preprocess.kind", "stretch"),
    (CLASSIFICATION, "preprocess.color", "rgb"),
    (CLASSIFICATION, "preprocess.mean", (123.675, 116.28, 103.53)),
    (CLASSIFICATION, "augment.mixup.probability", 0.0),
    (CLASSIFICATION, "augment.mixup.alpha", 0.2),
    (CLASSIFICATION, "augment.cutmix.probability", 0.3),
    (CLASSIFICATION, "augment.cutmix.alpha", 0.2),  # a given block is a new one: alpha is that of any mixing
    (CLASSIFICATION, "loss.focal_gamma", 2.0),
    (CLASSIFICATION, "loss.class_weights", "none"),
    (CLASSIFICATION, "postprocess.top_k", 5),
    (SEGMENTATION, "data.index", Path("lists/all.csv")),  # relative to data.root
    (SEGMENTATION, "data.root", Path("/configs/pictures")),
    (SEGMENTATION, "data.classes", ("background", "lung", "lesion")),
    (SEGMENTATION, "data.mask_columns", {"lung": "lung_mask", "lesion": "lesion_mask"}),
    (SEGMENTATION, "data.group_column", "patient"),
    (SEGMENTATION, "model.encoder", "resnet50"),
    (SEGMENTATION, "model.input_size", (256, 256)),
    (SEGMENTATION, "preprocess.kind", "letterbox"),
    (SEGMENTATION, "preprocess.color", "rgb"),
    (SEGMENTATION, "augment.crop_to_labels.margin", (0.1, 0.2)),
    (SEGMENTATION, "loss.kind", "ce"),
    (SEGMENTATION, "loss.dice_weight", 1.0),
    (SEGMENTATION, "loss.dice_over", "batch"),
    (SEGMENTATION, "loss.class_weights", (0.5, 1.0, 2.0)),
    (SEGMENTATION, "postprocess.regions", {"lung": ("lung", "lesion")}),
    (SEGMENTATION, "postprocess.presence", {}),
]


@pytest.mark.parametrize(("text", "key", "expected"), VALUES)
def test_values_of_the_other_tasks(text: str, key: str, expected: object) -> None:
    assert load(text).value(key) == expected


# Config, override of a whole block -> its class, with all its other keys at their defaults.
BLOCKS = [
    (DETECTION, "data={format: voc, root: a}", VocData),
    (DETECTION, "data={format: yolo, root: a}", YoloData),
    (DETECTION, "data={format: shapes}", ShapesData),
    (CLASSIFICATION, "data={format: folders, root: a}", FoldersData),
    (CLASSIFICATION, "data={format: csv, root: a}", CsvLabels),
    (CLASSIFICATION, "data={format: shapes}", ShapesData),
    (SEGMENTATION, "data={format: masks, root: a, classes: [b, c]}", MasksData),
    (SEGMENTATION, "data={format: csv, root: a, classes: [b, c]}", CsvMasks),  # the same word, another task
    (SEGMENTATION, "data={format: shapes}", ShapesData),
    (DETECTION, "model={name: yolox_s}", YoloxModel),
    (CLASSIFICATION, "model={name: mobilenet_v2}", MobileNetV2Model),
    (CLASSIFICATION, "model={name: resnet18}", ResNetModel),
    (CLASSIFICATION, "model={name: resnet50}", ResNetModel),
    (SEGMENTATION, "model={name: unet}", UnetModel),
    (SEGMENTATION, "model={name: deeplabv3}", DeepLabV3Model),
]


@pytest.mark.parametrize(("text", "override", "block"), BLOCKS)
def test_each_choice_of_a_task(text: str, override: str, block: type[Block]) -> None:
    assert type(getattr(load(text, override).config, override.partition("=")[0])) is block


def test_a_network_is_given_its_own_keys_only() -> None:
    assert load(CLASSIFICATION).config.model.options == {"width": 0.5, "dropout": 0.2}
    assert load(SEGMENTATION).config.model.options == {"encoder": "resnet50"}
    assert load().config.model.options == {}


def test_config_is_read_only() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().config.train.epochs = 5


def test_whole_numbers_are_numbers_too() -> None:
    assert load(DETECTION, "train.warmup_epochs=2").config.train.warmup_epochs == 2.0
