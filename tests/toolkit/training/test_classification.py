"""Training a classifier: mixed pictures have mixed targets, weights follow the counts, validation is measured right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ops import Placement
from toolkit.config import parse_config
from toolkit.data import LabelSample, Table
from toolkit.training.classification import TASK, ClassificationModule, ClassificationSet
from toolkit.training.network import preprocessing_of

SIDE = 32
# One channel for each class, 0 or 1: the mean of a channel is the share of its class in the picture.
CONFIG = """
name: tiny
task: classification
data: {format: csv, root: .}
model: {name: mobilenet_v2, width: 0.25, input_size: [32, 32]}
preprocess: {color: rgb, mean: [0, 0, 0], std: [255, 255, 255]}
"""
NAMES = ("red", "green", "blue")


def config_of(*overrides: str) -> Any:
    return parse_config(CONFIG, overrides=overrides).config


def table_of(*class_ids: int, names: tuple[str, ...] = NAMES, split: str = "train", folder: Path = Path()) -> Table:
    samples = [
        LabelSample(path=folder / f"{c}.png", name=f"{i}.png", size=(SIDE, SIDE), split=split, group="", class_id=c)
        for i, c in enumerate(class_ids)
    ]
    return Table(names, tuple(samples))


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of each class, all of one primary colour: 0.png is red, 1.png green, 2.png blue."""
    folder = tmp_path_factory.mktemp("colours")
    for class_id, colour in enumerate(np.eye(3, dtype=np.uint8) * 255):
        Image.fromarray(np.full((SIDE, SIDE, 3), colour)).save(folder / f"{class_id}.png")
    return folder


def training_set(folder: Path, *overrides: str) -> ClassificationSet:
    config = config_of(*overrides)
    return ClassificationSet(table_of(*(0, 1, 2) * 4, folder=folder), config, preprocessing_of(config))


MIXUP, CUTMIX = "augment.mixup={probability: 1.0, alpha: 1.0}", "augment.cutmix={probability: 1.0, alpha: 1.0}"


@pytest.mark.parametrize(
    ("overrides", "mixed"),
    [([], 0.0), ([MIXUP], 1.0), ([CUTMIX], 1.0), ([MIXUP, CUTMIX], 1.0), (["augment.mixup.probability=0.5"], 0.5)],
    ids=["alone", "mixup", "cutmix", "both", "half"],
)
def test_a_target_says_how_much_of_each_class_is_in_the_picture(
    overrides: list[str], mixed: float, colours: Path
) -> None:
    data = training_set(colours, *overrides)
    soft = []
    for epoch in range(8):
        for index in range(len(data)):
            pixels, target, _ = data[epoch, index]
            np.testing.assert_allclose(target, pixels.mean((1, 2)), atol=2e-6)
            assert target.dtype == np.float32
            soft.append(np.count_nonzero(target > 1e-6) > 1)
    # A third of the partners are of the same class; both ways of mixing leave that only one time in nine.
    expected = mixed * (8 / 9 if len(overrides) == 2 else 2 / 3)
    assert abs(np.mean(soft) - expected) < 0.15


def test_mixup_lays_two_pictures_over_each_other_evenly(colours: Path) -> None:
    data = training_set(colours, MIXUP)
    for index in range(len(data)):
        pixels, target, _ = data[0, index]
        np.testing.assert_allclose(pixels, np.broadcast_to(target[:, None, None], pixels.shape), atol=1e-6)


def test_cutmix_puts_one_box_into_the_picture(colours: Path) -> None:
    data = training_set(colours, CUTMIX)
    places, boxes = np.zeros((SIDE, SIDE)), 0
    for epoch in range(20):
        for index in range(len(data)):
            pixels, _, _ = data[epoch, index]
            own = data.table.samples[index].class_id
            box = pixels[own] == 0
            assert set(np.unique(pixels)) <= {0.0, 1.0}
            rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
            assert box.sum() == len(rows) * len(columns)
            boxes += bool(box.any())
            places += box
    assert boxes > 100
    assert places.min() > 0  # every place is reached, corners too


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_alpha_says_how_evenly_the_shares_are_drawn(mix: str, colours: Path) -> None:
    evenness = []
    for alpha in (0.2, 1.0, 8.0):
        data = training_set(colours, f"augment.{mix}={{probability: 1.0, alpha: {alpha}}}")
        shares = [
            data[epoch, index][1][data.table.samples[index].class_id] for epoch in range(10) for index in range(12)
        ]
        evenness.append(np.mean([min(share, 1 - share) for share in shares]))
    assert evenness[0] < evenness[1] < evenness[2]


