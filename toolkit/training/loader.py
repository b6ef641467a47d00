"""Batches of the training and validation pictures.

Every batch is known from (seed, epoch, position) alone: it does not depend on the number of loader workers, and a
training that died goes on with the very batch that comes next.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from ops import Placement
from toolkit.config.schema import AugmentCommon
from toolkit.data.table import Table
from toolkit.training.dataset import Examples, TrainingSet, ValidationSet
from toolkit.training.workers import Desks, WorkerDied, death, start_fork_server


class Batch(NamedTuple):
    """``images`` float32 [B, 3, h, w]; ``targets`` as the task's loss takes them; ``indices`` [B]."""

    images: Tensor
    targets: Any
    indices: list[int]


class Checked(NamedTuple):
    """Validation inputs of one shape: ``images`` float32 [B, 3, h, w], where each picture lies in its, its index."""

    images: Tensor
    placements: list[Placement]
    indices: list[int]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Yields batches of (epoch, index), permuted by (seed, epoch); a last short one is left out unless it is the only.

    ``weights`` draw some pictures oftener than others: every picture comes up within one of its expected number of
    times (systematic resampling). Of ``ranks`` processes each gets its share of every batch.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        weights: NDArray[np.float64] | None = None,
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.length = length
        self.batch_size = min(batch_size, length)
        self.seed = seed
        self.weights = weights
        self.rank, self.ranks = rank, ranks
        self.epoch = 0
        self.start = (0, 0)  # the (epoch, batch) that a resumed training begins with

    @property
    def sampler(self) -> EpochBatches:
        """Where the trainer looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    @contextlib.contextmanager
    def undivided(self) -> Iterator[None]:
        """Yield whole batches in the block, whatever this process's share is."""
        share, (self.rank, self.ranks) = (self.rank, self.ranks), (0, 1)
        try:
            yield
        finally:
            self.rank, self.ranks = share

    def __len__(self) -> int:
        return self.length // self.batch_size

    def order(self, epoch: int) -> list[int]:
        """The indices of an epoch, of all processes together."""
        rng = np.random.default_rng((self.seed, epoch))
        indices = np.arange(self.length)
        if self.weights is not None:
            edges = np.cumsum(self.weights)
            points = (np.arange(self.length) + rng.random()) / self.length * edges[-1]
            indices = np.minimum(np.searchsorted(edges, points, side="right"), self.length - 1)
        ordered: list[int] = rng.permutation(indices).tolist()
        return ordered

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        start = self.start[1] if epoch == self.start[0] else 0  # a later epoch begins at its beginning
        order = self.order(epoch)
        for number in range(start, len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield [(epoch, index) for index in share(batch, self.rank, self.ranks)]


class TrainingLoader(DataLoader[Batch]):
    """The loader of the training split. Its state is the position of the batch that comes next."""

    def __init__(self, training_set: TrainingSet[Any], batches: EpochBatches, workers: int) -> None:
        self.desks = Desks(workers)
        if workers:
            start_fork_server(training_set.config.task)
        super().__init__(
            training_set,  # type: ignore[arg-type]  # a map keyed by what the sampler yields
            batch_sampler=batches,  # type: ignore[arg-type]
            num_workers=workers,
            collate_fn=Collate(training_set.stack),  # type: ignore[arg-type]  # of what `__getitems__` returns
            persistent_workers=workers > 0,
            # A fork would inherit numba's and torch's thread teams, which do not survive it.
            multiprocessing_context=multiprocessing.get_context("forkserver") if workers else None,
            # Its own, or every epoch would draw a number from the global generator, and a resumed one another.
            generator=torch.Generator(),
            worker_init_fn=self.desks,
        )
        self.training_set = training_set
        self.batches = batches
        self.position = (0, 0)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # all that is asked of it
        return self._checked(super().__iter__)

    def _checked(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Batch]:
        """The batches. Raises what a worker handed over, and ``WorkerDied`` where one could not any more."""
        batches = None
        while True:
            try:
                batches = batches or begin()  # workers of the epoch before may have died since
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                codes = [worker.exitcode for worker in getattr(batches or self._iterator, "_workers", [])]
                dead = [number for number, code in enumerate(codes) if code]
                if not dead:
                    raise
                doing = " and ".join(self.desks.told(number, self.training_set.table.samples) for number in dead)
                raise WorkerDied(death(codes[dead[0]], doing, self.training_set.config.data)) from error
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The (epoch, batch) that comes next."""
        return {"position": list(self.position)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.position = (state["position"][0], state["position"][1])
        self.batches.epoch, self.batches.start = self.position[0], self.position


class Collate:
    """Makes a batch of what `TrainingSet.__getitems__` returns. Travels to loader workers."""

    def __init__(self, stack: Callable[[Sequence[Any]], Any]) -> None:
        self.stack = stack

    def __call__(self, items: Examples | Exception) -> Batch | Exception:
        if isinstance(items, Exception):
            return items
        pixels, targets, indices = items
        return Batch(torch.from_numpy(pixels), self.stack(targets), indices)


def rarity_weights(table: Table[Any], exponent: float) -> NDArray[np.float64]:
    """Weight of each picture: (most frequent class / its rarest class) ** exponent."""
    classes = len(table.class_names)
    counts = np.array([sample.class_counts(classes) for sample in table.samples])
    totals = counts.sum(0)
    by_class = (totals.max() / np.maximum(totals, 1)) ** exponent
    # A picture without anything counts as one of the most frequent class.
    weights: NDArray[np.float64] = np.where(counts > 0, by_class, 0.0).max(1, initial=1.0)
    return weights


def source_weights(table: Table[Any], exponent: float) -> NDArray[np.float64]:
    """Weight of each picture: (pictures of the largest source / pictures of its source) ** exponent."""
    counts = Counter(sample.source for sample in table.samples)
    most = max(counts.values())
    return np.array([(most / counts[sample.source]) ** exponent for sample in table.samples])


def drawing_weights(table: Table[Any], augment: AugmentCommon) -> NDArray[np.float64] | None:
    """How much oftener each picture is drawn than others, as the config says; ``None`` where all are alike."""
    weights = np.ones(len(table.samples))
    if augment.oversample_rare:
        weights *= rarity_weights(table, augment.oversample_rare)
    if augment.balance_sources:
        weights *= source_weights(table, augment.balance_sources)
    return weights if augment.oversample_rare or augment.balance_sources else None


def training_loader(training_set: TrainingSet[Any], *, rank: int = 0, ranks: int = 1) -> TrainingLoader:
    """The loader of the training split, shuffled; process ``rank`` of ``ranks`` gets its share of every batch."""
    config = training_set.config
    weights = drawing_weights(training_set.table, config.augment)
    batches = EpochBatches(len(training_set), config.train.batch_size, config.seed, weights, rank=rank, ranks=ranks)
    return TrainingLoader(training_set, batches, config.data.workers)


def validation_loader(
    validation_set: ValidationSet, batch_size: int, *, rank: int = 0, ranks: int = 1
) -> DataLoader[list[Checked]]:
    """The loader of the validation split, in order, in this process (it is short); its share where there are several.

    A batch comes in parts of one shape, so that no picture is padded for another. No picture is given twice. All
    processes have the same number of batches, as they ask each other after each.
    """

    def stack(items: Sequence[tuple[NDArray[np.float32], Placement, int]]) -> list[Checked]:
        shapes: dict[tuple[int, ...], list[tuple[NDArray[np.float32], Placement, int]]] = {}
        for item in items:
            shapes.setdefault(item[0].shape, []).append(item)
        parts = [zip(*alike, strict=True) for alike in shapes.values()]
        return [Checked(torch.from_numpy(np.stack(pixels)), list(at), list(which)) for pixels, at, which in parts]

    return DataLoader(
        validation_set,  # type: ignore[arg-type]  # a map, not a Dataset of lists of Checked
        batch_sampler=validation_batches(len(validation_set), batch_size, rank=rank, ranks=ranks),
        collate_fn=stack,  # type: ignore[arg-type]
        generator=torch.Generator(),
    )


def validation_batches(length: int, batch_size: int, *, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """The indices of a process's batches, none of them empty where there are as many pictures as processes."""
    edges = [*range(0, length, batch_size), length]
    if len(edges) > 2 and edges[-1] - edges[-2] < ranks:
        del edges[-2]  # a rest that is too small for all goes with the batch before
    return [share(range(*pair), rank, ranks) for pair in itertools.pairwise(edges)]


def share(batch: Sequence[int], rank: int, ranks: int) -> list[int]:
    """The part of a batch that is process ``rank``'s: the same number for each, or one more or less."""
    low, high = (len(batch) * part // ranks for part in (rank, rank + 1))
    return list(batch[low:high])
