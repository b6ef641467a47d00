"""From a config to Lightning's Trainer, which does the loop: callbacks, devices, precision."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar, Timer
from lightning.pytorch.loggers import TensorBoardLogger

from toolkit.config.schema import CommonConfig
from toolkit.training.callbacks import MovingAverage, ResultsTable
from toolkit.training.ddp import MeanStatistics, devices
from toolkit.training.faults import Guard
from toolkit.training.finite import FiniteLoss
from toolkit.training.interrupts import Interrupts
from toolkit.training.launch import uses_cuda
from toolkit.training.resume import BestPoint, ResumePoint, SeedEachStep
from toolkit.training.task import TrainingTask

Say = Callable[[str], None]

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16": "bf16-mixed"}


def make_trainer(
    config: CommonConfig, task: TrainingTask, guard: Guard, say: Say, *, bar: bool, step: int | None = None
) -> Any:
    """Return the trainer of a run; logs after ``step``, where a run is resumed, are cut off."""
    settings = config.train
    return pl.Trainer(
        **devices(config, guard.processes),
        precision=PRECISIONS[settings.precision],
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        check_val_every_n_epoch=_validate_every(config),
        num_sanity_val_steps=0,
        callbacks=_callbacks(config, task, guard, say, bar),
        plugins=[guard.files],
        logger=TensorBoardLogger(guard.run.path, name="", version="tensorboard", purge_step=step),
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=10,
    )


def _validate_every(config: CommonConfig) -> int:
    return min(config.train.validate_every, config.train.epochs)


def _callbacks(config: CommonConfig, task: TrainingTask, guard: Guard, say: Say, bar: bool) -> list[Any]:
    run, settings, every = guard.run, config.train, _validate_every(config)
    best = f"val/{task.numbers[0]}"
    interrupts = Interrupts(say, guard.processes)
    callbacks: list[Any] = [guard.place, SeedEachStep(config.seed), interrupts, FiniteLoss(guard)]
    if guard.processes.count > 1 and not uses_cuda(config):
        callbacks.append(MeanStatistics(guard.processes))  # before the moving average, which takes them up
    if settings.ema_decay is not None:
        callbacks.append(MovingAverage(settings.ema_decay))
    if settings.early_stopping_epochs is not None:
        patience = max(1, settings.early_stopping_epochs // every)
        callbacks.append(EarlyStopping(best, mode="max", patience=patience))
    if settings.time_limit_minutes is not None:
        callbacks.append(Timer(timedelta(minutes=settings.time_limit_minutes)))
    if bar:
        callbacks.append(RichProgressBar())
    return [
        *callbacks,
        ResultsTable(run.path / "results.csv", task.parts, task.numbers, say),
        BestPoint(
            run.path / "checkpoints", filename="best", monitor=best, mode="max", enable_version_counter=False,
            every_n_epochs=every, auto_insert_metric_name=False,
        ),
        # The last, so that it knows what the others did.
        ResumePoint(guard.files, settings.checkpoint_every, interrupts),
    ]  # fmt: skip
