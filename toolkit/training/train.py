"""``toolkit train``: check the data, train on Lightning's Trainer, report, export a bundle.

Weights are safe in the run directory before anything is reported or exported, so a failure there loses nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import itertools
import logging
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from toolkit.config.load import LoadedConfig
from toolkit.config.schema import CommonConfig
from toolkit.data.check import summarise
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.run_folder import BEST, LAST, Run, create_run, write_json
from toolkit.training.task import TrainingTask, training_task

log = logging.getLogger("toolkit")


def train(
    loaded: LoadedConfig, *, run_dir: str | Path | None = None, progress: Progress | None = None, bar: bool = False
) -> Run:
    """Train as the config says and return the run, with reports and ``bundle/`` in it.

    ``progress`` is told about the data check, ``bar`` shows Lightning's progress bar. Raises ``UserError`` for
    anything wrong in config, data or start weights before the first step.
    """
    config = loaded.config
    _quiet()
    _share_cores()
    _keep_memory()
    import lightning.pytorch as pl
    import numba
    import torch

    from toolkit.training.record import recorded

    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device=cuda: torch finds no CUDA device; use train.device=auto or cpu")
    table = load_table(config, progress=progress)
    task = training_task(config.task)
    task.check(config, table)
    run = create_run(loaded, run_dir)
    with _log_to(run.path / "train.log"), recorded(run, config, table):
        log.info("run directory %s", run)
        for fault in table.skipped:
            log.warning("left out: %s", fault)
        statistics = summarise(table).to_dict()
        write_json(run.path / "labels.json", {**statistics, "left_out": [str(fault) for fault in table.skipped]})
        log.info("%d pictures to train on, %d to validate on", *(statistics["pictures"][s] for s in ("train", "val")))
        pl.seed_everything(config.seed, verbose=False)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
            numba.set_num_threads(min(config.train.threads, numba.get_num_threads()))
        _fit(config, table, task, run, bar)
        return _finish(run, table, task)


def _fit(config: CommonConfig, table: Table[Any], task: TrainingTask, run: Run, bar: bool) -> None:
    import torch

    from toolkit.training import report
    from toolkit.training.dataset import ValidationSet, training_loader, validation_loader
    from toolkit.training.start_weights import start_from

    preprocessing = preprocessing_of(config)
    training_set = task.training_set(table.subset("train"), config, preprocessing)
    validation = table.subset("val")
    report.draw_data(run, table, training_set, task)
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    if config.model.init:
        log.info("start weights %s: %s", config.model.init, start_from(network, config.model.init))
    loader = training_loader(training_set)
    if config.train.estimate_bn_batches:
        batches = itertools.islice(loader, config.train.estimate_bn_batches)
        log.info("estimating batch-norm statistics on %d batches", config.train.estimate_bn_batches)
        pictures = (batch.images.to(memory_format=torch.channels_last) for batch in batches)
        torch.optim.swa_utils.update_bn(pictures, network)
    module = task.module(network, config, training_set.table, validation)
    checks = ValidationSet(validation, preprocessing, config.data.cache_mb)
    trainer = _trainer(config, task, run, bar)
    try:
        trainer.fit(module, loader, validation_loader(checks, config.train.batch_size))
    except SystemExit:  # Lightning's answer to Ctrl-C, after the running step
        best = (run.path / BEST).is_file() or (run.path / LAST).is_file()
        kept = f"`toolkit export {run}` makes a bundle of the best checkpoint so far" if best else "no checkpoint yet"
        log.info("stopped by Ctrl-C; %s", kept)
        raise KeyboardInterrupt from None


def _trainer(config: CommonConfig, task: TrainingTask, run: Run, bar: bool) -> Any:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar, Timer
    from lightning.pytorch.loggers import TensorBoardLogger

    from toolkit.training.callbacks import MovingAverage, ResultsTable

    settings = config.train
    best = f"val/{task.numbers[0]}"
    every = min(settings.validate_every, settings.epochs)
    callbacks: list[Any] = [
        ResultsTable(run.path / "results.csv", task.parts, task.numbers, log.info),
        ModelCheckpoint(
            run.path / "checkpoints", filename="best", monitor=best, mode="max", save_last=True,
            enable_version_counter=False, every_n_epochs=every, auto_insert_metric_name=False,
        ),
    ]  # fmt: skip
    if settings.ema_decay is not None:
        callbacks.append(MovingAverage(settings.ema_decay))
    if settings.early_stopping_epochs is not None:
        patience = max(1, settings.early_stopping_epochs // every)
        callbacks.append(EarlyStopping(best, mode="max", patience=patience))
    if settings.time_limit_minutes is not None:
        callbacks.append(Timer(timedelta(minutes=settings.time_limit_minutes)))
    if bar:
        callbacks.append(RichProgressBar())
    accelerator = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[settings.device]
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        check_val_every_n_epoch=every,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=TensorBoardLogger(run.path, name="", version="tensorboard"),
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=10,
    )


def _finish(run: Run, table: Table[Any], task: TrainingTask) -> Run:
    from toolkit.exporting.export import export_run
    from toolkit.training import report

    log.info("exporting the best checkpoint")
    export_run(run, table=table)
    report.draw_results(run, table, task)
    log.info("bundle in %s", run.bundle)
    return run


def _quiet() -> None:
    """Keep the libraries' advice out of the user's way; warnings about the user's own run still come through."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*litlogger.*",
        ".*smaller than the logging.*",
    ):
        warnings.filterwarnings("ignore", pattern)


def _share_cores() -> None:
    """torch and numba bring an OpenMP team each, and an idle one that spins on the other's cores costs speed.

    Loaded before torch, numba's runtime serves both; where torch came first, its idle team must at least sleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with contextlib.suppress(ImportError):  # numba without OpenMP: nothing to share
        importlib.import_module("numba.np.ufunc.omppool")


def _keep_memory() -> None:
    """Let glibc keep what torch gives back: pages fetched anew for every step cost a quarter of it and more.

    `python -m benchmarks.allocator` has the figures. Other C libraries have no ``mallopt``; there is nothing to set.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20)):
            libc.mallopt(parameter, value)


# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


class _log_to:  # noqa: N801  # reads as a verb in `with`
    """Send the toolkit's log to a file and to standard error while a training runs."""

    def __init__(self, path: Path) -> None:
        stamped = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
        self._handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8")]
        if not any(isinstance(h, logging.StreamHandler) for h in log.handlers):
            self._handlers.append(logging.StreamHandler(sys.stderr))
        for handler in self._handlers:
            handler.setFormatter(stamped)

    def __enter__(self) -> None:
        self._level = log.level
        log.setLevel(logging.INFO)
        for handler in self._handlers:
            log.addHandler(handler)

    def __exit__(self, *_: object) -> None:
        log.setLevel(self._level)
        for handler in self._handlers:
            log.removeHandler(handler)
            handler.close()
