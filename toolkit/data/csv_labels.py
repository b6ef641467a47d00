"""Reads a CSV with a picture and its class in each row into the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.data.assemble import choose_classes
from toolkit.data.csv_index import CsvIndex, csv_listing, tables_in
from toolkit.data.fault_log import FaultLog
from toolkit.data.labels import label_table
from toolkit.data.listing import Settings
from toolkit.data.table import LabelSample, Progress, Table


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[LabelSample]:
    """Read and check a ``data`` block of format csv for classification: the columns image and label.

    The columns group, split and source are read where they are there, others are not. Pictures are named relative to
    ``data.root``; those that no row names are not used. Class ids follow ``data.classes`` or, without it, the labels in
    alphabetical order. Raises ``DataFaults``, see ``load_table``.
    """
    settings = Settings.of(config, seed, progress)
    log = FaultLog(settings.on_fault)
    listing = csv_listing(CsvIndex(Path(config.root), Path(config.index), ("label",), _label), settings, log)
    known = sorted({entry.labels for entry in listing.entries})
    names = choose_classes(known, known, settings.classes, listing.shown, log, things="pictures")
    return label_table(listing, names, settings, log)


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The tables of a folder that have the columns (see `toolkit.data.recognise`)."""
    return [{"index": name} for name, columns in tables_in(root) if {"image", "label"} <= columns]


def _label(cells: dict[str, str]) -> tuple[str | None, str]:
    return (cells["label"], "") if cells["label"] else (None, "the label cell is empty")
