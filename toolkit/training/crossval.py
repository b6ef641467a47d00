"""How good a recipe is on pictures of sources that it never saw: a training for each fold of sources or groups, without
them, measured on them. The folds' own runs are ordinary ones with ``data.hold_out``; those that are finished are kept.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.bundle import Bundle
from toolkit.config.load import LoadedConfig, as_overrides, load_config
from toolkit.data.open_set import open_set
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.evaluation.as_one import WHOLE, numbers_of, numbers_of_all, whole
from toolkit.evaluation.evaluate import Measured, measure
from toolkit.evaluation.sections import Ranged
from toolkit.evaluation.task import evaluation_task
from toolkit.exporting.export import export_run
from toolkit.training.launch import TORCHRUN
from toolkit.training.run_folder import Run, is_run, write_json
from toolkit.training.train import RESUMABLE_KEYS, resume, train

log = logging.getLogger("toolkit")

RESULT = "crossval.json"
KINDS = ("source", "group")
# What a fold that is trained already may have otherwise: where files lie, and what its own training settled.
# Calibration is no part of it: the bundle is made anew where another one is asked for.
CALIBRATION = ("calibration.fit", "calibration.abstain_error", "calibration.abstain_at")
OTHER = (*RESUMABLE_KEYS, "train.precision", *CALIBRATION)


@dataclass(frozen=True)
class Fold:
    """The sources or groups that are held out together."""

    name: str
    held: tuple[str, ...]


def cross_validate(
    config: str | Path,
    overrides: Sequence[str],
    folder: Path,
    *,
    by: str = "source",
    progress: Progress | None = None,
    bar: bool = False,
) -> dict[str, Any]:
    """Train and measure every fold in ``folder``, write ``crossval.json`` there, and return what stands in it.

    The folds are those of ``data.folds``, or else every source (``by`` "group": every group) by itself. Folds that
    are finished are not trained again, one that died goes on. Raises ``UserError`` for anything wrong in the config,
    where there are fewer than two folds, and for a folder whose runs have another config.
    """
    loaded = load_config(config, overrides)
    folds = folds_of(loaded, by, progress)
    measured: dict[str, dict[str, Any]] = {}
    held_out: dict[str, tuple[Table[Any], Any]] = {}
    for number, fold in enumerate(folds, 1):
        run_dir = folder / f"{number}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', fold.name)}"
        log.info("fold %d of %d, without %s", number, len(folds), ", ".join(fold.held))
        held = (*getattr(loaded.config.data, "hold_out", ()), *fold.held)
        without = load_config(config, [*overrides, *as_overrides({"data.hold_out": list(dict.fromkeys(held))})])
        measured[fold.name], model, others = _measured(_trained(without, run_dir, progress, bar), fold, progress)
        held_out[fold.name] = whole(others.table), others.predictions
    together = evaluation_task(loaded.config.task).across(model, held_out)
    if "pooled" in together:
        together["pooled"] = _part(loaded.config.task, together["pooled"], WHOLE)
    result = {
        "name": loaded.config.name,
        "task": loaded.config.task,
        "folds": measured,
        "mean": _means(measured),
        **together,
    }
    write_json(folder / RESULT, result)
    return result


def folds_of(loaded: LoadedConfig, by: str, progress: Progress | None = None) -> list[Fold]:
    """What is held out in turn."""
    if by not in KINDS:
        raise UserError(f"--by {by}: expected {' or '.join(KINDS)}")
    if any(name in os.environ for name in TORCHRUN):
        raise UserError("crossval starts its trainings itself: run it without torchrun; train.devices=N uses N GPUs")
    config = loaded.config
    told: Mapping[str, tuple[str, ...]] = getattr(config.data, "folds", {})
    if told:
        return [Fold(name, held) for name, held in told.items()]
    table = open_set(config, progress=progress)
    names = {getattr(sample, by): sample.name for sample in table.samples if sample.split != "test"}
    folds = [Fold(name, (name,)) for name in sorted(names) if name and name != names[name]]
    if len(folds) < 2:
        raise UserError(
            f"crossval holds out a {by} at a time, and the pictures tell of {len(folds)}; name some under data.folds,"
            f" tell them in a column {by}, or give --by {'group' if by == 'source' else 'source'}"
        )
    return folds


def _trained(loaded: LoadedConfig, folder: Path, progress: Progress | None, bar: bool) -> Run:
    """The finished run in ``folder``: as it was, gone on with, or new."""
    if not is_run(folder):
        return train(loaded, run_dir=folder, progress=progress, bar=bar)
    run = Run(folder)
    if differing := _differing(run.config(), loaded):
        raise UserError(
            f"{folder}: was trained with another {', '.join(differing)}; give another --run-dir, or take it away"
        )
    if not run.bundle.is_dir():
        run = resume(run, progress=progress, bar=bar)
    _calibrate(run, loaded, progress)
    return run


def _calibrate(run: Run, loaded: LoadedConfig, progress: Progress | None) -> None:
    """Make the bundle anew where its calibration is not what the config asks for: that needs no training."""
    made = {"calibration": Bundle.open(run.bundle).spec.provenance.config.get("calibration", {})}
    before, asked = _flat(made), _flat(loaded.config.model_dump(mode="json"))
    wanted = {key: asked[key] for key in CALIBRATION if key in asked}
    if any(before.get(key, False) != value for key, value in wanted.items() if value or before.get(key)):
        export_run(run, overrides=as_overrides(wanted), progress=progress)


def _differing(before: LoadedConfig, now: LoadedConfig) -> list[str]:
    """The keys that the two configs have otherwise, as far as the weights may depend on them."""
    flat = [_flat(loaded.config.model_dump(mode="json")) for loaded in (before, now)]
    keys = dict.fromkeys([*flat[0], *flat[1]])
    return [key for key in keys if key not in OTHER and flat[0].get(key) != flat[1].get(key)]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by ``block.key``."""
    keys: dict[str, Any] = {}
    for block, value in values.items():
        keys |= {f"{block}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {block: value}
    return keys


def _measured(run: Run, fold: Fold, progress: Progress | None) -> tuple[dict[str, Any], Any, Measured]:
    """The numbers of the held-out pictures, of each of their sources, and of the validation pictures; and the model,
    and what was measured of the held-out ones.
    """
    from toolkit.inference import load

    model, table = load(str(run), "cpu"), load_table(run.config().config, progress=progress)
    held = [sample for sample in table.samples if {sample.source, sample.group} & set(fold.held)]
    others = measure(model, Table(table.class_names, tuple(held)), "test", progress)
    own = measure(model, table.subset("val"), "val", progress)
    rule = model.spec.abstention
    told = {
        "hold_out": list(fold.held),
        "run": run.path.name,
        **({"abstention": {"abstain_at": rule.at, "error_level": rule.error_level}} if rule else {}),
        "held_out": {**_as_one(model, others), "per_source": _per_source(others)},
        "validation": _as_one(model, own),
    }
    return told, model, others


def _as_one(model: Any, measured: Measured) -> dict[str, Any]:
    """The numbers that are told of a source, with intervals, of all pictures as if they were of one."""
    task, pictures = evaluation_task(model.spec.task), len(measured.table)
    return {"pictures": pictures, "numbers": numbers_of_all(task, model, measured.table, measured.predictions)}


def _per_source(measured: Measured) -> dict[str, Any]:
    metrics = measured.metrics
    return {name: _part(metrics["bundle"]["task"], metrics, name) for name in metrics["per_source"]}


def _part(task: str, metrics: dict[str, Any], source: str) -> dict[str, Any]:
    pictures = metrics["per_source"][source]["pictures"]
    return {"pictures": pictures, "numbers": numbers_of(evaluation_task(task), metrics, source)}


def _means(folds: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of each number the mean over the folds that have it."""
    return {
        part: {
            name: mean_of([Ranged(**_ranged(fold[part]["numbers"][name])) for fold in folds.values()])
            for name in next(iter(folds.values()))[part]["numbers"]
        }
        for part in ("held_out", "validation")
    }


def _ranged(number: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": number["value"], "around": number["interval"]}


def mean_of(numbers: Sequence[Ranged]) -> dict[str, Any]:
    """The mean of independent numbers and its interval, from theirs: square-and-add (Zou and Donner, Statistics in
    Medicine 27, 2008). It speaks of other pictures of these folds, not of other folds.
    """
    known = [number for number in numbers if number.value is not None]
    if not known:
        return {"value": None, "interval": None, "folds": 0}
    mean = sum(number.value or 0.0 for number in known) / len(known)
    if any(number.around is None for number in known):
        return {"value": mean, "interval": None, "folds": len(known)}
    below, above = (
        math.sqrt(sum(((number.around or ())[side] - (number.value or 0.0)) ** 2 for number in known)) / len(known)
        for side in (0, 1)
    )
    return {"value": mean, "interval": [mean - below, mean + above], "folds": len(known)}
