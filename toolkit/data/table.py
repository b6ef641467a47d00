"""The one table of pictures and boxes, and the list of formats that can be read into it.

It holds no pixels: pictures are decoded where they are used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import Fault, UserError, suggest

SPLITS = ("train", "val", "test")

# A new format is one file with a function `read(config, seed, progress) -> Table`, and one line here.
READERS = {
    "coco": "toolkit.data.coco:read",
    "shapes": "toolkit.data.shapes:read",
}

# Called as progress(label, done, total) while a data set is drawn or checked, always from the calling thread.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture with its true boxes.

    ``size`` is (height, width) after EXIF orientation; ``boxes`` float32 [N,4] xyxy in pixels of the picture, inside
    it; ``class_ids`` int64 [N], positions in ``Table.class_names``; ``crowd`` bool [N], boxes around many objects,
    which count neither for nor against a detector; ``areas`` float64 [N] square pixels, the annotation's own
    (the mask's area where there is one). ``name`` is the file's name in the annotations, ``group`` what must stay
    together in one split, ``source`` where the picture came from ("" if not told).
    """

    path: Path
    name: str
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    split: str
    group: str
    source: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Checked samples; ``class_names[k]`` names class id k; ``skipped`` is what ``on_fault: skip`` left out."""

    class_names: tuple[str, ...]
    samples: tuple[Sample, ...]
    skipped: tuple[Fault, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.samples)

    def subset(self, split: str) -> Table:
        """The samples of one split, in the same order; UserError for a name that is no split."""
        if split not in SPLITS:
            raise UserError(f"split {split!r}: expected one of {', '.join(SPLITS)}{suggest(split, SPLITS)}")
        return Table(self.class_names, tuple(s for s in self.samples if s.split == split), self.skipped)

    def counts(self) -> dict[str, dict[str, int]]:
        """Boxes per class and split, ``{"mask": {"train": 10, "val": 2, "test": 0}}``; crowd boxes do not count."""
        totals = {split: np.zeros(len(self.class_names), np.int64) for split in SPLITS}
        for sample in self.samples:
            ids = sample.class_ids[~sample.crowd]
            totals[sample.split] += np.bincount(ids, minlength=len(self.class_names))
        return {
            name: {split: int(totals[split][class_id]) for split in SPLITS}
            for class_id, name in enumerate(self.class_names)
        }


def load_table(data_config: Any, seed: int, *, progress: Progress | None = None) -> Table:
    """Read and check the data set of a config's ``data`` block.

    ``seed`` draws the split where the data set brings none. Every picture is decoded once. Raises ``DataFaults``
    with all faults at once; under ``on_fault: skip`` only with those that leave nothing to train on.
    """
    name = data_config.format
    if name not in READERS:
        known = ", ".join(READERS)
        raise UserError(f"data.format: {name!r} is unknown; expected one of {known}{suggest(name, READERS)}")
    module, function = READERS[name].split(":")
    table: Table = getattr(importlib.import_module(module), function)(data_config, seed, progress)
    return table
