"""Who trains and who is held out: read from a CSV or drawn by seed, and never one group or picture in two splits."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.table import SPLITS
from toolkit.errors import suggest

# difflib takes milliseconds a name: suggestions are for a slip or two, not for another data set's file.
SUGGESTIONS = 20


@dataclass(frozen=True)
class Row:
    """Where one picture belongs."""

    split: str
    group: str
    source: str = ""


@dataclass(frozen=True)
class Found:
    """The pictures to be split: how messages show them, the hash of each usable one, and the file that lists them."""

    shown: Mapping[str, str]
    digests: Mapping[str, str]
    listed_in: str
    refused: frozenset[str] = frozenset()  # names that the file lists, but whose entries are faults already


def listed_splits(path: Path, found: Found, log: FaultLog, *, check_groups: bool = True) -> dict[str, Row]:
    """The row of each usable picture as the CSV at ``path`` says, less those that a held-out picture forbids.

    Of a group in two splits (unless ``check_groups`` is off) and of identical files in two splits, those in the split
    held out furthest stay: test before val before train. Every other one is a fault.
    """
    listed = read_splits(path, log)
    if log.fatal or not _matches(path, listed, found, log):
        return {}
    rows = {name: listed[name] for name in found.digests if name in listed}
    if check_groups:
        for group, names, keeper in _crossings(rows, {name: row.group for name, row in rows.items()}):
            _report_group(path, group, names, keeper, rows, found, log)
            rows = {name: row for name, row in rows.items() if name not in names}
    for _, names, keeper in _crossings(rows, {name: found.digests[name] for name in rows}):
        for name in names:
            log.add(
                found.shown[name],
                f"is in {rows[name].split}, but the same picture is in {rows[keeper].split} as {keeper}; "
                "keep a picture in one split",
            )
        rows = {name: row for name, row in rows.items() if name not in names}
    return rows


def drawn_splits(found: Found, seed: int, val_fraction: float, log: FaultLog) -> dict[str, Row]:
    """Draw train and val by ``seed``; identical files stay together; fewer than two pictures are a fatal fault.

    A picture's place depends on the seed and its own name alone, so that a new one moves hardly any other.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name, digest in found.digests.items():
        members[digest].append(name)
    groups = {names[0]: names for names in members.values()}
    if len(groups) < 2:
        log.add_fatal(found.listed_in, f"train and val need a picture each, {len(groups)} can be used; add pictures")
        return {}
    order = sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    wanted = max(1, round(val_fraction * len(found.digests)))
    rows: dict[str, Row] = {}
    held_out = 0
    for position, group in enumerate(order):
        to_val = held_out < wanted and position < len(order) - 1  # the last one always trains
        held_out += len(groups[group]) if to_val else 0
        rows.update({name: Row("val" if to_val else "train", group) for name in groups[group]})
    return rows


def read_splits(path: Path, log: FaultLog) -> dict[str, Row]:
    """Rows of a CSV with the columns image, split and perhaps group and source (UTF-8, any order, more are ignored).

    A picture without a group is its own group. What is wrong goes to ``log``; an unreadable file is fatal.
    """
    file = shown(path)
    rows: dict[str, Row] = {}
    first: dict[str, int] = {}
    reader = csv.reader(io.StringIO(_read_text(path, file, log), newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if not {"image", "split"} <= set(header):
            if not log.fatal:
                found = ", ".join(header) or "none"
                log.add_fatal(file, f"expected a header with the columns image and split, found {found}")
            return {}
        for cells in filter(None, reader):
            image, row, fault = _parse_row(header, cells)
            if not fault and image in rows:
                before = rows[image].split
                again = "twice" if before == row.split else f"in two splits, {before} and {row.split}"
                fault = f"{image} is listed {again} (first on line {first[image]}); keep one row"
            if fault:
                log.add(file, f"line {reader.line_num}: {fault}")
            else:
                rows[image], first[image] = row, reader.line_num
    except csv.Error as error:
        log.add_fatal(file, f"line {reader.line_num}: is not CSV ({error})")
    return rows


def _read_text(path: Path, file: str, log: FaultLog) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        log.add_fatal(file, "no such file; data.splits names a CSV with the columns image and split")
    except UnicodeDecodeError:
        log.add_fatal(file, "is not UTF-8 text; save it as 'CSV UTF-8'")
    except OSError as error:
        log.add_fatal(file, f"cannot be read ({error.strerror})")
    return ""


def _parse_row(header: list[str], cells: list[str]) -> tuple[str, Row, str]:
    """The picture, its row, and what is wrong (then the other two mean nothing)."""
    if len(cells) != len(header):
        return "", Row("", ""), f"expected {len(header)} cells as in the header, found {len(cells)}"
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    image, split = str(PurePosixPath(values["image"])), values["split"]
    fault = ""
    if not values["image"]:
        fault = "the image cell is empty"
    elif split not in SPLITS:
        fault = f"split {split!r} of {image}: expected {', '.join(SPLITS)}{suggest(split, SPLITS)}"
    return image, Row(split, values.get("group") or image, values.get("source", "")), fault


def _matches(path: Path, listed: Mapping[str, Row], found: Found, log: FaultLog) -> bool:
    """Every picture has a row and every row a picture; no match at all is one fatal fault."""
    file, known = shown(path), found.shown.keys() | found.refused
    if known.isdisjoint(listed):
        examples = f" ({min(listed)!r} here, {min(known)!r} there)" if listed and known else ""
        log.add_fatal(file, f"none of its {len(listed)} pictures is in {found.listed_in}{examples}")
        return False
    strange = sorted(listed.keys() - known)
    for name in strange:
        hint = suggest(name, known) if len(strange) <= SUGGESTIONS else ""
        log.add(file, f"{name} is not in {found.listed_in}{hint}")
    for name in sorted(found.shown.keys() - listed.keys()):
        log.add(file, f"{name} of {found.listed_in} is missing; give it a row")
    return True


def _crossings(rows: Mapping[str, Row], keys: Mapping[str, str]) -> Iterator[tuple[str, set[str], str]]:
    """Each key in more than one split: (key, pictures to leave out, a picture of the split that keeps it)."""
    members: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        members[key].append(name)
    for key, names in members.items():
        keeper = max(names, key=lambda name: SPLITS.index(rows[name].split))
        leaving = {name for name in names if rows[name].split != rows[keeper].split}
        if leaving:
            yield key, leaving, keeper


def _report_group(
    path: Path, group: str, names: set[str], keeper: str, rows: Mapping[str, Row], found: Found, log: FaultLog
) -> None:
    """One fault for the group; where pictures are left out for it, one for each of them."""
    held = f"{rows[keeper].split} ({keeper})"
    if log.skipping:
        for name in sorted(names):
            log.add(found.shown[name], f"is in {rows[name].split}, but its group {group!r} is also in {held}")
        return
    example = min(names)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    log.add(
        shown(path),
        f"group {group!r} is in {held} and in {rows[example].split} ({example}{more}); "
        "keep a group in one split, or set data.check_groups: false",
    )
