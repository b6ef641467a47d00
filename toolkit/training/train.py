"""``toolkit train``: check the data, train on Lightning's Trainer, report, export a bundle.

Weights are safe in the run directory before anything is reported or exported, so a failure there loses nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config.load import LoadedConfig
from toolkit.config.schema import CommonConfig
from toolkit.data.check import summarise
from toolkit.data.fingerprint import fingerprint
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.training.network import build_network, preprocessing_of, training_preprocessing_of
from toolkit.training.own_process import keep_memory, quiet, share_cores
from toolkit.training.run_folder import LAST, SHORT, Run, create_run, write_json
from toolkit.training.run_log import log_to
from toolkit.training.task import TrainingTask, training_task
from toolkit.training.workers import start_fork_server

if TYPE_CHECKING:
    from toolkit.training.faults import Guard
    from toolkit.training.loader import TrainingLoader
    from toolkit.training.precision import Measured
    from toolkit.training.processes import Processes
    from toolkit.training.resume import Resumed

log = logging.getLogger("toolkit")

# What a resumed training may change: nothing that its weights depend on.
RESUMABLE_KEYS = ("data.root", "data.workers", "data.cache_mb", "train.checkpoint_every", "train.time_limit_minutes")
# What may differ between the machines that train together: where files lie, and how they are loaded.
OWN_KEYS = ("data.root", "data.splits", "data.extra", "data.workers", "data.cache_mb", "model.init")


def train(
    loaded: LoadedConfig, *, run_dir: str | Path | None = None, progress: Progress | None = None, bar: bool = False
) -> Run:
    """Train as the config says and return the run, with reports and ``bundle/`` in it.

    ``progress`` is told about the data check, ``bar`` shows Lightning's progress bar. Raises ``UserError`` for
    anything wrong in config, data or start weights before the first step.
    """
    _set_up(loaded.config)
    from toolkit.training.launch import threads, together
    from toolkit.training.precision import chosen

    with threads(loaded.config.train.threads), together(loaded.config, {"config": loaded.to_yaml()}) as processes:
        table, task = _prepare(loaded.config, progress, processes)
        measured = processes.made_once(lambda: _choose(loaded.config, len(table.class_names), processes.count))
        loaded = chosen(loaded, measured)
        run = processes.made_once(lambda: create_run(loaded, run_dir))
        return _train(run, loaded.config, table, task, bar, processes, measured=measured)


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
    _set_up(config)
    from toolkit.training.launch import threads, together

    request = {"resume": str(run.path.resolve()), "overrides": list(overrides)}
    with threads(config.train.threads), together(config, request) as processes:
        table, task = _prepare(config, progress, processes)
        return _train(run, config, table, task, bar, processes, resumed=True)


def _choose(config: CommonConfig, classes: int, processes: int) -> Measured | None:
    from toolkit.training.memory import memory_told
    from toolkit.training.precision import choice

    share = config.train.model_copy(update={"batch_size": config.train.batch_size // processes})
    config = config.model_copy(update={"train": share})
    with memory_told(config, "while the precision was chosen"):
        return choice(config, classes)


def _set_up(config: CommonConfig) -> None:
    quiet()
    share_cores(config.data.workers)
    keep_memory()
    if config.data.workers:
        start_fork_server(config.task)  # its imports take as long as looking at the data
    import torch

    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device=cuda: torch finds no CUDA device; use train.device=auto or cpu")


def _prepare(config: CommonConfig, progress: Progress | None, processes: Processes) -> tuple[Table[Any], TrainingTask]:
    """Check the data, on each machine once, and that all machines train the same on the same."""

    def check() -> tuple[Table[Any], str]:
        table = load_table(config, progress=progress)
        training_task(config.task).check(config, table)
        pictures = repr(fingerprint(table)) if processes.machines > 1 else ""
        return table, hashlib.sha256(pictures.encode()).hexdigest()[:SHORT]

    processes.agree(_shared_keys(config))
    table, pictures = processes.made_once(check, each_machine=True)
    processes.agree({"hash of the pictures and labels": pictures})
    trained, validated = (len(table.subset(split)) for split in ("train", "val"))
    if min(trained, validated) < processes.count:
        raise processes.told_once(
            f"expected pictures to train and to validate on for each of {processes.count} processes, got {trained} and"
            f" {validated}; give a lower train.devices or train.num_nodes"
        )
    return table, training_task(config.task)


def _shared_keys(config: CommonConfig) -> dict[str, Any]:
    """The config's values by key as all machines must have them."""
    keys: dict[str, Any] = {}
    for block, value in config.model_dump(mode="json").items():
        keys |= {f"{block}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {block: value}
    return {key: value for key, value in keys.items() if key not in OWN_KEYS}


def _train(
    run: Run,
    config: CommonConfig,
    table: Table[Any],
    task: TrainingTask,
    bar: bool,
    processes: Processes,
    *,
    resumed: bool = False,
    measured: Measured | None = None,
) -> Run:
    import lightning.pytorch as pl

    from toolkit.training.faults import Guard
    from toolkit.training.launch import leave
    from toolkit.training.record import recorded
    from toolkit.training.resume import digest_of_point

    with contextlib.ExitStack() as held:
        point, changes = processes.made_once(lambda: _take(run, config, table, held, processes, resumed))
        processes.agree({"hash of the resume point": digest_of_point(run) if point else None})
        guard = Guard(run, config, point.step if point else None, processes)
        if processes.first:
            held.enter_context(log_to(run.path / "train.log"))
        held.enter_context(guard.told())
        processes.made_once(lambda: held.enter_context(recorded(run, config, table, measured, processes.count)))
        if processes.first:
            _tell_start(run, table, point, changes, measured, processes)
        pl.seed_everything(config.seed, verbose=False)
        _fit(config, table, task, guard, bar, point)
        leave()
        return _finish(run, table, task) if processes.first else run


def _take(
    run: Run,
    config: CommonConfig,
    table: Table[Any],
    held: contextlib.ExitStack,
    processes: Processes,
    resumed: bool,
) -> tuple[Resumed | None, list[str]]:
    """Take the run directory for as long as ``held`` lasts; return where a resumed run goes on and what changed."""
    import torch

    from toolkit.training.resume import check_pictures, environment_changes, only_trainer, resume_point

    held.enter_context(only_trainer(run))
    point = resume_point(run) if resumed else None
    if point and point.epoch >= config.train.epochs and run.bundle.is_dir():
        raise UserError(f"{run}: this training is finished; its bundle is {run.bundle}")
    if point is None:
        return None, []
    check_pictures(run, table)
    return point, environment_changes(run, torch.get_num_threads(), processes.count)


def _tell_start(
    run: Run,
    table: Table[Any],
    point: Resumed | None,
    changes: list[str],
    measured: Measured | None,
    processes: Processes,
) -> None:
    log.info("run directory %s", run)
    if processes.count > 1:
        log.info("%s", processes)
    if point:
        log.info("resumed after step %d; what the log says of later ones above was done again", point.step)
    else:
        _tell_data(run, table)
    if measured:
        log.info("precision %s", measured)
    if changes:
        log.warning("not bit for bit what an unstopped training would give: %s", ", ".join(changes))


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

    run, processes = guard.run, guard.processes
    training_set = task.training_set(table.subset("train"), config, training_preprocessing_of(config))
    validation = table.subset("val")
    network = build_network(config.model, len(table.class_names)).to(memory_format=torch.channels_last)
    loader = training_loader(training_set, rank=processes.rank, ranks=processes.count)

    def begin() -> None:
        report.draw_data(run, table, training_set, task)
        _start_weights(run, network, config, loader, table)

    if point:
        loader.load_state_dict(point.loader)  # the trainer does so for points within an epoch only
    else:
        processes.made_once(begin)
        processes.share(network)
    steps = math.ceil(len(loader) / config.train.accumulate) * config.train.epochs
    module = task.module(network, config, training_set.table, validation, total_steps=steps, processes=processes)
    checks = ValidationSet(validation, preprocessing_of(config), config.data.cache_mb)
    trainer = make_trainer(config, task, guard, log.info, bar=bar, step=point.step if point else None)
    trainer.fit(
        module,
        loader,
        validation_loader(checks, config.train.batch_size, rank=processes.rank, ranks=processes.count),
        ckpt_path=run.path / LAST if point else None,
        weights_only=True,
    )


def _start_weights(run: Run, network: Any, config: CommonConfig, loader: TrainingLoader, table: Table[Any]) -> None:
    import torch

    from toolkit.training.soften import keep_start, refit_head
    from toolkit.training.start_weights import start_from

    if config.model.init:
        report = start_from(network, config.model.init)
        log.info("start weights %s: %s", config.model.init, report)
        if config.train.start_share:
            keep_start(run, network, report.loaded)
    if config.train.estimate_bn_batches:
        log.info("estimating batch-norm statistics on %d batches", config.train.estimate_bn_batches)
        with loader.batches.undivided():
            batches = itertools.islice(loader, config.train.estimate_bn_batches)
            pictures = (batch.images.to(memory_format=torch.channels_last) for batch in batches)
            torch.optim.swa_utils.update_bn(pictures, network)
    refit = getattr(config.train, "refit_head", None)
    if refit is not None and refit.first:
        refit_head(network, config, table, refit)


def _finish(run: Run, table: Table[Any], task: TrainingTask) -> Run:
    from toolkit.exporting.export import export_run
    from toolkit.training import report

    log.info("exporting the best checkpoint")
    report.draw_results(run, export_run(run, table=table), task)
    log.info("bundle in %s", run.bundle)
    return run