@pytest.mark.parametrize(
    ("class_ids", "overrides", "weights"),
    [
        ((0, 0, 0, 1, 1, 2), [], None),
        # pictures / (classes * pictures of the class)
        ((0, 0, 0, 1, 1, 2), ["loss.class_weights=balanced"], [6 / 9, 1.0, 2.0]),
        ((0, 1, 2), ["loss.class_weights=balanced"], [1.0, 1.0, 1.0]),
    ],
)
def test_balanced_class_weights(class_ids: tuple, overrides: list[str], weights: list[float] | None) -> None:
    table = table_of(*class_ids)
    module = ClassificationModule(torch.nn.Identity(), config_of(*overrides), table, table, total_steps=1)
    assert module.facts["class_weights"] == (weights and pytest.approx(weights))


def test_held_out_pictures_do_not_weigh() -> None:
    both = Table(NAMES, table_of(0, 0, 1, 2).samples + table_of(1, 1, 1, 1, split="val").samples)
    config = config_of("loss.class_weights=balanced")
    module = ClassificationModule(torch.nn.Identity(), config, both, both.subset("val"), total_steps=1)
    assert module.facts["class_weights"] == pytest.approx([4 / 6, 4 / 3, 4 / 3])


def plain_loss(logits: np.ndarray, target: np.ndarray, weights: list[float], smoothing: float, gamma: float) -> float:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    p = powers / powers.sum(1, keepdims=True)
    spread = target * (1 - smoothing) + smoothing / target.shape[1]
    return float((-np.array(weights) * spread * (1 - p) ** gamma * np.log(p)).sum(1).mean())


BALANCED = [7 / 9, 7 / 9, 7 / 3]  # of three, three and one pictures


@pytest.mark.parametrize(
    ("overrides", "weights", "smoothing", "gamma"),
    [
        ([], [1, 1, 1], 0.0, 0.0),
        (["loss.smoothing=0.1"], [1, 1, 1], 0.1, 0.0),
        (["loss.focal_gamma=2"], [1, 1, 1], 0.0, 2.0),
        (["loss.class_weights=balanced"], BALANCED, 0.0, 0.0),
        (["loss.class_weights=balanced", "loss.smoothing=0.2", "loss.focal_gamma=1.5"], BALANCED, 0.2, 1.5),
    ],
)
def test_the_config_reaches_the_loss(overrides: list[str], weights: list, smoothing: float, gamma: float) -> None:
    table = table_of(0, 0, 0, 1, 1, 1, 2)
    module = ClassificationModule(torch.nn.Identity(), config_of(*overrides), table, table, total_steps=1)
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 2, (5, 3)), rng.dirichlet(np.ones(3), 5)
    parts = module.loss(torch.from_numpy(logits), torch.from_numpy(target))
    assert parts["loss"].item() == pytest.approx(plain_loss(logits, target, weights, smoothing, gamma), rel=1e-6)
    assert set(parts) >= set(TASK.parts)


LIKELY = {0: [2.0, 0.0, -1.0], 1: [-3.0, 1.0, 0.0], 2: [0.0, 0.0, 5.0]}  # logits that say the class


@pytest.mark.parametrize(
    ("truth", "said", "top1", "macro_f1"),
    [
        ((0, 1, 2), (0, 1, 2), 1.0, 1.0),
        ((0, 1, 2), (1, 2, 0), 0.0, 0.0),
        ((0, 0, 0, 1), (0, 0, 1, 1), 0.75, (4 / 5 + 2 / 3) / 2),  # class 2 is neither true nor said
        ((0, 0, 0, 0), (0, 0, 0, 2), 0.75, (6 / 7 + 0) / 2),
    ],
)
def test_validation_numbers(truth: tuple, said: tuple, top1: float, macro_f1: float) -> None:
    table = table_of(*truth, split="val")
    module = ClassificationModule(torch.nn.Identity(), config_of(), table, table, total_steps=1)
    answers = [module.answer(np.float32(LIKELY[c]), Placement(1, 1, 0, 0), i) for i, c in enumerate(said)]
    numbers = module.numbers(answers)
    p = np.array([np.exp(LIKELY[c]) / np.exp(LIKELY[c]).sum() for c in said])
    np.testing.assert_allclose(answers, p, rtol=1e-6)
    assert numbers["top1"] == top1
    assert numbers["macro_f1"] == pytest.approx(macro_f1)
    likelihood = -np.log(p[np.arange(len(truth)), list(truth)]).mean()
    assert numbers["negative_log_likelihood"] == pytest.approx(likelihood)
    assert tuple(numbers) == TASK.numbers


def test_logits_of_any_size_become_probabilities() -> None:
    table = table_of(0, split="val")
    module = ClassificationModule(torch.nn.Identity(), config_of(), table, table, total_steps=1)
    answer = module.answer(np.float32([1000.0, -1000.0, 999.0]), Placement(1, 1, 0, 0), 0)
    assert answer.sum() == pytest.approx(1)
    np.testing.assert_allclose(answer, [1 / (1 + np.exp(-1)), 0, 1 / (1 + np.exp(1))], atol=1e-12)
