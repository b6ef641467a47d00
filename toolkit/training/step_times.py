"""Where the time of training steps goes: making batches, moving them, computing. Nothing is trained or written."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Sampler

from toolkit.config.load import LoadedConfig
from toolkit.data.table import Progress
from toolkit.training.callbacks import ramped_average
from toolkit.training.device import device_name, training_device
from toolkit.training.launch import threads
from toolkit.training.loader import Batch, TrainingLoader, training_loader
from toolkit.training.module import TaskModule
from toolkit.training.network import build_network, training_preprocessing_of, training_size
from toolkit.training.precision import settle
from toolkit.training.processes import ALONE
from toolkit.training.train import _prepare, _set_up

UNCOUNTED = 3  # first steps: operators are compiled, memory is allocated
HELD = 4  # batches that the computing alone goes round; more of them take memory from large networks
PARTS = ("transfer", "forward", "loss", "backward", "optimizer", "average")

Keys = list[tuple[int, int]]


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds of a batch, pictures a second, and shares of a step.

    ``data`` is the loader alone, once with every picture still to be decoded (``cold``) and once with all that the
    cache holds (``warm``). ``parts`` are those of a step alone, lower quartile, median and upper quartile; ``average``
    is the moving average of the weights. ``shares`` are of steps with the loader beside them: waiting for the batch
    (``data``), ``transfer``, ``compute``.
    """

    config: str
    device: str
    cores: int
    threads: int
    workers: int
    precision: str
    precision_asked: str
    batch_size: int
    input_size: tuple[int, int]
    pictures: int
    decoded_mb: float
    cache_mb: float
    data: dict[str, float]
    parts: dict[str, tuple[float, ...]]
    pictures_per_second: dict[str, float]
    shares: dict[str, float]

    @property
    def bound(self) -> str:
        """What the largest share of a step goes to."""
        return max(self.shares, key=lambda part: self.shares[part])


def time_steps(loaded: LoadedConfig, steps: int, progress: Progress | None = None) -> StepTimes:
    """Time about ``steps`` batches of the loader alone, of the network's steps alone, and of both together."""
    _set_up(loaded.config)
    with threads(loaded.config.train.threads):
        return _times(loaded, steps, progress)


def _times(loaded: LoadedConfig, steps: int, progress: Progress | None) -> StepTimes:
    table, task = _prepare(loaded.config, progress, ALONE)
    asked = loaded.config.train.precision
    loaded, _ = settle(loaded, len(table.class_names))
    config = loaded.config
    training_set = task.training_set(table.subset("train"), config, training_preprocessing_of(config))
    first = list(itertools.islice(training_loader(training_set).batches, steps))
    chosen = Chosen(first)
    loader = TrainingLoader(training_set, chosen, config.data.workers)  # type: ignore[arg-type]  # no epochs here
    cold = _seconds_a_batch(loader)
    chosen.keys = list(itertools.islice(itertools.cycle(first), steps))
    warm = _seconds_a_batch(loader)
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    step = Step(task.module(network, config, training_set.table, table.subset("val"), total_steps=10**6), config)
    held = list(itertools.islice(loader, HELD))
    for number in range(UNCOUNTED + steps):
        step(held[number % len(held)])
    alone = {name: times[UNCOUNTED:] for name, times in step.times.items()}
    waiting, whole, transfer = _together(loader, step)
    size = len(first[0])
    return StepTimes(
        config=loaded.name,
        device=device_name(config.train.device),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        workers=config.data.workers,
        precision=config.train.precision,
        precision_asked=asked,
        batch_size=size,
        input_size=training_size(config),
        pictures=len(training_set),
        decoded_mb=round(sum(3 * s.size[0] * s.size[1] for s in training_set.table.samples) / 2**20, 1),
        cache_mb=config.data.cache_mb,
        data={"cold": cold * 1e3, "warm": warm * 1e3},
        parts={name: tuple(1e3 * q for q in statistics.quantiles(times)) for name, times in alone.items()},
        pictures_per_second={
            "data_cold": size / cold,
            "data_warm": size / warm,
            "compute": size / statistics.median(map(sum, zip(*alone.values(), strict=True))),
            "together": size / whole,
        },
        shares={"data": waiting / whole, "transfer": transfer / whole, "compute": 1 - (waiting + transfer) / whole},
    )


class Chosen(Sampler[Keys]):
    """Batches of (epoch, index) as they are given; ``keys`` may be others in the next round."""

    def __init__(self, keys: Sequence[Keys]) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Keys]:
        return iter(self.keys)


class Step:
    """A training step as the trainer takes it, each part timed."""

    def __init__(self, module: TaskModule, config: Any) -> None:
        self.settings = config.train
        self.device = training_device(self.settings.device)
        self.module = module.to(self.device).train()
        made = module.configure_optimizers()
        self.optimizer, self.scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
        decay = self.settings.ema_decay
        self.average = AveragedModel(module, multi_avg_fn=ramped_average(decay), use_buffers=True) if decay else None
        self.times: dict[str, list[float]] = {name: [] for name in PARTS}

    def __call__(self, batch: Batch) -> None:
        with self._timed("transfer"):
            batch = self.module.transfer_batch_to_device(batch, self.device, 0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            with self._timed("forward"):
                raw = self.module.network(batch.images)
            with self._timed("loss"):
                loss = self.module.loss(raw, batch.targets)["loss"]
        with self._timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with self._timed("optimizer"):
            if self.settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip_norm)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
        with self._timed("average"):
            if self.average is not None:
                self.average.update_parameters(self.module)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type != "cpu":
            torch.accelerator.synchronize()
        self.times[part].append(time.perf_counter() - started)


def _seconds_a_batch(loader: TrainingLoader) -> float:
    """Of the loader alone, once its workers have started and made what they make ahead."""
    started = time.perf_counter()
    times = [time.perf_counter() - started for _ in loader]
    ahead = min((loader.prefetch_factor or 0) * loader.num_workers, len(times) // 2)
    return (times[-1] - times[ahead - 1]) / (len(times) - ahead) if ahead else times[-1] / len(times)


def _together(loader: TrainingLoader, step: Step) -> tuple[float, float, float]:
    """Of a step with the loader beside it: the seconds waited for its batch, all of it, and those of the transfer."""
    waits, ends = [], [time.perf_counter()]
    for batch in loader:
        waits.append(time.perf_counter() - ends[-1])
        step(batch)
        ends.append(time.perf_counter())
    first = min(UNCOUNTED, len(waits) // 2)
    count = len(waits) - first
    return sum(waits[first:]) / count, (ends[-1] - ends[first]) / count, sum(step.times["transfer"][-count:]) / count
