"""Reads a CSV with a picture and its masks in each row into the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.data.assemble import choose_classes
from toolkit.data.csv_file import file_fault
from toolkit.data.csv_index import CsvIndex, csv_listing, tables_in
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.listing import Settings
from toolkit.data.mask_files import MaskFile, mask_table
from toolkit.data.table import MaskSample, Progress, Table
from toolkit.errors import suggest

# Of class ids, where no column a class is named.
MASK_COLUMN = "mask"


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[MaskSample]:
    """Read and check a ``data`` block of format csv for segmentation: the column image and the mask columns.

    ``data.mask_columns`` has a column for each class but the first; an empty cell says that the picture shows nothing
    of that class, and where masks overlap, the class that is later in ``data.classes`` lies on top. Without it, the
    column mask has PNGs of class ids. Files are named relative to ``data.root``. The columns split and source, and
    ``data.group_column``, are read where they are there. Raises ``DataFaults``, see ``load_table``.
    """
    settings = Settings.of(config, seed, progress)
    log = FaultLog(settings.on_fault)
    root, file = Path(config.root), shown(Path(config.root) / config.index)
    names = choose_classes(config.classes, (), config.classes, file, log)
    columns = _columns(config.mask_columns, names, file, log)

    def parse(cells: dict[str, str]) -> tuple[tuple[MaskFile, ...] | None, str]:
        return _mask_files(cells, columns, root)

    asked = () if config.group_column == "group" else (config.group_column,)
    index = CsvIndex(root, Path(config.index), (*columns, *asked), parse, config.group_column)
    return mask_table(csv_listing(index, settings, log), names, settings, log)


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The tables of a folder that have a column of masks, or one for each label but the first: its name, or with
    ``_mask`` after it (see `toolkit.data.recognise`).
    """
    found: list[dict[str, Any]] = []
    for name, columns in tables_in(root):
        each = {label: next((c for c in (label, f"{label}_mask") if c in columns), "") for label in labels[1:]}
        if "image" in columns and MASK_COLUMN in columns:
            found.append({"index": name})
        elif "image" in columns and each and all(each.values()):
            found.append({"index": name, "mask_columns": each})
    return found


def _columns(mask_columns: Mapping[str, str], names: Sequence[str], file: str, log: FaultLog) -> dict[str, int | None]:
    """The class of each mask column, in the order in which they are laid over each other."""
    if not mask_columns:
        return {MASK_COLUMN: None}
    for name in mask_columns:
        if name not in names:
            log.add_fatal(file, f"data.mask_columns: {name!r} is not in data.classes{suggest(name, names)}")
        elif name == names[0]:
            log.add_fatal(file, f"data.mask_columns: {name!r} is the background, which has no masks of its own")
    for name in names[1:]:
        if name not in mask_columns:
            log.add_fatal(file, f"data.mask_columns: expected a column for class {name!r} of data.classes")
    for column in sorted({c for c in mask_columns.values() if list(mask_columns.values()).count(c) > 1}):
        log.add_fatal(file, f"data.mask_columns: column {column!r} stands for two classes; give each its own")
    return {mask_columns[name]: class_id for class_id, name in enumerate(names) if class_id and name in mask_columns}


def _mask_files(
    cells: Mapping[str, str], columns: Mapping[str, int | None], root: Path
) -> tuple[tuple[MaskFile, ...] | None, str]:
    """The masks of a row, or None and what is wrong with its cells."""
    files = []
    for column, class_id in columns.items():
        cell = cells[column]
        fault = file_fault(cell, column, "data.root")
        if fault and (cell or class_id is None):
            return None, fault
        if cell:
            files.append(MaskFile(root / cell, f"{shown(root)}/{cell}", class_id))
    return tuple(files), ""
