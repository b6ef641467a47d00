"""Writes a data set anew in another format: pictures, labels, class names, splits, groups and sources.

What was written is read back and compared before it appears under its name.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.data.fault_log import shown
from toolkit.data.read_back import read_back
from toolkit.data.split_file import write_split_file
from toolkit.data.table import READERS, MaskSample, Progress, Sample, Table
from toolkit.data.writers import WRITERS
from toolkit.data.writers.target import Target, Written, group_names
from toolkit.errors import DataFaults, UserError, suggest

SPLIT_FILE = "splits.csv"


@dataclass(frozen=True)
class Converted:
    """``table`` is the new set as it was read back, None where it has too few pictures for a reader; ``block`` the keys
    of its ``data`` block, None for a format that is not trained on; ``lost`` a sentence for each thing that could not
    be kept as it was.
    """

    table: Table[Any] | None
    block: dict[str, Any] | None
    lost: tuple[str, ...]


def convert(
    table: Table[Any], task: str, to: str, out: Path, *, link: bool = False, progress: Progress | None = None
) -> Converted:
    """Write the table into the folder ``out``, which must not hold anything yet; it appears whole or not at all.

    ``link`` makes symbolic links to the pictures, and to masks that need no change, instead of copies. Raises
    ``UserError`` for a format that the task does not have, and for a set that the format cannot hold.
    """
    module, function = writer_of(task, to).split(":")
    write = getattr(importlib.import_module(module), function)
    with _new_folder(out) as folder:
        written: Written = write(table, Target(folder, link, progress))
        block = {"format": to, "root": folder, "classes": table.class_names, **written.block}
        if any(sample.split != "train" for sample in table.samples):
            block |= _splits(table, written, folder)
        try:
            found = read_back(table, task, block, written.names, progress)
        except DataFaults as error:
            first = str(error.faults[0]).replace(shown(folder), shown(out)).replace(str(folder), str(out))
            raise UserError(f"{to} cannot hold this set, and nothing was written: {first}") from None
    placed = {key: _plain(_moved(value, folder, out)) for key, value in block.items()}
    moved = found and Table(found.class_names, tuple(_moved_sample(sample, folder, out) for sample in found.samples))
    return Converted(moved, placed if to in READERS[task] else None, tuple(written.lost))


def writer_of(task: str, to: str) -> str:
    """The writer's place; ``UserError`` for a format that the task cannot be written in."""
    known = WRITERS[task]
    if to not in known:
        raise UserError(f"{to!r}: {task} is written as one of {', '.join(known)}{suggest(to, known)}")
    return known[to]


def _splits(table: Table[Any], written: Written, folder: Path) -> dict[str, Any]:
    """Write the split file where the labels do not tell the splits; the keys of the ``data`` block that it needs."""
    groups = group_names(table.samples, written.names)
    split_of = {group: sample.split for group, sample in zip(groups, table.samples, strict=True)}
    crossing = any(split_of[group] != sample.split for group, sample in zip(groups, table.samples, strict=True))
    keys: dict[str, Any] = {"check_groups": False} if crossing else {}  # the source's config allowed it
    if written.holds_splits:
        return keys
    rows = (
        (name, sample.source, group, sample.split)
        for name, group, sample in zip(written.names, groups, table.samples, strict=True)
    )
    write_split_file(folder / SPLIT_FILE, rows)
    return {"splits": folder / SPLIT_FILE, **keys}


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its name at the end, or goes where something went wrong."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{shown(out)}: is there already; name a new folder with --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UserError(f"{shown(out)}: cannot be made ({error.strerror})") from None
    try:
        folder = unfinished / out.name
        folder.mkdir()
        yield folder
        if out.exists():
            out.rmdir()
        folder.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _moved(value: Any, folder: Path, out: Path) -> Any:
    """A path in the folder as it is called in the end."""
    return out.absolute() / value.relative_to(folder) if isinstance(value, Path) else value


def _moved_sample(sample: Sample, folder: Path, out: Path) -> Sample:
    changes: dict[str, Any] = {"path": _moved(sample.path, folder, out)}
    if isinstance(sample, MaskSample):
        changes["masks"] = tuple((_moved(path, folder, out), class_id) for path, class_id in sample.masks)
    return replace(sample, **changes)


def _plain(value: Any) -> Any:
    """For YAML."""
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
