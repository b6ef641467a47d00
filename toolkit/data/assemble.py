"""From what the labels list to the checked table, the same way for every format: scan, split, build, usable or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Entry, Labels, Listing, Settings
from toolkit.data.scan import Scanned, in_threads, scan_picture
from toolkit.data.splits import Found, assign_splits
from toolkit.data.table import Sample, Table
from toolkit.errors import Fault, suggest

Kind = TypeVar("Kind", bound=Sample)
# The labels' fields of the sample (None: the picture cannot be used) and what is wrong with them. Called in threads.
Measure: TypeAlias = Callable[[Entry[Labels], tuple[int, int]], tuple[dict[str, Any] | None, list[Fault]]]
Looked: TypeAlias = tuple[Scanned, dict[str, Any] | None, list[Fault]]


def assemble(
    listing: Listing[Labels],
    class_names: Sequence[str],
    kind: Callable[..., Kind],
    measure: Measure[Labels],
    settings: Settings,
    log: FaultLog,
    *,
    stratum: Callable[[Entry[Labels]], str] = lambda entry: "",
    needed: Mapping[str, str] | None = None,
) -> Table[Kind]:
    """Look at every picture and its labels, split them and build the samples. Raises ``DataFaults``, see `load_table`.

    ``measure`` turns a picture's labels into the fields of ``kind``, given its (height, width). ``stratum`` is what a
    drawn split is balanced by. ``needed`` are the classes that train must show, each with what to do where it does
    not; all of them by default.
    """
    if not listing.entries and not log.fatal:
        log.add_fatal(listing.shown, "no picture of it can be used")
    if not listing.entries:
        log.settle()
    kept = _look_at_all(listing, measure, settings, log)
    digests = {name: scanned.digest for name, (_, scanned, _) in kept.items()}
    strata = {name: stratum(entry) for name, (entry, _, _) in kept.items()}
    rows = assign_splits(Found(listing, digests, strata), settings, log)
    samples = tuple(
        kind(
            path=entry.path,
            name=name,
            size=scanned.size,
            digest=scanned.digest,
            split=rows[name].split,
            group=rows[name].group,
            source=rows[name].source,
            pinned=entry.pinned,
            **fields,
        )
        for name, (entry, scanned, fields) in kept.items()
        if name in rows
    )
    table = Table(tuple(class_names), samples)
    if not settings.whole:
        _check_usable(table, listing.shown, needed, log)
    return Table(table.class_names, samples, log.settle())


def choose_classes(
    known: Iterable[str],
    used: Iterable[str],
    wanted: Sequence[str] | None,
    file: str,
    log: FaultLog,
    *,
    word: str = "class",
    things: str = "boxes",
) -> tuple[str, ...]:
    """The class names in the order of their ids: ``wanted``, matched by name, or all that are ``known``.

    A wanted name that is not known, one twice, and one that is ``used`` and not wanted are fatal faults of ``file``.
    """
    known = list(known)
    names = tuple(known if wanted is None else wanted)
    unknown = [name for name in names if name not in known]
    for name in unknown:
        has = ", ".join(known) or "none"
        log.add_fatal(file, f"has no {word} {name!r} of data.classes{suggest(name, known)} (it has {has})")
    for name in sorted({name for name in names if names.count(name) > 1}):
        log.add_fatal(file, f"data.classes lists {name!r} twice")
    used = set(used)
    for name in [] if unknown else [name for name in known if name not in names and name in used]:
        log.add_fatal(
            file, f"{word} {name!r} has {things} but is not in data.classes; add it there, or remove its {things}"
        )
    return names


def _look_at_all(
    listing: Listing[Labels], measure: Measure[Labels], settings: Settings, log: FaultLog
) -> dict[str, tuple[Entry[Labels], Scanned, dict[str, Any]]]:
    """The pictures that can be decoded, have the size that the labels say, and have usable labels, by name."""

    def look(entry: Entry[Labels]) -> Looked:
        scanned = scan_picture(entry.path)
        message = scanned.fault or _size_fault(entry, scanned.size)
        if message:
            return scanned, None, [Fault(entry.shown, message)]
        return scanned, *measure(entry, scanned.size)

    kept = {}
    looked = in_threads(look, listing.entries, "checking pictures", settings.progress)
    for entry, (scanned, fields, faults) in zip(listing.entries, looked, strict=True):
        for fault in faults:
            log.add(fault.file, fault.message)
        if fields is not None:
            kept[entry.name] = (entry, scanned, fields)
    return kept


def _size_fault(entry: Entry[Any], size: tuple[int, int]) -> str:
    height, width = size
    if entry.size is None or entry.size == size:
        return ""
    told = f"is {width}x{height}, but the annotations say {entry.size[1]}x{entry.size[0]}"
    if entry.size == (width, height):
        return f"{told}; it was annotated before its EXIF orientation turned it, or the two numbers are swapped"
    return f"{told}; its labels belong to another version of the picture"


def _check_usable(table: Table[Any], file: str, needed: Mapping[str, str] | None, log: FaultLog) -> None:
    """Something to train on and to validate with, and each class in train: no use in going on without."""
    if log.fatal:
        return  # what follows would only be its echo
    splits = {sample.split for sample in table.samples}
    missing = [split for split in ("train", "val") if split not in splits]
    for split in missing:
        log.add_fatal(file, f"no usable picture is in split {split}")
    if missing:
        return
    remedy = dict.fromkeys(table.class_names, "add some, or list data.classes without it") if needed is None else needed
    unit = {"boxes": "box", "pictures": "picture", "pixels": "pixel"}[table.unit]
    for name, per_split in table.counts().items():
        if per_split["train"] == 0 and name in remedy:
            log.add_fatal(file, f"class {name!r} has no {unit} in train; {remedy[name]}")
