"""What is to be converted: a config's data set, or a folder whose format the user names. It only opens and reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.config import load_config
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.folder_config import folder_config
from toolkit.data.labelme import read_boxes, read_polygons
from toolkit.data.open_set import open_set
from toolkit.data.splits import read_splits
from toolkit.data.table import READERS, Progress, Table
from toolkit.data.writers import WRITERS
from toolkit.errors import UserError, suggest

LABELME = "labelme"
HOLDS = {"detection": "boxes", "classification": "classes", "segmentation": "masks"}


@dataclass(frozen=True)
class Source:
    """A read data set, its task, and the format that it was stored in."""

    table: Table[Any]
    task: str
    format: str
    root: Path | None


def open_source(
    source: str, stored: str | None, to: str, overrides: Sequence[str] = (), *, progress: Progress | None = None
) -> Source:
    """Read a config's data set, or with ``stored`` (its format) a folder's; ``to`` helps to tell boxes, classes and
    masks apart. ``overrides`` are KEY=VALUE, of the ``data`` block alone for a folder.

    Raises ``UserError`` for formats that do not fit each other, and ``DataFaults`` for what is wrong with the data.
    """
    if stored is None:
        if Path(source).is_dir():
            raise UserError(f"{source}: is a folder; say how its labels are stored with --from: {', '.join(_known())}")
        loaded = load_config(source, overrides).config
        _check_fit(loaded.task, loaded.data.format, to)
        table = open_set(loaded, progress=progress)
        return Source(table, loaded.task, loaded.data.format, getattr(loaded.data, "root", None))
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"{source}: no such folder; --from {stored} reads a folder, without it a config is read")
    task = _task_of(stored, to)
    if stored == LABELME:
        return Source(_labelme(folder, task, overrides, progress), task, stored, folder)
    config = folder_config(folder, task, {"format": stored}, overrides)
    return Source(open_set(config, progress=progress), task, stored, folder)


def _labelme(folder: Path, task: str, overrides: Sequence[str], progress: Progress | None) -> Table[Any]:
    """LabelMe is read to be converted, not to train: it has no data block, and two keys."""
    given = dict(override.partition("=")[::2] for override in overrides)
    known = ["data.images", "data.splits"]
    for key in sorted(given.keys() - set(known)):
        raise UserError(f"{key}: labelme has the keys {' and '.join(known)}{suggest(key, known)}")
    images = Path(given["data.images"]) if "data.images" in given else None
    read = read_boxes if task == "detection" else read_polygons
    table: Table[Any] = read(folder, images, progress=progress)
    if not any(sum(counts.values()) for counts in table.counts().values()):
        raise UserError(f"{shown(folder)}: none of its {len(table)} pictures has a labelled shape")
    return _with_splits(table, Path(given["data.splits"])) if "data.splits" in given else table


def _with_splits(table: Table[Any], path: Path) -> Table[Any]:
    """The table with the splits, groups and sources of a CSV, which must list each of its pictures."""
    log = FaultLog()
    rows = read_splits(path, log)
    for sample in table.samples:
        if not log.fatal and sample.name not in rows:
            log.add(shown(path), f"{sample.name} is missing; give it a row")
    log.settle()
    samples = (
        replace(sample, split=row.split, group=row.group or sample.name, source=row.source)
        for sample, row in ((sample, rows[sample.name]) for sample in table.samples)
    )
    return Table(table.class_names, tuple(samples))


def _sources(task: str) -> list[str]:
    """What can be read for a task; shapes are drawn, not stored in a folder that anybody names."""
    stored = [name for name in READERS[task] if name != "shapes"]
    return stored if task == "classification" else [*stored, LABELME]


def _known() -> list[str]:
    return list(dict.fromkeys(name for task in READERS for name in _sources(task)))


def _task_of(stored: str, to: str) -> str:
    """The one task that has both formats."""
    for name, known in (("--from", _known()), ("--to", _targets())):
        given = stored if name == "--from" else to
        if given not in known:
            raise UserError(f"{name} {given}: expected one of {', '.join(known)}{suggest(given, known)}")
    tasks = [task for task in READERS if stored in _sources(task) and to in WRITERS[task]]
    if stored == to:
        raise UserError(f"--to {to}: the set is stored as {to} already")
    if not tasks:
        held, wanted = _held(stored, _sources), _held(to, lambda task: list(WRITERS[task]))
        raise UserError(f"--to {to}: {stored} holds {held}, {to} holds {wanted}; one cannot become the other")
    return tasks[0]


def _check_fit(task: str, stored: str, to: str) -> None:
    if to not in WRITERS[task]:
        known = ", ".join(name for name in WRITERS[task] if name != stored)
        raise UserError(f"--to {to}: this config is for {task}; expected one of {known}{suggest(to, WRITERS[task])}")
    if stored == to:
        raise UserError(f"--to {to}: the set is stored as {to} already")


def _targets() -> list[str]:
    return list(dict.fromkeys(name for task in WRITERS for name in WRITERS[task]))


def _held(name: str, formats: Any) -> str:
    return " or ".join(HOLDS[task] for task in READERS if name in formats(task))
