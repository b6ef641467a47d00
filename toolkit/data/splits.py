"""Who trains and who is held out: as a CSV or the data says, or drawn by seed, and never a group or picture in two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.data.csv_file import read_csv
from toolkit.data.draw_splits import draw_held_out
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import SPLITS
from toolkit.errors import suggest

# difflib takes milliseconds a name: suggestions are for a slip or two, not for another data set's file.
SUGGESTIONS = 20


@dataclass(frozen=True)
class Row:
    """Where one picture belongs; ``group`` and ``source`` are "" where nothing is said."""

    split: str
    group: str = ""
    source: str = ""


@dataclass(frozen=True)
class Found:
    """``listing`` as the labels say; of each usable picture the file's hash (``digests``), and what a drawn split is
    balanced by (``strata``, the class; "" where not told).
    """

    listing: Listing[Any]
    digests: Mapping[str, str]
    strata: Mapping[str, str]

    @cached_property
    def entries(self) -> dict[str, Entry[Any]]:
        return {entry.name: entry for entry in self.listing.entries}

    @cached_property
    def told(self) -> set[str]:
        """The splits that the data itself speaks of."""
        return {entry.split for entry in self.listing.entries if not entry.pinned} - {""}


def assign_splits(found: Found, settings: Settings, log: FaultLog) -> dict[str, Row]:
    """The row of each usable picture, less those that a held-out picture forbids; each row has a group.

    A split file goes before what the data says; without both, or without a word about val, train and val are drawn.
    What ``hold_out`` names is in test before all that, so that nothing is drawn of it.
    """
    entries = found.entries
    if settings.whole:
        listed = {} if settings.splits is None else _listed(settings.splits, found, log)
        told = {name: listed.get(name) or Row(entries[name].split or "train") for name in found.digests}
        return {name: _filled(row, entries[name]) for name, row in told.items()}
    if settings.splits is not None:
        rows = _listed(settings.splits, found, log)
    else:
        rows = {name: Row(entry.split) for name, entry in entries.items() if entry.split}
    rows |= {name: Row(entry.split) for name, entry in entries.items() if entry.pinned}
    held = _held_out(rows, found, settings, log)
    rows |= held
    rows = {name: _filled(rows[name], entries[name]) for name in found.digests if name in rows}
    if settings.splits is None and "val" not in found.told:
        rows |= _drawn(found, settings, log, held)
    return _without_crossings(rows, found, settings, log)


def read_splits(path: Path, log: FaultLog) -> dict[str, Row]:
    """Rows of a CSV with the columns image, split and perhaps group and source (any order, more are ignored).

    What is wrong goes to ``log``; an unreadable file is fatal.
    """
    rows: dict[str, Row] = {}
    first: dict[str, int] = {}
    purpose = "data.splits names a CSV with the columns image and split"
    for line, cells in read_csv(path, ("image", "split"), purpose, log):
        image, split = str(PurePosixPath(cells["image"])), cells["split"]
        fault = "" if cells["image"] else "the image cell is empty"
        fault = fault or split_fault(split, image)
        if not fault and image in rows:
            before = rows[image].split
            again = "twice" if before == split else f"in two splits, {before} and {split}"
            fault = f"{image} is listed {again} (first on line {first[image]}); keep one row"
        if fault:
            log.add(shown(path), f"line {line}: {fault}")
        else:
            rows[image], first[image] = Row(split, cells.get("group", ""), cells.get("source", "")), line
    return rows


def split_fault(split: str, image: str) -> str:
    """What is wrong with the word that names a split; "" if nothing."""
    if split in SPLITS:
        return ""
    return f"split {split!r} of {image}: expected {', '.join(SPLITS)}{suggest(split, SPLITS)}"


def _filled(row: Row, entry: Entry[Any]) -> Row:
    """What the split file leaves open is what the data says; a picture without a group is its own."""
    return replace(row, group=row.group or entry.group or entry.name, source=row.source or entry.source)


def _listed(path: Path, found: Found, log: FaultLog) -> dict[str, Row]:
    """The rows of the CSV; every picture that is not pinned must have one, and every row a picture."""
    rows = read_splits(path, log)
    if log.fatal:
        return {}
    file, listed_in = shown(path), found.listing.shown
    asked = {name for name, entry in found.entries.items() if not entry.pinned}
    known = asked | found.listing.refused
    if known.isdisjoint(rows):
        examples = f" ({min(rows)!r} here, {min(known)!r} there)" if rows and known else ""
        log.add_fatal(file, f"none of its {len(rows)} pictures is in {listed_in}{examples}")
        return {}
    strange = sorted(rows.keys() - known)
    for name in strange:
        hint = suggest(name, known) if len(strange) <= SUGGESTIONS else ""
        log.add(file, f"{name} is not in {listed_in}{hint}")
    for name in sorted(asked - rows.keys()):
        log.add(file, f"{name} of {listed_in} is missing; give it a row")
    return {name: row for name, row in rows.items() if name in asked}


def _held_out(rows: Mapping[str, Row], found: Found, settings: Settings, log: FaultLog) -> dict[str, Row]:
    """A row in test for every usable picture whose source or group ``hold_out`` names."""
    entries, used, held = found.entries, set[str](), dict[str, Row]()
    names = set[str]()
    for name in found.digests:
        row = _filled(rows.get(name, Row("")), entries[name])
        told = {row.source, row.group}
        names |= told - {"", name}
        if asked := told.intersection(settings.hold_out):
            used |= asked
            held[name] = replace(row, split="test")
    for name in sorted(set(settings.hold_out) - used):
        log.add_fatal(
            found.listing.shown,
            f"no usable picture is of the source or group {name!r} of data.hold_out{suggest(name, names)}",
        )
    return held


def _drawn(found: Found, settings: Settings, log: FaultLog, held: Collection[str]) -> dict[str, Row]:
    """Train and val for every picture that the data puts nowhere, or into train where it speaks of test alone; those
    that are ``held`` out already are passed over.
    """
    entries = found.entries
    open_split = "train" if found.told else ""
    usable = [name for name in found.digests if name not in held]
    pinned = [name for name in usable if entries[name].pinned]
    names = [name for name in usable if entries[name].split == open_split and not entries[name].pinned]
    groups = {name: entries[name].group for name in (*names, *pinned)}
    drawn = draw_held_out(
        names, groups, found.digests, found.strata,
        seed=settings.seed, fraction=settings.val_fraction, training=pinned,
    )  # fmt: skip
    clusters = len(set(drawn.cluster_of.values()))
    if clusters < 2:
        log.add_fatal(found.listing.shown, f"train and val need a picture each, {clusters} can be used; add pictures")
        return {}
    rows = {name: Row("val" if name in drawn.held_out else "train", groups[name]) for name in names}
    return {
        name: _filled(row if row.group else replace(row, group=drawn.cluster_of[name]), entries[name])
        for name, row in rows.items()
    }


def _without_crossings(rows: dict[str, Row], found: Found, settings: Settings, log: FaultLog) -> dict[str, Row]:
    """Of a group in two splits (unless that check is off), and of identical files in two splits, those in the split
    held out furthest stay: test before val before train. Every other one is a fault.
    """
    entries = found.entries
    file = found.listing.shown if settings.splits is None else shown(settings.splits)
    if settings.check_groups:
        for group, names, keeper in _crossings(rows, {name: row.group for name, row in rows.items()}):
            _report_group(file, group, names, keeper, rows, entries, log)
            rows = {name: row for name, row in rows.items() if name not in names}
    for _, names, keeper in _crossings(rows, {name: found.digests[name] for name in rows}):
        for name in sorted(names):
            log.add(
                entries[name].shown,
                f"is in {rows[name].split}, but the same picture is in {rows[keeper].split} as {keeper}; "
                "keep a picture in one split",
            )
        rows = {name: row for name, row in rows.items() if name not in names}
    return rows


def _crossings(rows: Mapping[str, Row], keys: Mapping[str, str]) -> Iterator[tuple[str, set[str], str]]:
    """Key, the pictures to leave out, and one that stays, for each key that stands in more than one split."""
    members: dict[str, list[str]] = defaultdict(list)
    for name, key in keys.items():
        members[key].append(name)
    for key, names in members.items():
        keeper = max(names, key=lambda name: SPLITS.index(rows[name].split))
        leaving = {name for name in names if rows[name].split != rows[keeper].split}
        if leaving:
            yield key, leaving, keeper


def _report_group(
    file: str,
    group: str,
    names: set[str],
    keeper: str,
    rows: Mapping[str, Row],
    entries: Mapping[str, Entry[Any]],
    log: FaultLog,
) -> None:
    """One fault for the group; where pictures are left out for it, one for each of them."""
    held = f"{rows[keeper].split} ({keeper})"
    if log.skipping:
        for name in sorted(names):
            log.add(entries[name].shown, f"is in {rows[name].split}, but its group {group!r} is also in {held}")
        return
    example = min(names)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    log.add(
        file,
        f"group {group!r} is in {held} and in {rows[example].split} ({example}{more}); "
        "keep a group in one split, or set data.check_groups: false",
    )
