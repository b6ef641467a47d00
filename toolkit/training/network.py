"""From a config to what it names: the network and the preprocessing. Shared by training and export."""

from __future__ import annotations

from typing import Any

from toolkit.config.model_blocks import ModelBlock
from toolkit.config.registry import NETWORKS, resolve
from toolkit.config.schema import CommonConfig
from toolkit.preprocess import Preprocessing


def build_network(model: ModelBlock, num_classes: int) -> Any:
    """Return the network that a config's ``model`` block stands for, freshly initialised."""
    entry = next(networks[model.name] for networks in NETWORKS.values() if model.name in networks)
    return resolve(entry)(num_classes=num_classes, **model.options)


def preprocessing_of(config: CommonConfig) -> Preprocessing:
    """The preprocessing spec of a config: the one that validation uses and that the bundle carries."""
    return Preprocessing(input_size=config.model.input_size, **config.preprocess.model_dump())


def training_preprocessing_of(config: CommonConfig) -> Preprocessing:
    """The same for the pictures trained on, whose size may be another.

    Where random crops enlarge what is in them, pictures in use look best at a larger size than those trained on
    (Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019, arXiv 1906.06423).
    """
    return Preprocessing(input_size=training_size(config), **config.preprocess.model_dump())


def training_size(config: CommonConfig) -> tuple[int, int]:
    """Height and width of the pictures trained on."""
    return config.train.input_size or config.model.input_size
