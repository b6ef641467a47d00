"""Pictures of the table as training batches: cached, augmented from a generator per sample, preprocessed.

Every sample draws from a generator seeded by (seed, epoch, index), so batches do not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from toolkit import images
from toolkit.config.schema import DetectionConfig
from toolkit.data.table import Sample, Table
from toolkit.preprocess import Preprocessing
from toolkit.training.augment import Albumentations, Labelled, compose


class Batch(NamedTuple):
    """``images`` float32 [B, 3, h, w]; ``boxes`` and ``class_ids`` per picture, in input pixels; ``indices`` [B]."""

    images: Tensor
    boxes: list[NDArray[np.float32]]
    class_ids: list[NDArray[np.int64]]
    indices: list[int]


class PictureCache:
    """Decoded pictures kept in memory up to a budget; the rest is decoded again each time."""

    def __init__(self, samples: Sequence[Sample], budget_mb: int) -> None:
        self._samples = samples
        self._left = budget_mb * 2**20
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        image: NDArray[np.uint8] = images.decode(self._samples[index].path)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[index] = image
        return image


class TrainingSet(Dataset[tuple[NDArray[np.float32], Labelled, int]]):
    """The training split; items are asked for by (epoch, index), see `EpochSampler`."""

    def __init__(self, table: Table, config: DetectionConfig, preprocessing: Preprocessing) -> None:
        self.table = table
        self.config = config
        self.preprocessing = preprocessing
        self.pictures = PictureCache(table.samples, config.data.cache_mb)
        self._albumentations = Albumentations(config.augment)

    def __len__(self) -> int:
        return len(self.table)

    def labelled(self, index: int) -> Labelled:
        """One picture with its boxes, as it lies on disk; crowd boxes are not learnt."""
        sample = self.table.samples[index]
        one = ~sample.crowd
        return Labelled(self.pictures[index], sample.boxes[one], sample.class_ids[one])

    def augmented(self, epoch: int, index: int) -> Labelled:
        """The picture as this epoch trains on it: uint8 at the network's input size."""
        rng = np.random.default_rng((self.config.seed, epoch, index))
        augment, size = self.config.augment, self.preprocessing.input_size
        members = [index]
        closing = epoch >= self.config.train.epochs - augment.mosaic.off_epochs
        if rng.random() < augment.mosaic.probability and not closing:
            members += rng.integers(len(self), size=3).tolist()
        sample = compose([self.labelled(m) for m in members], size, self.preprocessing.fill, augment.zoom, rng)
        return self._albumentations(sample, int(rng.integers(2**31)))

    def __getitem__(self, key: tuple[int, int]) -> tuple[NDArray[np.float32], Labelled, int]:
        epoch, index = key
        sample = self.augmented(epoch, index)
        pixels, _ = self.preprocessing.apply(sample.image)
        return pixels, sample, index


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index), permuted by (seed, epoch); ``weights`` draw some pictures oftener than others.

    With weights every picture comes up within one of its expected number of times (systematic resampling).
    """

    def __init__(self, length: int, seed: int, weights: NDArray[np.float64] | None = None) -> None:
        self.length = length
        self.seed = seed
        self.weights = weights
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        indices = np.arange(self.length)
        if self.weights is not None:
            edges = np.cumsum(self.weights)
            points = (np.arange(self.length) + rng.random()) / self.length * edges[-1]
            indices = np.minimum(np.searchsorted(edges, points, side="right"), self.length - 1)
        for index in rng.permutation(indices).tolist():
            yield self.epoch, index


def rarity_weights(table: Table, exponent: float) -> NDArray[np.float64] | None:
    """Weight of each picture: (most frequent class / its rarest class) ** exponent; ``None`` when that is off."""
    if exponent == 0:
        return None
    totals = np.zeros(len(table.class_names))
    for sample in table.samples:
        totals += np.bincount(sample.class_ids, minlength=len(totals))
    by_class = (totals.max() / np.maximum(totals, 1)) ** exponent
    return np.array([by_class[s.class_ids].max() if len(s.class_ids) else 1.0 for s in table.samples])


def collate(items: Sequence[tuple[NDArray[np.float32], Labelled, int]]) -> Batch:
    """Stack samples into a batch."""
    pixels = torch.from_numpy(np.stack([item[0] for item in items]))
    labels = [item[1] for item in items]
    return Batch(pixels, [s.boxes for s in labels], [s.class_ids for s in labels], [item[2] for item in items])


def training_loader(training_set: TrainingSet) -> DataLoader[Batch]:
    """The loader of the training split: shuffled, last short batch dropped unless it is the only one."""
    config = training_set.config
    sampler = EpochSampler(
        len(training_set), config.seed, rarity_weights(training_set.table, config.augment.oversample_rare)
    )
    workers = config.data.workers
    return DataLoader(
        training_set,  # type: ignore[arg-type]  # a map keyed by what the sampler yields
        batch_size=config.train.batch_size,
        sampler=sampler,  # type: ignore[arg-type]
        drop_last=len(training_set) >= config.train.batch_size,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        # A fork would inherit numba's and torch's thread teams, which do not survive it.
        multiprocessing_context=multiprocessing.get_context("forkserver") if workers else None,
    )


class ValidationSet(Dataset[tuple[NDArray[np.float32], int]]):
    """A split as it is predicted: letterboxed and nothing else. Items are (pixels float32 [3, h, w], index)."""

    def __init__(self, table: Table, preprocessing: Preprocessing, cache_mb: int) -> None:
        self.table = table
        self.preprocessing = preprocessing
        self.pictures = PictureCache(table.samples, cache_mb)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], int]:
        return self.preprocessing.apply(self.pictures[index])[0], index


def validation_loader(validation_set: ValidationSet, batch_size: int) -> DataLoader[tuple[Tensor, list[int]]]:
    """The loader of the validation split, in order, in this process (it is short)."""

    def stack(items: Sequence[tuple[NDArray[np.float32], int]]) -> tuple[Tensor, list[int]]:
        return torch.from_numpy(np.stack([item[0] for item in items])), [item[1] for item in items]

    return DataLoader(validation_set, batch_size=batch_size, collate_fn=stack)  # type: ignore[arg-type]
