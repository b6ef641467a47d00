"""Pictures of the table as examples: cached, augmented from a generator per sample, preprocessed.

Every sample draws from a generator seeded by (seed, epoch, index), so it does not matter which process makes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ops import Placement
from toolkit.data.table import Sample, Table
from toolkit.errors import UserError
from toolkit.preprocess import Preprocessing
from toolkit.training import desk
from toolkit.training.augment import Albumentations
from toolkit.training.memory import OutOfMemoryLoading, out_of_memory
from toolkit.training.picture_cache import PictureCache

Kind = TypeVar("Kind", bound=Sample)
Examples: TypeAlias = tuple[NDArray[np.float32], list[Any], list[int]]  # pictures, targets, indices


class TrainingSet(Dataset[tuple[NDArray[np.float32], Any, int]], ABC, Generic[Kind]):
    """The training split of a task; items are asked for by (epoch, index), see `EpochBatches`."""

    boxes: ClassVar[bool] = False  # whether the albumentations list moves boxes

    def __init__(self, table: Table[Kind], config: Any, preprocessing: Preprocessing) -> None:
        self.table = table
        self.config = config
        self.preprocessing = preprocessing
        self.pictures = PictureCache(table.samples, config.data.cache_mb)
        self.albumentations = Albumentations(config.augment.albumentations, boxes=self.boxes)

    def __len__(self) -> int:
        return len(self.table)

    @abstractmethod
    def example(self, epoch: int, index: int, rng: np.random.Generator, out: NDArray[np.float32]) -> Any:
        """Write the picture as this epoch trains on it into ``out`` [3, h, w] and return its target.

        ``rng`` is the sample's own.
        """

    def __getitem__(self, key: tuple[int, int]) -> tuple[NDArray[np.float32], Any, int]:
        pixels, targets, indices = self.examples([key])
        return pixels[0], targets[0], indices[0]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> Examples | Exception:
        """What a loader asks for: the examples of a batch, or what went wrong through no fault of the code.

        That is handed over, not raised, because a worker's errors arrive with its traceback for their message.
        """
        try:
            return self.examples(keys)
        except UserError as error:
            return error
        except Exception as error:
            if out_of_memory(error):
                return OutOfMemoryLoading(str(error))
            raise

    def examples(self, keys: Sequence[tuple[int, int]]) -> Examples:
        """The examples of a batch, pictures [B, 3, h, w] written where they stay."""
        pixels = np.empty((len(keys), 3, *self.preprocessing.input_size), np.float32)
        targets = []
        for (epoch, index), out in zip(keys, pixels, strict=True):
            desk.working_on(epoch, index)
            targets.append(self.example(epoch, index, np.random.default_rng((self.config.seed, epoch, index)), out))
        return pixels, targets, [index for _, index in keys]

    @staticmethod
    def stack(targets: Sequence[Any]) -> Any:
        """The targets of a batch as one."""
        return torch.from_numpy(np.stack(targets))


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
