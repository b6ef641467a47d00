"""What happens around training steps: the moving average of the weights, and the table of results."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor


def ramped_average(decay: float) -> Any:
    """Return an averaging step for torch's ``AveragedModel`` whose decay rises to ``decay``.

    A fixed decay would hold on to the start weights for hundreds of steps, longer than a short run lasts.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], number: Tensor | int) -> None:
        count = float(number)
        weight = 1 - min(decay, (1 + count) / (10 + count))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:
            torch._foreach_copy_(averaged, current)

    return update


class MovingAverage(WeightAveraging):
    """Validates, saves and exports the exponential moving average of weights and batch-norm statistics."""

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=ramped_average(decay))


class ResultsTable(Callback):
    """Writes one row an epoch to ``results.csv``: losses, learning rate, validation, pictures a second."""

    def __init__(self, path: Path, parts: Sequence[str], numbers: Sequence[str], say: Any) -> None:
        self.columns = (
            "epoch", "seconds", "pictures_per_second", "learning_rate", "train/loss",
            *(f"train/{name}" for name in parts), *(f"val/{name}" for name in numbers),
        )  # fmt: skip
        self.told = ("train/loss", *(f"val/{name}" for name in numbers[:2]))
        self.path = path
        self.say = say
        self._started = self._began = 0.0
        self._pictures = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerow(self.columns)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began, self._pictures = time.perf_counter(), 0
        self._trained = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._pictures += len(batch.indices)
        self._trained = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values |= {
            "seconds": time.perf_counter() - self._started,
            "pictures_per_second": self._pictures / max(self._trained, 1e-9),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        }
        if not self._validated(trainer):
            values = {name: value for name, value in values.items() if not name.startswith("val/")}
        row = [trainer.current_epoch + 1, *(f"{values[c]:.6g}" if c in values else "" for c in self.columns[1:])]
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(row)
        shown = [f"{name.split('/')[1].replace('_', ' ')} {values[name]:.4f}" for name in self.told if name in values]
        speed = f"{values['pictures_per_second']:.0f} pictures/s"
        self.say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(shown)}, {speed}")

    @staticmethod
    def _validated(trainer: pl.Trainer) -> bool:
        every = trainer.check_val_every_n_epoch or 1
        return (trainer.current_epoch + 1) % every == 0
