"""Training, evaluation and export as Python calls; the command line is a thin wrapper of these."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config import as_overrides, load_config
from toolkit.errors import UserError, suggest

if TYPE_CHECKING:
    from toolkit.data.table import Progress
    from toolkit.evaluation.evaluate import Measurement
    from toolkit.training.run_folder import Run
    from toolkit.training.step_times import StepTimes

# What each call needs beyond the base install, by import name.
_TRAINING = ("torch", "lightning", "albumentations", "onnx", "onnxscript", "safetensors", "matplotlib")


def train(config: str | Path, **overrides: Any) -> Run:
    """Train from a config file and return the run: ``train("configs/x.yaml", **{"train.epochs": 5})``.

    Raises ``UserError`` for anything wrong in config, data or start weights, before the first step.
    """
    return train_from(config, as_overrides(overrides))


def train_from(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    run_dir: str | Path | None = None,
    progress: Progress | None = None,
    bar: bool = False,
) -> Run:
    """`train` with overrides as text (``train.epochs=5``), a folder for the run, and progress."""
    loaded = load_config(config, overrides)
    _need(_TRAINING, "training")
    from toolkit.training.train import train as run_training

    return run_training(loaded, run_dir=run_dir, progress=progress, bar=bar)


def resume(run: Run | str | Path, **overrides: Any) -> Run:
    """Go on with a training that died or was stopped; it ends with the weights that it would have had.

    ``overrides`` may change where the pictures are and how they are loaded, nothing that the weights depend on.
    Raises ``UserError`` when the run cannot be resumed.
    """
    return resume_from(run, as_overrides(overrides))


def resume_from(
    run: Run | str | Path, overrides: Sequence[str] = (), *, progress: Progress | None = None, bar: bool = False
) -> Run:
    """`resume` with overrides as text, and progress."""
    from toolkit.training.run_folder import open_run

    opened = open_run(str(run))
    _need(_TRAINING, "training")
    from toolkit.training.train import resume as resume_training

    return resume_training(opened, overrides, progress=progress, bar=bar)


def crossval(
    config: str | Path, *, by: str = "source", run_dir: str | Path | None = None, **overrides: Any
) -> dict[str, Any]:
    """Train a config once for each of ``data.folds`` without its pictures, and return the numbers on them.

    Without folds every source is held out by itself, or with ``by="group"`` every group. The runs and
    ``crossval.json``, which is returned, are put into ``run_dir`` (``runs/NAME/crossval``); called again, the finished
    runs are kept and one that died goes on. Raises ``UserError`` as `train` does.
    """
    return crossval_from(config, as_overrides(overrides), by=by, run_dir=run_dir)


def crossval_from(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    by: str = "source",
    run_dir: str | Path | None = None,
    progress: Progress | None = None,
    bar: bool = False,
) -> dict[str, Any]:
    """`crossval` with overrides as text, and progress."""
    loaded = load_config(config, overrides)
    _need(_TRAINING, "training")
    from toolkit.training.crossval import cross_validate
    from toolkit.training.run_folder import RUNS

    folder = RUNS / loaded.config.name / "crossval" if run_dir is None else Path(run_dir)
    return cross_validate(config, overrides, folder, by=by, progress=progress, bar=bar)


def benchmark_training(
    config: str | Path, overrides: Sequence[str] = (), *, steps: int = 20, progress: Progress | None = None
) -> tuple[StepTimes, list[str]]:
    """Time ``steps`` training steps of a config; return the times, and what bounds it and may be changed."""
    loaded = load_config(config, overrides)
    _need(_TRAINING, "training")
    from toolkit.training.step_advice import advice
    from toolkit.training.step_times import time_steps

    times = time_steps(loaded, steps, progress)
    return times, advice(times)


def evaluate(
    target: Run | str | Path,
    *,
    data: str | Path | None = None,
    split: str | None = None,
    report: str | Path | None = None,
    class_map: Mapping[str, str] | None = None,
    changes: bool = False,
    precision: str = "auto",
    **overrides: Any,
) -> dict[str, Any]:
    """Measure a run or a bundle and return its metrics (see ``metrics.json``).

    Args:
        target: a run, a bundle, or the name of a shipped one.
        data: a folder of labelled pictures, whose format is told by what lies in it. Without it a run is measured on
            its own data, a bundle on the data block that it was trained with, changed by ``overrides`` such as
            ``**{"data.root": "/the/pictures"}``.
        split: train, val, test, or all; by default val, and all of a folder that tells no splits.
        report: a folder to write a report into, ``index.html`` and ``metrics.json``.
        class_map: of a folder's classes those that are called otherwise in the model, ``{"theirs": "ours"}``; "" leaves
            a class out.
        changes: measure too on the pictures changed as the bundle's ``measures.changes`` say; that needs
            albumentations.
        precision: "fp32", "int8" or "auto", see ``toolkit.load``.
    """
    return evaluate_with(
        target,
        as_overrides(overrides),
        data=data,
        split=split,
        report=report,
        class_map=class_map,
        changes=changes,
        precision=precision,
    )


def evaluate_with(
    target: Run | str | Path,
    overrides: Sequence[str] = (),
    *,
    report: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """`evaluate` with overrides as text, or with the data block of a config file (``config``)."""
    done = measure_target(target, overrides, progress=progress, **options)
    if report is not None:
        done.write_report(report, progress)
    return done.metrics


def measure_target(
    target: Run | str | Path,
    overrides: Sequence[str] = (),
    *,
    config: str | Path | None = None,
    data: str | Path | None = None,
    split: str | None = None,
    class_map: Mapping[str, str] | None = None,
    changes: bool = False,
    precision: str = "auto",
    progress: Progress | None = None,
) -> Measurement:
    """`evaluate` up to the numbers: the measurement, which can write its report."""
    from toolkit.data.table import SPLITS
    from toolkit.evaluation import target as subjects
    from toolkit.evaluation.evaluate import Measurement, measure
    from toolkit.inference import load

    if split not in (None, *SPLITS, subjects.ALL):
        known = (*SPLITS, subjects.ALL)
        raise UserError(f"split {split!r}: expected one of {', '.join(known)}{suggest(str(split), known)}")
    model, overrides = subjects.asked_of(load(str(target), "cpu", precision=precision), overrides)
    if class_map and (data is None or config is not None):
        raise UserError("--map: changes the classes of a folder; name it with --data FOLDER, without --config")
    if config is not None:
        root = [] if data is None else [f"data.root={data}"]
        subject = subjects.config_subject(config, [*overrides, *root], split or "val", progress)
    elif data is not None:
        subject = subjects.folder_subject(Path(data), model.spec, overrides, split, class_map or {}, progress)
    else:
        subject = subjects.own_subject(str(target), model.spec, overrides, split or "val", progress)
    model = subjects.with_changes(model, subject.changes)
    measured = measure(model, subject.table, subject.split, progress)
    if changes:
        _need(("albumentations",), "changing pictures")
        from toolkit.evaluation.changes import measure_changes

        measured = measure_changes(model, measured, progress)
    return Measurement(model, measured, {"data": subject.told})


def export(source: Run | str | Path, to: str | Path | None = None, *, docker: bool = False, **overrides: Any) -> Path:
    """Write the bundle of a run (or a bundle) to ``to``, a folder or a .zip, and return the path.

    ``overrides`` of ``bundle.*`` and ``postprocess.*`` make the run's bundle anew, parity check included.
    """
    return export_to(source, to, as_overrides(overrides), docker=docker)


def export_to(
    source: Run | str | Path,
    to: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    docker: bool = False,
    again: bool = False,
    progress: Progress | None = None,
) -> Path:
    """`export` with overrides as text; ``again`` makes the run's bundle anew even without any."""
    from toolkit.bundle import Bundle, copy_bundle
    from toolkit.bundles import resolve
    from toolkit.training.run_folder import is_run, open_run

    text = str(source)
    if is_run(text):
        run = open_run(text)
        if overrides or again or not run.bundle.is_dir():
            _need(_TRAINING, "making a bundle")
            from toolkit.exporting.export import export_run

            export_run(run, overrides=overrides, progress=progress)
        if to is None:
            return run.bundle
    elif overrides or again:
        raise UserError(f"{text}: only a run can be exported anew with changes; a bundle is copied as it is")
    if to is None:
        raise UserError(f"{text}: say where to write the bundle with --to FOLDER or --to FILE.zip")
    if docker and Path(to).suffix == ".zip":
        raise UserError(f"{to}: --docker needs a folder to put the Dockerfile beside; give a folder, not a .zip")
    path = copy_bundle(Bundle.open(resolve(text)), to)
    if docker:
        from toolkit.docker import write_dockerfile

        write_dockerfile(path.parent, path.name)
    return path


def _need(modules: Sequence[str], what: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: install them with pip install 'cv-toolkit[train]'")
