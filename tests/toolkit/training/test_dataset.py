"""Batches depend on (seed, epoch, index) alone: not on the number of workers, nor on what came before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.config import parse_config
from toolkit.config.schema import DetectionAugment
from toolkit.data import LabelSample, MaskSample, Table, load_table
from toolkit.training.dataset import TrainingSet, ValidationSet
from toolkit.training.loader import EpochBatches, drawing_weights, rarity_weights, training_loader, validation_loader
from toolkit.training.network import preprocessing_of
from toolkit.training.task import training_task

HEAD = """
name: tiny
task: {task}
data: {{format: shapes, root: {root}, pictures: 14, size: [96, 128], workers: {workers}}}
train: {{batch_size: 4, epochs: 3}}
"""
# Everything that is drawn by chance is on.
BLOCKS = {
    "detection": """
model: {name: yolox_nano, input_size: [64, 96]}
augment:
  mosaic: {probability: 0.5, off_epochs: 1}
  albumentations: [{HorizontalFlip: {p: 0.5}}, {ColorJitter: {p: 0.5}}]
""",
    "classification": """
model: {name: mobilenet_v2, input_size: [64, 96]}
augment:
  mixup: {probability: 0.5}
  cutmix: {probability: 0.5}
  oversample_rare: 0.5
  albumentations: [{HorizontalFlip: {p: 0.5}}, {ColorJitter: {p: 0.5}}]
""",
    "segmentation": """
model: {name: unet, input_size: [64, 96]}
augment:
  crop_to_labels: {probability: 0.5}
  albumentations: [{HorizontalFlip: {p: 0.5}}, {Affine: {rotate: [-20, 20], p: 0.5}}, {ColorJitter: {p: 0.5}}]
