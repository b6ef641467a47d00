"""Batches depend on (seed, epoch, index) alone: not on the number of workers, nor on what came before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.config import parse_config
from toolkit.data import Table, load_table
from toolkit.training.dataset import (
    EpochSampler,
    PictureCache,
    TrainingSet,
    ValidationSet,
    rarity_weights,
    training_loader,
    validation_loader,
)
from toolkit.training.network import preprocessing_of

CONFIG = """
name: tiny
task: detection
data: {{format: shapes, root: {root}, pictures: 14, size: [96, 128], workers: {workers}}}
model: {{name: yolox_nano, input_size: [64, 96]}}
augment:
  mosaic: {{probability: 0.5, off_epochs: 1}}
  albumentations: [{{HorizontalFlip: {{p: 0.5}}}}, {{ColorJitter: {{p: 0.5}}}}]
train: {{batch_size: 4, epochs: 3}}
"""


def training_set(folder: Path, workers: int = 0) -> TrainingSet:
    config = parse_config(CONFIG.format(root=folder / "shapes", workers=workers)).config
    return TrainingSet(load_table(config.data, 0).subset("train"), config, preprocessing_of(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def test_two_workers_give_the_batches_of_none(folder: Path) -> None:
    batches = []
    for workers in (0, 2):
        loader = training_loader(training_set(folder, workers))
        loader.sampler.set_epoch(1)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) >= 2
    for alone, helped in zip(*batches, strict=True):
        assert alone.indices == helped.indices
        np.testing.assert_array_equal(alone.images.numpy(), helped.images.numpy())
        for a, b in zip(alone.boxes, helped.boxes, strict=True):
            np.testing.assert_array_equal(a, b)


def test_epochs_differ_and_repeat(folder: Path) -> None:
    data = training_set(folder)
    first, again, later = data[(0, 3)], data[(0, 3)], data[(1, 3)]
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != later[0]).any()
    assert first[0].shape == (3, 64, 96)
    assert first[0].dtype == np.float32


def test_the_last_epochs_make_no_mosaics(folder: Path) -> None:
    data = training_set(folder)
    mosaics = [len(data.augmented(epoch, 0).boxes) for epoch in (2,) for _ in range(3)]
    assert len(set(mosaics)) == 1
    sample = data.augmented(2, 0)
    assert len(sample.boxes) <= len(data.labelled(0).boxes)


def test_the_sampler_is_a_permutation_by_seed_and_epoch() -> None:
    sampler = EpochSampler(50, seed=3)
    orders = []
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        pairs = list(sampler)
        assert {e for e, _ in pairs} == {epoch}
        assert sorted(i for _, i in pairs) == list(range(50))
        orders.append([i for _, i in pairs])
    assert orders[0] != orders[1]
    assert list(EpochSampler(50, seed=3)) == [(0, i) for i in orders[0]]
    assert len(sampler) == 50


def test_weights_draw_each_picture_about_as_often_as_they_say() -> None:
    weights = np.array([1.0] * 90 + [4.0] * 10)
    drawn = np.bincount([i for _, i in EpochSampler(100, seed=0, weights=weights)], minlength=100)
    expected = weights / weights.sum() * 100
    assert drawn.sum() == 100
    assert (np.abs(drawn - expected) < 1).all()  # systematic resampling: within one of the expectation


def test_rarity_weights(folder: Path) -> None:
    table = training_set(folder).table
    assert rarity_weights(table, 0.0) is None
    weights = rarity_weights(table, 1.0)
    counts = np.array([c["train"] for c in table.counts().values()])
    sample = table.samples[0]
    assert weights is not None
    assert weights[0] == pytest.approx(counts.max() / counts[sample.class_ids].min())


@pytest.mark.parametrize(("budget_mb", "kept"), [(0, 0), (1, 11), (64, 11)])
def test_the_cache_keeps_to_its_budget(folder: Path, budget_mb: int, kept: int) -> None:
    samples = training_set(folder).table.samples[:11]
    cache = PictureCache(samples, budget_mb)
    pictures = [cache[i] for i in range(len(samples))]
    assert sum(cache[i] is picture for i, picture in enumerate(pictures)) == min(kept, len(samples))
    assert all(p.shape == (96, 128, 3) for p in pictures)


def test_validation_comes_whole_and_in_order(folder: Path) -> None:
    config = parse_config(CONFIG.format(root=folder / "shapes", workers=0)).config
    table: Table = load_table(config.data, 0).subset("val")
    seen: list[int] = []
    for pixels, indices in validation_loader(ValidationSet(table, preprocessing_of(config), 1), 2):
        assert pixels.shape[1:] == (3, 64, 96)
        seen += indices
    assert seen == list(range(len(table)))
