"""``toolkit train``: check the data, train on Lightning's Trainer, report, export a bundle.

Weights are safe in the run directory before anything is reported or exported, so a failure there loses nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config.load import LoadedConfig
from toolkit.config.schema import CommonConfig
from toolkit.data.check import summarise
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.own_process import keep_memory, quiet, share_cores
from toolkit.training.run_folder import LAST, Run, create_run, write_json
from toolkit.training.run_log import log_to
from toolkit.training.task import TrainingTask, training_task
from toolkit.training.workers import start_fork_server

if TYPE_CHECKING:
    from toolkit.training.faults import Guard
    from toolkit.training.precision import Measured
    from toolkit.training.resume import Resumed

log = logging.getLogger("toolkit")

# What a resumed training may change: nothing that its weights depend on.
RESUMABLE_KEYS = ("data.root", "data.workers", "data.cache_mb", "train.checkpoint_every", "train.time_limit_minutes")


def train(
    loaded: LoadedConfig, *, run_dir: str | Path | None = None, progress: Progress | None = None, bar: bool = False
) -> Run:
    """Train as the config says and return the run, with reports and ``bundle/`` in it.

    ``progress`` is told about the data check, ``bar`` shows Lightning's progress bar. Raises ``UserError`` for
    anything wrong in config, data or start weights before the first step.
    """
    table, task = _prepare(loaded.config, progress)
    from toolkit.training.memory import memory_told
    from toolkit.training.precision import settle

    with memory_told(loaded.config, "while the precision was chosen"):
        loaded, measured = settle(loaded, len(table.class_names))
    return _train(create_run(loaded, run_dir), loaded.config, table, task, bar, measured=measured)


def resume(run: Run, overrides: Sequence[str] = (), *, progress: Progress | None = None, bar: bool = False) -> Run:
    """Go on with a training that died, from its last resume point, to the end that it would have had.

    ``overrides`` may change `RESUMABLE_KEYS` only. Raises ``UserError`` where the pictures are not the same any more,
    or another process is training in the run.
    """
    for override in overrides:
        if override.split("=", 1)[0] not in RESUMABLE_KEYS:
            raise UserError(
                f"override {override}: a resumed training keeps its config but for {', '.join(RESUMABLE_KEYS)}."
                f" For other settings start a new training from these weights: model.init={run.bundle}"
            )
    config = run.config(tuple(overrides)).config
    table, task = _prepare(config, progress)
    return _train(run, config, table, task, bar, resumed=True)


def _prepare(config: CommonConfig, progress: Progress | None) -> tuple[Table[Any], TrainingTask]:
    quiet()
    share_cores(config.data.workers)
    keep_memory()
    if config.data.workers:
        start_fork_server(config.task)  # its imports take as long as looking at the data
    import numba
    import torch

    if config.train.threads:
        torch.set_num_threads(config.train.threads)
        numba.set_num_threads(min(config.train.threads, numba.get_num_threads()))
    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device=cuda: torch finds no CUDA device; use train.device=auto or cpu")
    table = load_table(config, progress=progress)
    task = training_task(config.task)
    task.check(config, table)
    return table, task


def _train(
    run: Run,
    config: CommonConfig,
    table: Table[Any],
    task: TrainingTask,
    bar: bool,
    *,
    resumed: bool = False,
    measured: Measured | None = None,
) -> Run:
    import lightning.pytorch as pl
    import torch

    from toolkit.training.faults import Guard
    from toolkit.training.record import recorded
    from toolkit.training.resume import check_pictures, environment_changes, only_trainer, resume_point

    with contextlib.ExitStack() as held:
        held.enter_context(only_trainer(run))
        point = resume_point(run) if resumed else None
        if point and point.epoch >= config.train.epochs and run.bundle.is_dir():
            raise UserError(f"{run}: this training is finished; its bundle is {run.bundle}")
        changes = []
        if point:
            check_pictures(run, table)
            changes = environment_changes(run, config.train.threads or torch.get_num_threads())
        guard = Guard(run, config, point.step if point else None)
        held.enter_context(log_to(run.path / "train.log"))
        held.enter_context(guard.told())
        held.enter_context(recorded(run, config, table, measured))
        log.info("run directory %s", run)
        if point:
            log.info("resumed after step %d; what the log says of later ones above was done again", point.step)
        else:
            _tell_data(run, table)
        if measured:
            log.info("precision %s", measured)
        if changes:
            log.warning("not bit for bit what an unstopped training would give: %s", ", ".join(changes))
        pl.seed_everything(config.seed, verbose=False)
        _fit(config, table, task, guard, bar, point)
        return _finish(run, table, task)


def _tell_data(run: Run, table: Table[Any]) -> None:
    for fault in table.skipped:
        log.warning("left out: %s", fault)
    statistics = summarise(table).to_dict()
    write_json(run.path / "labels.json", {**statistics, "left_out": [str(fault) for fault in table.skipped]})
    log.info("%d pictures to train on, %d to validate on", *(statistics["pictures"][s] for s in ("train", "val")))


def _fit(
    config: CommonConfig,
    table: Table[Any],
    task: TrainingTask,
    guard: Guard,
    bar: bool,
    point: Resumed | None,
) -> None:
    import torch

    from toolkit.training import report
    from toolkit.training.dataset import ValidationSet
    from toolkit.training.loader import training_loader, validation_loader
    from toolkit.training.trainer import make_trainer

    run, preprocessing = guard.run, preprocessing_of(config)
    training_set = task.training_set(table.subset("train"), config, preprocessing)
    validation = table.subset("val")
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    loader = training_loader(training_set)
    if point:
        loader.load_state_dict(point.loader)  # the trainer does so for points within an epoch only
    else:
        report.draw_data(run, table, training_set, task)
        _start_weights(network, config, loader)
    steps = math.ceil(len(loader) / config.train.accumulate) * config.train.epochs
    module = task.module(network, config, training_set.table, validation, total_steps=steps)
    checks = ValidationSet(validation, preprocessing, config.data.cache_mb)
    trainer = make_trainer(config, task, guard, log.info, bar=bar, step=point.step if point else None)
    trainer.fit(
        module,
        loader,
        validation_loader(checks, config.train.batch_size),
        ckpt_path=run.path / LAST if point else None,
        weights_only=True,
    )


def _start_weights(network: Any, config: CommonConfig, loader: Iterable[Any]) -> None:
    import torch

    from toolkit.training.start_weights import start_from

    if config.model.init:
        log.info("start weights %s: %s", config.model.init, start_from(network, config.model.init))
    if config.train.estimate_bn_batches:
        batches = itertools.islice(loader, config.train.estimate_bn_batches)
        log.info("estimating batch-norm statistics on %d batches", config.train.estimate_bn_batches)
        pictures = (batch.images.to(memory_format=torch.channels_last) for batch in batches)
        torch.optim.swa_utils.update_bn(pictures, network)


def _finish(run: Run, table: Table[Any], task: TrainingTask) -> Run:
    from toolkit.exporting.export import export_run
    from toolkit.training import report

    log.info("exporting the best checkpoint")
    report.draw_results(run, export_run(run, table=table), task)
    log.info("bundle in %s", run.bundle)
    return run
