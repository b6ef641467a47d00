"""Reads the CSV tables that people bring: UTF-8 with or without a byte-order mark, any line ends, any column order."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from toolkit.data.fault_log import FaultLog, shown


def read_csv(path: Path, required: Iterable[str], purpose: str, log: FaultLog) -> list[tuple[int, dict[str, str]]]:
    """The rows as (line, cells by column), cells stripped of blanks; columns that nobody asks for are there too.

    ``purpose`` ends the sentence about a missing file. A row of another length is a fault and left out; an unreadable
    file, a missing or doubled column is fatal. Empty lines are skipped.
    """
    file, text = shown(path), _read_text(path, purpose, log)
    if text is None:
        return []
    rows: list[tuple[int, dict[str, str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not _check_header(header, list(required), file, log):
            return []
        for cells in filter(None, reader):
            if len(cells) == len(header):
                rows.append((reader.line_num, {n: cell.strip() for n, cell in zip(header, cells, strict=True)}))
            else:
                message = f"expected {len(header)} cells as in the header, found {len(cells)}"
                log.add(file, f"line {reader.line_num}: {message}")
    except csv.Error as error:
        log.add_fatal(file, f"line {reader.line_num}: is not CSV ({error})")
    return rows


def header_of(path: Path) -> list[str]:
    """The columns of a CSV; none of a file that is not there or is no CSV."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip() for cell in next(csv.reader(file), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def file_fault(cell: str, column: str, base: str) -> str:
    """What is wrong with a cell that names a file under the folder ``base``; "" if nothing."""
    if not cell:
        return f"the {column} cell is empty"
    if "\\" in cell:
        return f"{column} {cell!r} has backslashes; write it with /"
    if PurePosixPath(cell).is_absolute() or ".." in PurePosixPath(cell).parts or "\0" in cell:
        return f"{column} {cell!r} leaves the data folder; give it relative to {base}"
    return ""


def _check_header(header: list[str], required: list[str], file: str, log: FaultLog) -> bool:
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if missing:
        listed = f"{', '.join(required[:-1])} and {required[-1]}" if len(required) > 1 else required[0]
        noun = "columns" if len(required) > 1 else "column"
        found = ", ".join(header) or "none"
        log.add_fatal(file, f"expected a header with the {noun} {listed}, found {found}")
    for name in twice:
        log.add_fatal(file, f"line 1: column {name!r} stands twice; rename one")
    return not missing and not twice


def _read_text(path: Path, purpose: str, log: FaultLog) -> str | None:
    file = shown(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        log.add_fatal(file, f"no such file; {purpose}")
    except UnicodeDecodeError:
        log.add_fatal(file, "is not UTF-8 text; save it as 'CSV UTF-8'")
    except OSError as error:
        log.add_fatal(file, f"cannot be read ({error.strerror})")
    return None
