"""From a config to what it names: the network and the preprocessing. Shared by training and export."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit.config.schema import DetectionConfig
from toolkit.preprocess import Preprocessing

# The schema's model names to the constructors behind them: a new network is one file in `zoo` and one line here.
NETWORKS = {
    "yolox_nano": "zoo.yolox:yolox_nano",
    "yolox_tiny": "zoo.yolox:yolox_tiny",
    "yolox_s": "zoo.yolox:yolox_s",
}


def build_network(name: str, num_classes: int) -> Any:
    """Return the network that a config's ``model.name`` stands for, freshly initialised."""
    module, function = NETWORKS[name].split(":")
    return getattr(importlib.import_module(module), function)(num_classes=num_classes)


def preprocessing_of(config: DetectionConfig) -> Preprocessing:
    """The preprocessing spec of a config: the one that training uses and that the bundle carries."""
    return Preprocessing(input_size=config.model.input_size, **config.preprocess.model_dump())
