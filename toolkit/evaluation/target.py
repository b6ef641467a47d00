"""What a run or bundle is measured on: the data that it was trained with, a config's, or anybody's labelled folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.bundle_spec import BundleSpec, make_spec
from toolkit.config.load import load_config, parse_config
from toolkit.config.yaml_text import dump
from toolkit.data.fault_log import shown
from toolkit.data.folder_config import MODELS, folder_config
from toolkit.data.open_set import open_set
from toolkit.data.recognise import LAYOUT, recognise
from toolkit.data.relabel import relabelled
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.inference.model import Model

ALL = "all"
# Blocks of a config that say what a bundle answers and what is measured of it, and what they are called in the bundle.
ASKED = {"postprocess": "postprocessing", "measures": "measures"}


@dataclass(frozen=True)
class Subject:
    """The labelled pictures of ``split``; ``told`` says where they are and how they were read, ``changes`` by which
    they are to be changed besides, where a config says so.
    """

    table: Table[Any]
    split: str
    told: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def own_subject(
    target: str, spec: BundleSpec, overrides: Sequence[str], split: str, progress: Progress | None
) -> Subject:
    """The data that a run or bundle was trained with, changed by ``overrides``."""
    config = _own_config(target, spec, overrides)
    return _subject(load_table(config, progress=progress), split, _read_as(config.data))


def config_subject(config: str | Path, overrides: Sequence[str], split: str, progress: Progress | None) -> Subject:
    """The data of a config."""
    loaded = load_config(config, overrides).config
    told = f"{_read_as(loaded.data)}, by {config}"
    return replace(_subject(load_table(loaded, progress=progress), split, told), changes=loaded.measures.changes)


def folder_subject(
    folder: Path,
    spec: BundleSpec,
    overrides: Sequence[str],
    split: str | None,
    class_map: Mapping[str, str],
    progress: Progress | None,
) -> Subject:
    """A folder whose format is told by what lies in it, or by ``overrides`` of its data block.

    Without ``split`` it is val, or test, where the folder tells splits, and else all pictures. Raises ``UserError`` for
    a folder that cannot be read in one way alone, and for classes that are not the model's.
    """
    given = {key.removeprefix("data."): value for key, _, value in (text.partition("=") for text in overrides)}
    block = recognise(folder, spec.task, spec.labels, known=spec.provenance.data, given=given)
    config = folder_config(folder, spec.task, block, overrides)
    table = relabelled(open_set(config, progress=progress, whole=True), spec.labels, class_map)
    splits = {sample.split for sample in table.samples}
    split = split or next((name for name in ("val", "test") if name in splits), ALL)
    return _subject(table, split, _read_as(config.data))


def asked_of(model: Model, overrides: Sequence[str]) -> tuple[Model, list[str]]:
    """The model with its answers and measures changed by those ``overrides`` that speak of them; and the other ones."""
    changes = [text for text in overrides if text.partition("=")[0].partition(".")[0] in ASKED]
    others = [text for text in overrides if text not in changes]
    if not changes:
        return model, others
    spec = model.spec
    blocks = {key: getattr(spec, name).model_dump(mode="json") for key, name in ASKED.items()}
    document = {"name": spec.name, "task": spec.task, "data": {"format": "shapes"}, **blocks}
    config = parse_config(
        dump({**document, "model": {"name": MODELS[spec.task]}}), name=f"{spec.name} (bundle)", overrides=changes
    ).config
    asked = {name: getattr(config, key).model_dump() for key, name in ASKED.items()}
    try:
        return model.described(make_spec(**{**dict(spec), **asked})), others
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        told = f"; the model's classes are {', '.join(model.labels)}"
        raise UserError(f"{' '.join(changes)}: {reason}{told}") from None


def with_changes(model: Model, changes: Mapping[str, Any]) -> Model:
    """The model, to be measured under those changes; without any, under its own."""
    if not changes:
        return model
    measures = model.spec.measures.model_copy(update={"changes": dict(changes)})
    return model.described(model.spec.model_copy(update={"measures": measures}))


def _subject(table: Table[Any], split: str, told: str) -> Subject:
    return Subject(table if split == ALL else table.subset(split), split, told)


def _read_as(data: Any) -> str:
    """Such as ``photos, read as coco (annotations: annotations.json, images: images)``."""
    root = getattr(data, "root", None)
    parts = [f"{key}: {value}" for key in LAYOUT if key != "mask_columns" and (value := getattr(data, key, None))]
    splits = [f"splits: {shown(data.splits)}"] if getattr(data, "splits", None) else []
    listed = f" ({', '.join([*parts, *splits])})" if parts or splits else ""
    return f"{shown(root) if root else 'drawn pictures'}, read as {data.format}{listed}"


def _own_config(target: str, spec: BundleSpec, overrides: Sequence[str]) -> Any:
    """The config that a run or bundle was trained with. A bundle carries no paths, so its root must be given."""
    from toolkit.training.run_folder import is_run, open_run

    if is_run(target):
        return open_run(target).config(tuple(overrides)).config
    data: Mapping[str, Any] = spec.provenance.data
    if not data:
        raise UserError(
            f"{target}: this bundle does not say how its data was read; give labelled pictures with --data FOLDER,"
            " or a config with --config FILE"
        )
    given = {override.split("=", 1)[0] for override in overrides}
    located = [key for key in ("root", "splits", "extra") if data.get(key)]
    missing = [f"data.{key}" for key in located if f"data.{key}" not in given]
    if missing:
        raise UserError(
            f"{target}: say where the labelled pictures are: {' '.join(f'{key}=...' for key in missing)}"
            f" (trained on {', '.join(str(data[key]) for key in located)}); --data FOLDER measures on any others"
        )
    trained: Mapping[str, Any] = spec.provenance.config
    model = trained.get("model", {"name": spec.network.architecture})
    config: dict[str, Any] = {
        "name": spec.name,
        "task": spec.task,
        "data": dict(data),
        "model": {**model, "init": None},
    }
    config["seed"] = spec.provenance.seed or 0  # it draws the split where the data set brings none
    if "classes" in data:  # drawn shapes have always the same
        config["data"]["classes"] = list(spec.labels)
    return parse_config(dump(config), name=f"{target} (bundle)", overrides=overrides).config
