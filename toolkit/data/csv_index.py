"""Lists the formats that keep a table with a row a picture: what the columns image, group, split and source say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic

from toolkit.data.csv_file import file_fault, header_of, read_csv
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.files import visible
from toolkit.data.listing import Entry, Labels, Listing, Settings
from toolkit.data.splits import split_fault


@dataclass(frozen=True)
class CsvIndex(Generic[Labels]):
    """The table ``root/index`` and how a format reads it: the ``required`` columns besides image, and ``parse``.

    ``parse`` takes the cells by column and returns the labels, or None and a sentence about what is wrong with them.
    """

    root: Path
    index: Path
    required: Sequence[str]
    parse: Callable[[dict[str, str]], tuple[Labels | None, str]]
    group_column: str = "group"


def csv_listing(table: CsvIndex[Labels], settings: Settings, log: FaultLog) -> Listing[Labels]:
    """Every row's picture with its labels; a picture twice, and a path that leaves the folder, are faults by line.

    The column split is read where there is one and ``data.splits`` names no file.
    """
    path = table.root / table.index
    file, root = shown(path), shown(table.root)
    listing: Listing[Labels] = Listing(shown=file)
    purpose = "data.index names the table, relative to data.root"
    rows = read_csv(path, ("image", *table.required), purpose, log)
    if not rows and not log.fatal:
        log.add_fatal(file, "the data set is empty: no row stands under the header")
    first: dict[str, int] = {}
    for line, cells in rows:
        name = str(PurePosixPath(cells["image"]))
        labels, fault = table.parse(cells)
        fault = _row_fault(cells, name, first, settings) or fault
        if fault or labels is None:
            log.add(file, f"line {line}: {fault}")
            listing.refused.add(name)
            continue
        first[name] = line
        listing.entries.append(
            Entry(
                name=name,
                path=table.root / name,
                shown=f"{root}/{name}",
                labels=labels,
                told_in=file,
                split="" if settings.splits else cells.get("split", ""),
                group=cells.get(table.group_column, ""),
                source=cells.get("source", ""),
            )
        )
    return listing


def tables_in(root: Path) -> Iterator[tuple[str, set[str]]]:
    """The CSV files that lie directly in a folder, each with its columns."""
    for path in visible(root):
        if path.suffix.lower() == ".csv":
            yield path.name, set(header_of(path))


def _row_fault(cells: dict[str, str], name: str, first: dict[str, int], settings: Settings) -> str:
    fault = file_fault(cells["image"], "image", "data.root")
    if not fault and name in first:
        fault = f"{name} is listed twice (first on line {first[name]}); keep one row"
    if not fault and "split" in cells and not settings.splits:
        fault = split_fault(cells["split"], name)
    return fault
