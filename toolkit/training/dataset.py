"""Pictures of the table as training batches: cached, augmented from a generator per sample, preprocessed.

Every sample draws from a generator seeded by (seed, epoch, index), so batches do not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ops import Placement
from toolkit import images
from toolkit.data.table import Sample, Table
from toolkit.preprocess import Preprocessing
from toolkit.training.augment import Albumentations

Kind = TypeVar("Kind", bound=Sample)


class Batch(NamedTuple):
    """``images`` float32 [B, 3, h, w]; ``targets`` as the task's loss takes them; ``indices`` [B]."""

    images: Tensor
    targets: Any
    indices: list[int]


def decode(sample: Sample) -> NDArray[np.uint8]:
    """The sample's picture, RGB uint8 [H, W, 3]."""
    image: NDArray[np.uint8] = images.decode(sample.path)
    return image


class PictureCache(Generic[Kind]):
    """Decoded pictures (or masks) kept in memory up to a budget; the rest is decoded again each time."""

    def __init__(
        self, samples: Sequence[Kind], budget_mb: float, read: Callable[[Kind], NDArray[np.uint8]] = decode
    ) -> None:
        self._samples = samples
        self._left = budget_mb * 2**20
        self._read = read
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        image = self._read(self._samples[index])
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[index] = image
        return image


class TrainingSet(Dataset[tuple[NDArray[np.float32], Any, int]], ABC, Generic[Kind]):
    """The training split of a task; items are asked for by (epoch, index), see `EpochSampler`."""

    boxes: ClassVar[bool] = False  # whether the albumentations list moves boxes

    def __init__(self, table: Table[Kind], config: Any, preprocessing: Preprocessing) -> None:
        self.table = table
        self.config = config
        self.preprocessing = preprocessing
        self.pictures = PictureCache(table.samples, config.data.cache_mb)
        self.albumentations = Albumentations(config.augment, boxes=self.boxes)

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def example(self, epoch: int, index: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], Any]:
        """The picture as this epoch trains on it, float32 [3, h, w], and its target; ``rng`` is the sample's own."""

    def __getitem__(self, key: tuple[int, int]) -> tuple[NDArray[np.float32], Any, int]:
        epoch, index = key
        pixels, target = self.example(epoch, index, np.random.default_rng((self.config.seed, epoch, index)))
        return pixels, target, index

    @staticmethod
    def stack(targets: Sequence[Any]) -> Any:
        """The targets of a batch as one."""
        return torch.from_numpy(np.stack(targets))


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


def rarity_weights(table: Table[Any], exponent: float) -> NDArray[np.float64] | None:
    """Weight of each picture: (most frequent class / its rarest class) ** exponent; ``None`` when that is off."""
    if exponent == 0:
        return None
    classes = len(table.class_names)
    counts = np.array([sample.class_counts(classes) for sample in table.samples])
    totals = counts.sum(0)
    by_class = (totals.max() / np.maximum(totals, 1)) ** exponent
    # A picture without anything counts as one of the most frequent class.
    weights: NDArray[np.float64] = np.where(counts > 0, by_class, 0.0).max(1, initial=1.0)
    return weights


def training_loader(training_set: TrainingSet[Any]) -> DataLoader[Batch]:
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
        collate_fn=Collate(training_set.stack),
        persistent_workers=workers > 0,
        # A fork would inherit numba's and torch's thread teams, which do not survive it.
        multiprocessing_context=multiprocessing.get_context("forkserver") if workers else None,
    )


class Collate:
    """Stacks items into a batch. Travels to loader workers."""

    def __init__(self, stack: Callable[[Sequence[Any]], Any]) -> None:
        self.stack = stack

    def __call__(self, items: Sequence[tuple[NDArray[np.float32], Any, int]]) -> Batch:
        pixels, targets, indices = zip(*items, strict=True)
        return Batch(torch.from_numpy(np.stack(pixels)), self.stack(targets), list(indices))


class Checked(NamedTuple):
    """A validation batch: ``images`` float32 [B, 3, h, w], where each picture lies in its input, and its index."""

    images: Tensor
    placements: list[Placement]
    indices: list[int]


class ValidationSet(Dataset[tuple[NDArray[np.float32], Placement, int]]):
    """A split as it is predicted: preprocessed and nothing else."""

    def __init__(self, table: Table[Any], preprocessing: Preprocessing, cache_mb: int) -> None:
        self.table = table
        self.preprocessing = preprocessing
        self.pictures = PictureCache(table.samples, cache_mb)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], Placement, int]:
        return *self.preprocessing.apply(self.pictures[index]), index


def validation_loader(validation_set: ValidationSet, batch_size: int) -> DataLoader[Checked]:
    """The loader of the validation split, in order, in this process (it is short)."""

    def stack(items: Sequence[tuple[NDArray[np.float32], Placement, int]]) -> Checked:
        pixels, placements, indices = zip(*items, strict=True)
        return Checked(torch.from_numpy(np.stack(pixels)), list(placements), list(indices))

    return DataLoader(validation_set, batch_size=batch_size, collate_fn=stack)  # type: ignore[arg-type]
