"""Reads a set that was just written, as a training would, and compares: a conversion that loses something must not
look like one that worked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from toolkit.config.data_blocks import BoxesConfig, LabelsConfig, MasksConfig
from toolkit.data.duplicates import find_identical
from toolkit.data.labelme import read_boxes
from toolkit.data.split_file import write_split_file
from toolkit.data.table import READERS, Progress, Table, load_table

BLOCKS: dict[str, Any] = {"detection": BoxesConfig, "classification": LabelsConfig, "segmentation": MasksConfig}


def read_back(
    table: Table[Any], task: str, block: dict[str, Any], names: Sequence[str], progress: Progress | None = None
) -> Table[Any] | None:
    """The set that ``block`` describes, which was written from ``table`` with these picture names.

    None where no reader would take it yet: nothing is held out, and too few pictures are there to hold one out. Raises
    ``DataFaults`` for what a reader finds wrong with it, and ``RuntimeError`` where it has other pictures or labels.
    """
    if block["format"] not in READERS[task]:
        found = read_boxes(block["root"], progress=progress)
    elif any(sample.split != "train" for sample in table.samples):
        found = _read(task, block, progress)
    else:
        spare = _spare(table)
        if spare is None:
            return None
        found = _read_with_split(task, block, names, spare, progress)
    if len(found) != len(table) or (found.unit == table.unit and _totals(found) != _totals(table)):
        raise RuntimeError(f"{block['format']}: wrote {_totals(table)}, read back {_totals(found)}")
    return found


def _read(task: str, block: dict[str, Any], progress: Progress | None) -> Table[Any]:
    data = TypeAdapter(BLOCKS[task]).validate_python(block)
    return load_table(SimpleNamespace(task=task, seed=0, data=data), progress=progress)


def _read_with_split(
    task: str, block: dict[str, Any], names: Sequence[str], spare: int, progress: Progress | None
) -> Table[Any]:
    """Hold out one picture while reading, as readers ask for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "splits.csv"
        write_split_file(path, ((name, "", "", "train" if k != spare else "val") for k, name in enumerate(names)))
        found = _read(task, {**block, "splits": path}, progress)
    return Table(found.class_names, tuple(replace(sample, split="train") for sample in found.samples))


def _spare(table: Table[Any]) -> int | None:
    """A picture whose classes others have too, and that is no other file's twin."""
    classes = len(table.class_names)
    has = np.array([sample.class_counts(classes) > 0 for sample in table.samples])
    twins = {index for pair in find_identical([sample.path for sample in table.samples]) for index in pair}
    rare = (has & (has.sum(axis=0) < 2)).any(axis=1)
    return next((k for k in range(1, len(table)) if not rare[k] and k not in twins), None)


def _totals(table: Table[Any]) -> dict[str, int]:
    """How often each class is there, in all splits; those that are not there are left out."""
    totals = {name: sum(counts.values()) for name, counts in table.counts().items()}
    return {name: total for name, total in totals.items() if total}
