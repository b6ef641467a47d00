"""Training, evaluation and export as Python calls; the command line is a thin wrapper of these."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.config import as_overrides, load_config, parse_config
from toolkit.errors import UserError

if TYPE_CHECKING:
    from toolkit.config import LoadedConfig
    from toolkit.data.table import Progress
    from toolkit.training.run_folder import Run

# What each call needs beyond the base install, by import name.
_TRAINING = ("torch", "lightning", "albumentations", "pycocotools", "onnx", "onnxscript", "safetensors", "matplotlib")
_EVALUATION = {"detection": ("pycocotools",)}


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


def evaluate(target: Run | str | Path, *, split: str = "val", **overrides: Any) -> dict[str, Any]:
    """Measure a run or a bundle and return its metrics (see ``metrics.json``).

    ``split`` is train, val, test, or all. A run is measured on its own data; a bundle on the data block that it was
    trained with, changed by ``overrides`` such as ``**{"data.root": "/your/pictures"}``.
    """
    return evaluate_with(target, as_overrides(overrides), split=split)


def evaluate_with(
    target: Run | str | Path,
    overrides: Sequence[str] = (),
    *,
    config: str | Path | None = None,
    split: str = "val",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """`evaluate` with overrides as text, or with the data block of a config file."""
    from toolkit.data import load_table
    from toolkit.evaluation.evaluate import measure
    from toolkit.inference import load

    model = load(str(target), "cpu")
    _need(_EVALUATION.get(model.spec.task, ()), "evaluation")
    if config is not None:
        loaded = load_config(config, overrides).config
    else:
        loaded = _data_of(str(target), model.spec, overrides).config
    table = load_table(loaded, progress=progress)
    return measure(model, table if split == "all" else table.subset(split), split, progress)


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


def _data_of(target: str, spec: Any, overrides: Sequence[str]) -> LoadedConfig:
    """The config that a run or bundle was trained with. A bundle carries no paths, so its root must be given."""
    from toolkit.training.run_folder import is_run, open_run

    if is_run(target):
        return open_run(target).config(tuple(overrides))
    data: Mapping[str, Any] = spec.provenance.data
    if not data:
        raise UserError(f"{target}: this bundle does not say how its data was read; give a config with --config FILE")
    given = {override.split("=", 1)[0] for override in overrides}
    located = [key for key in ("root", "splits", "extra") if data.get(key)]
    missing = [f"data.{key}" for key in located if f"data.{key}" not in given]
    if missing:
        raise UserError(
            f"{target}: say where the labelled pictures are: {' '.join(f'{key}=...' for key in missing)}"
            f" (trained on {', '.join(str(data[key]) for key in located)};"
            " data.splits=null measures on a drawn split of your own pictures)"
        )
    from toolkit.config.yaml_text import dump

    trained: Mapping[str, Any] = spec.provenance.config
    model = trained.get("model", {"name": spec.network.architecture})
    config = {"name": spec.name, "task": spec.task, "data": dict(data), "model": {**model, "init": None}}
    config["seed"] = spec.provenance.seed or 0  # it draws the split where the data set brings none
    if "classes" in data:  # drawn shapes have always the same
        config["data"]["classes"] = list(spec.labels)
    return parse_config(dump(config), name=f"{target} (bundle)", overrides=overrides)


def _need(modules: Sequence[str], what: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: install them with pip install 'cv-toolkit[train]'")
