"""Pictures are decoded once within the budget, for all processes together, and nobody changes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit import images
from toolkit.config import parse_config
from toolkit.data import load_table
from toolkit.data.mask_files import read_mask
from toolkit.data.shapes import draw_set
from toolkit.data.table import LabelSample, MaskSample
from toolkit.training.detection import DetectionSet
from toolkit.training.loader import training_loader
from toolkit.training.network import preprocessing_of
from toolkit.training.picture_cache import PictureCache
from toolkit.training.segmentation import SegmentationSet

SIZES = [(10, 20), (30, 20), (10, 10)]
SAMPLES = [
    LabelSample(path=Path(str(i)), name=str(i), size=size, split="train", group="", class_id=0)
    for i, size in enumerate(SIZES)
]


def picture(sample: LabelSample, channels: int) -> np.ndarray:
    shape = (*sample.size, channels) if channels else sample.size
    return np.random.default_rng(int(sample.name)).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("budget", "channels", "decoded"),
    [
        # bytes; 3 is a picture, 0 a mask; how often each is decoded when all are asked for three times
        (0, 3, [3, 3, 3]),
        (599, 3, [3, 3, 3]),
        (600, 3, [1, 3, 3]),
        (2400, 3, [1, 1, 3]),
        (2700, 3, [1, 1, 1]),
        (1e9, 3, [1, 1, 1]),
        (800, 0, [1, 1, 3]),
    ],
)
def test_pictures_are_decoded_once_within_the_budget(budget: float, channels: int, decoded: list[int]) -> None:
    counts = [0, 0, 0]

    def read(sample: LabelSample) -> np.ndarray:
        counts[int(sample.name)] += 1
        return picture(sample, channels)

    cache = PictureCache(SAMPLES, budget / 2**20, read, channels)
    for _ in range(3):
        for index, sample in enumerate(SAMPLES):
            np.testing.assert_array_equal(cache[index], picture(sample, channels))
    assert counts == decoded


def test_a_kept_picture_cannot_be_changed() -> None:
    cache = PictureCache(SAMPLES, 100, lambda sample: np.zeros((*sample.size, 3), np.uint8))
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            cache[0][0, 0] = 1


def test_a_picture_of_another_size_than_when_it_was_checked_is_not_kept() -> None:
    cache = PictureCache(SAMPLES, 100, lambda sample: np.ones((7, 7, 3), np.uint8))
    assert cache[0].shape == cache[0].shape == (7, 7, 3)


CONFIG = """
name: x
task: {task}
data: {{format: shapes, root: {root}, pictures: 16, size: [64, 96], workers: 2, cache_mb: {cache_mb}}}
model: {{name: {network}, input_size: [64, 64]}}
train: {{batch_size: 1}}
"""


@pytest.mark.parametrize(
    ("task", "network", "kind"), [("detection", "yolox_nano", DetectionSet), ("segmentation", "unet", SegmentationSet)]
)
def test_what_workers_decode_is_there_for_all(task: str, network: str, kind: type, tmp_path: Path) -> None:
    """The files are removed when each has been read once, by one of the two workers."""
    draw_set(tmp_path, pictures=16, size=(64, 96), kind={"detection": "boxes"}.get(task, "masks"))
    text = CONFIG.format(task=task, root=tmp_path, network=network, cache_mb=64)
    config = parse_config(text).config
    data = kind(load_table(config).subset("train"), config, preprocessing_of(config))
    expected = [images.decode(sample.path) for sample in data.table.samples]
    masks = [read_mask(sample) for sample in data.table.samples if isinstance(sample, MaskSample)]
    loader = training_loader(data)
    assert sorted(index for batch in loader for index in batch.indices) == list(range(len(data)))
    for sample in data.table.samples:
        sample.path.unlink()
    for index, picture in enumerate(expected):
        np.testing.assert_array_equal(data.pictures[index], picture)
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(data.masks[index], mask)
    loader.batches.set_epoch(1)
    assert len(list(loader)) == len(data)
