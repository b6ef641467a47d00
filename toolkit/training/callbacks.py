"""What happens around training steps: the moving average of the weights, and the table of results."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import Tensor

from toolkit.training.checkpoint_io import write_whole


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
    """Writes one row an epoch to ``results.csv``: losses, learning rate, validation, pictures a second.

    The losses are means over the epoch's pictures. They are summed up here, not by Lightning, so that they travel in
    the resume point and a resumed epoch has the same row. Of several processes the first writes: what a loss says of
    a batch is the same in all of them.
    """

    def __init__(self, path: Path, parts: Sequence[str], numbers: Sequence[str], say: Any) -> None:
        self.parts = ("loss", *parts)
        self.columns = (
            "epoch", "seconds", "pictures_per_second", "learning_rate", *(f"train/{name}" for name in self.parts),
            *(f"val/{name}" for name in numbers),
        )  # fmt: skip
        self.told = ("train/loss", *(f"val/{name}" for name in numbers[:2]))
        self.path = path
        self.say = say
        self._before = 0.0  # seconds of the processes that trained this run before
        self._started = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        self._sums: Tensor | None = None
        self._pictures = self._timed = 0
        self._busy = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self._seconds(),
            "pictures": self._pictures,
            "sums": None if self._sums is None else self._sums.cpu(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before, self._pictures, self._sums = state["seconds"], state["pictures"], state["sums"]

    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = self._began = time.perf_counter()
        if not trainer.is_global_zero:
            return
        self._rows: list[Sequence[str]] = [self.columns]
        if trainer.current_epoch and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._rows += [
                    row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= trainer.current_epoch
                ]
        self._write()

    def _write(self) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(self._rows)
        write_whole(self.path, text.getvalue().encode())

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        count = trainer.train_dataloader.batches.batch_size  # type: ignore[union-attr]  # of all processes together
        self.parts = tuple(name for name in self.parts if name in outputs["parts"])  # a new loss may have fewer
        values = torch.stack([outputs["parts"][name].double() for name in self.parts]) * count
        self._sums = values if self._sums is None else self._sums.to(values.device) + values
        self._pictures += count
        self._timed += count
        self._busy = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._add_row(trainer)
        self._clear()

    def _add_row(self, trainer: pl.Trainer) -> None:
        assert self._sums is not None
        means = (self._sums / self._pictures).tolist()
        epoch = trainer.current_epoch + 1
        losses = {f"train/{name}": mean for name, mean in zip(self.parts, means, strict=True)}
        values = {
            "epoch": epoch,
            "seconds": self._seconds(),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            **losses,
        }
        if self._timed:  # none are, where only the validation was left to do
            values["pictures_per_second"] = self._timed / self._busy
        if epoch % (trainer.check_val_every_n_epoch or 1) == 0:
            metrics = trainer.callback_metrics
            values |= {name: float(metrics[name]) for name in self.columns if name in metrics}
        self._rows.append([f"{values[c]:.6g}" if c in values else "" for c in self.columns])
        self._write()
        if trainer.logger is not None:
            trainer.logger.log_metrics(losses, trainer.global_step)
        shown = [f"{name.split('/')[1].replace('_', ' ')} {values[name]:.4f}" for name in self.told if name in values]
        if self._timed:
            shown.append(f"{values['pictures_per_second']:.0f} pictures/s")
        self.say(f"epoch {epoch}/{trainer.max_epochs}: {', '.join(shown)}")
