"""Writes class folders: ``CLASS/picture.jpg``."""

from __future__ import annotations

from pathlib import PurePosixPath

from toolkit.data.files import is_hidden
from toolkit.data.table import SPLITS, LabelSample, Table
from toolkit.data.writers.target import Target, Written, distinct, plain_names
from toolkit.errors import UserError


def write(table: Table[LabelSample], target: Target) -> Written:
    """The folders of a class and a split at the head of a name go; others become part of the file's name."""
    for name in table.class_names:
        if "/" in name or is_hidden(name) or name in SPLITS:
            raise UserError(f"class {name!r} cannot be the name of a class folder; rename it, or write csv")
    labels = [table.class_names[sample.class_id] for sample in table.samples]
    names, notes = distinct(list(map(_file_name, plain_names(table.samples), labels)), key=str)
    target.pictures(table.samples, names)
    return Written(names, lost=notes)


def _file_name(name: str, label: str) -> str:
    """Such as ``cat/a.jpg`` for ``train/cat/a.jpg``, and ``cat/kitchen_a.jpg`` for ``kitchen/a.jpg``."""
    *folders, file = PurePosixPath(name).parts
    if folders and folders[0] in SPLITS:
        folders = folders[1:]
    if folders and folders[-1] == label:
        folders = folders[:-1]
    return f"{label}/{'_'.join([*folders, file])}"