""",
}
TASKS = sorted(BLOCKS)


def config_of(task: str, folder: Path, workers: int = 0) -> Any:
    return parse_config(HEAD.format(task=task, root=folder / task, workers=workers) + BLOCKS[task]).config


def training_set(task: str, folder: Path, workers: int = 0) -> TrainingSet[Any]:
    config = config_of(task, folder, workers)
    return training_task(task).training_set(load_table(config).subset("train"), config, preprocessing_of(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def arrays(target: Any) -> Iterator[np.ndarray]:
    """Every array that a target is made of."""
    if isinstance(target, np.ndarray | torch.Tensor):
        yield np.asarray(target)
    else:
        for part in target:
            yield from arrays(part)


def same(one: Any, other: Any) -> bool:
    pairs = list(zip(arrays(one), arrays(other), strict=True))
    return bool(pairs) and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("task", TASKS)
def test_two_workers_give_the_batches_of_none(task: str, folder: Path) -> None:
    batches = []
    for workers in (0, 2):
        loader = training_loader(training_set(task, folder, workers))
        loader.batches.set_epoch(1)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) >= 2
    for alone, helped in zip(*batches, strict=True):
        assert alone.indices == helped.indices
        assert same([alone.images], [helped.images])
        assert same(alone.targets, helped.targets)


@pytest.mark.parametrize("task", TASKS)
def test_an_item_is_drawn_by_seed_epoch_and_index(task: str, folder: Path) -> None:
    first = training_set(task, folder)
    again = training_set(task, folder)
    for _ in range(2):  # what was asked for before does not matter
        again[0, 5]
    assert same(first[1, 3][:2], again[1, 3][:2])
    later, other = first[0, 3], first[1, 4]
    assert not same([first[1, 3][0]], [later[0]])
    assert not same([first[1, 3][0]], [other[0]])
    first.config = first.config.model_copy(update={"seed": 1})
    assert not same([first[1, 3][0]], [again[1, 3][0]])


@pytest.mark.parametrize(
    ("task", "shape", "dtype"),
    [("classification", (4, 3), torch.float32), ("segmentation", (4, 64, 96), torch.uint8)],
)
def test_targets_are_stacked_as_the_loss_takes_them(task: str, shape: tuple, dtype: torch.dtype, folder: Path) -> None:
    batch = next(iter(training_loader(training_set(task, folder))))
    assert batch.images.shape == (4, 3, 64, 96)
    assert batch.images.dtype == torch.float32
    assert batch.targets.shape == shape
    assert batch.targets.dtype == dtype


def test_the_targets_of_a_detector_are_a_list_a_picture(folder: Path) -> None:
    batch = next(iter(training_loader(training_set("detection", folder))))
    assert len(batch.targets.boxes) == len(batch.targets.class_ids) == 4
    for boxes, class_ids in zip(*batch.targets, strict=True):
        assert boxes.shape == (len(class_ids), 4)
        assert (boxes.dtype, class_ids.dtype) == (np.float32, np.int64)


def test_the_last_epochs_make_no_mosaics(folder: Path) -> None:
    data = training_set("detection", folder)
    data.config = data.config.model_copy(update={"augment": data.config.augment.model_copy(update={"zoom": no_zoom()})})
    for index in range(len(data)):
        sample = data.augmented(2, index, np.random.default_rng(index))
        assert len(sample.boxes) <= len(data.labelled(index).boxes)


def no_zoom() -> Any:
    from toolkit.config.schema import ZoomConfig

    return ZoomConfig(probability=0.0)


def test_an_epoch_is_a_permutation_by_seed_and_epoch() -> None:
    batches = EpochBatches(50, 10, seed=3)
    orders = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        assert [len(batch) for batch in batches] == [10] * 5
        pairs = [pair for batch in batches for pair in batch]
        assert {e for e, _ in pairs} == {epoch}
        assert sorted(i for _, i in pairs) == list(range(50))
        orders.append([i for _, i in pairs])
    assert orders[0] != orders[1]
    assert [i for batch in EpochBatches(50, 10, seed=3) for _, i in batch] == orders[0]


@pytest.mark.parametrize(
    ("length", "size", "sizes"),
    [(10, 4, [4, 4]), (8, 4, [4, 4]), (3, 4, [3]), (1, 1, [1])],  # a short last batch is kept only where it is alone
)
def test_the_batches_of_an_epoch(length: int, size: int, sizes: list[int]) -> None:
    batches = EpochBatches(length, size, seed=0)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


@pytest.mark.parametrize(("size", "ranks"), [(8, 2), (8, 4), (7, 2), (6, 3)])
def test_processes_share_every_batch(size: int, ranks: int) -> None:
    whole = list(EpochBatches(40, size, seed=1))
    parts = [list(EpochBatches(40, size, seed=1, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert [[pair for share in shares for pair in share] for shares in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize(("workers", "position"), [(0, (0, 1)), (0, (1, 0)), (0, (1, 2)), (0, (1, 3)), (2, (1, 2))])
def test_a_loader_goes_on_at_its_position(workers: int, position: tuple[int, int], folder: Path) -> None:
    loader = training_loader(training_set("detection", folder, workers))
    epoch, number = position
    loader.batches.set_epoch(epoch)
    wanted = [batch.indices for batch in loader][number:]
    loader.position = position
    resumed = training_loader(training_set("detection", folder, workers))
    resumed.load_state_dict(loader.state_dict())
    assert [batch.indices for batch in resumed] == wanted
    resumed.batches.set_epoch(epoch + 1)
    assert len(list(resumed)) == len(resumed)  # the next epoch is whole


def test_weights_draw_each_picture_about_as_often_as_they_say() -> None:
    weights = np.array([1.0] * 90 + [4.0] * 10)
    drawn = np.bincount([i for batch in EpochBatches(100, 10, 0, weights) for _, i in batch], minlength=100)
    expected = weights / weights.sum() * 100
    assert drawn.sum() == 100
    assert (np.abs(drawn - expected) < 1).all()  # systematic resampling: within one of the expectation


def labelled(*class_ids: int) -> Table[LabelSample]:
    names = tuple("abcd"[: max(class_ids) + 1])
    return Table(names, tuple(LabelSample(**common(i), class_id=c) for i, c in enumerate(class_ids)))


def masked(*pixels: list[int]) -> Table[MaskSample]:
    rows = (MaskSample(**common(i), masks=(), pixels=np.array(row)) for i, row in enumerate(pixels))
    return Table(tuple("abcd"[: len(pixels[0])]), tuple(rows))


def common(index: int) -> dict[str, Any]:
    return {"path": Path(f"{index}.png"), "name": f"{index}.png", "size": (10, 10), "split": "train", "group": ""}


@pytest.mark.parametrize(
    ("table", "exponent", "expected"),
    [
        (labelled(0, 0, 0, 1), 0.0, [1, 1, 1, 1]),
        (labelled(0, 0, 0, 1), 1.0, [1, 1, 1, 3]),
        (labelled(0, 0, 0, 0, 1), 0.5, [1, 1, 1, 1, 2]),
        (labelled(1, 1, 1), 2.0, [1, 1, 1]),  # a class without pictures weighs nothing
        (masked([80, 20], [100, 0]), 1.0, [9, 1]),  # 180 pixels to 20
        (masked([100, 0], [75, 25], [25, 0]), 0.5, [1, np.sqrt(8), 1]),
        (masked([0, 0], [60, 40]), 1.0, [1, 1.5]),  # nothing labelled: as the most frequent class
    ],
)
def test_rarity_weights(table: Table[Any], exponent: float, expected: list[float]) -> None:
    np.testing.assert_allclose(rarity_weights(table, exponent), expected)


@pytest.mark.parametrize(
    ("rare", "sources", "expected"),
    [
        (0, 0, None),
        (0, 1, [1, 1, 1, 1, 4]),  # four pictures of one source, one of another
        (0, 0.5, [1, 1, 1, 1, 2]),
        (1, 0, [1, 1, 1, 4, 1]),
        (1, 0.5, [1, 1, 1, 4, 2]),
    ],
)
def test_pictures_of_rare_classes_and_of_small_sources_are_drawn_oftener(
    rare: float, sources: float, expected: list[float] | None
) -> None:
    table = labelled(0, 0, 0, 1, 0)
    samples = (*table.samples[:4], replace(table.samples[4], source="street"))
    config = DetectionAugment(oversample_rare=rare, balance_sources=sources)
    weights = drawing_weights(replace(table, samples=samples), config)
    if expected is None:
        assert weights is None
    else:
        np.testing.assert_allclose(weights, expected)


def test_rarity_weights_of_boxes_follow_the_rarest_class_of_a_picture(folder: Path) -> None:
    table = training_set("detection", folder).table
    weights = rarity_weights(table, 1.0)
    counts = np.array([c["train"] for c in table.counts().values()])
    for weight, sample in zip(weights, table.samples, strict=True):
        rarest = counts[sample.class_ids].min() if len(sample.class_ids) else counts.max()
        assert weight == pytest.approx(counts.max() / rarest)


@pytest.mark.parametrize("task", TASKS)
def test_validation_comes_whole_in_order_and_as_it_is_predicted(task: str, folder: Path) -> None:
    config = config_of(task, folder)
    preprocessing = preprocessing_of(config)
    table: Table[Any] = load_table(config).subset("val")
    checks = ValidationSet(table, preprocessing, 1)
    seen: list[int] = []
    for (batch,) in validation_loader(checks, 2):
        assert batch.images.shape[1:] == (3, 64, 96)
        seen += batch.indices
        for pixels, placement, index in zip(batch.images, batch.placements, batch.indices, strict=True):
            wanted, its_placement = preprocessing.apply(checks.pictures[index])
            np.testing.assert_array_equal(pixels.numpy(), wanted)
            assert placement == its_placement
    assert seen == list(range(len(table)))


def test_validation_pictures_of_other_shapes_come_in_parts_of_one_shape(folder: Path) -> None:
    """None is padded for another: what is said of a picture does not depend on what else is in its batch."""
    config = config_of("detection", folder)
    preprocessing = preprocessing_of(config).model_copy(update={"pad_multiple": 32})
    table: Table[Any] = load_table(config)
    checks = ValidationSet(table, preprocessing, 1)
    checks.pictures = [  # type: ignore[assignment]
        np.full((height, 120, 3), index, np.uint8) for index, height in enumerate((30, 60, 90, 30, 60, 90, 60))
    ]
    checks.table = replace(table, samples=table.samples[:7])
    batches = [[part.indices for part in batch] for batch in validation_loader(checks, 4)]
    assert batches == [[[0, 3], [1, 2]], [[4, 5, 6]]]  # inputs of 32 and of 64 rows
    for part in itertools.chain(*validation_loader(checks, 4)):
        for pixels, placement, index in zip(part.images, part.placements, part.indices, strict=True):
            wanted, its_placement = preprocessing.apply(checks.pictures[index])
            np.testing.assert_array_equal(pixels.numpy(), wanted)
            assert placement == its_placement
