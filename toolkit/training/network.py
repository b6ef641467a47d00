"""From a config to what it names: the network and the preprocessing. Shared by training and export."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit.config.model_blocks import ModelBlock
from toolkit.config.schema import CommonConfig
from toolkit.preprocess import Preprocessing

# The schema's model names to the constructors behind them: a new network is one file in `zoo` and one line here.
NETWORKS = {
    "yolox_nano": "zoo.yolox:yolox_nano",
    "yolox_tiny": "zoo.yolox:yolox_tiny",
    "yolox_s": "zoo.yolox:yolox_s",
    "mobilenet_v2": "zoo.mobilenet_v2:mobilenet_v2",
    "resnet18": "zoo.resnet:resnet18",
    "resnet50": "zoo.resnet:resnet50",
    "unet": "zoo.unet:unet",
    "deeplabv3": "zoo.deeplabv3:deeplabv3",
}


def build_network(model: ModelBlock, num_classes: int) -> Any:
    """Return the network that a config's ``model`` block stands for, freshly initialised."""
    module, function = NETWORKS[model.name].split(":")
    return getattr(importlib.import_module(module), function)(num_classes=num_classes, **model.options)


def preprocessing_of(config: CommonConfig) -> Preprocessing:
    """The preprocessing spec of a config: the one that training uses and that the bundle carries."""
    return Preprocessing(input_size=config.model.input_size, **config.preprocess.model_dump())
