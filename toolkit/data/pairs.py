"""Lists the formats that keep a folder of pictures and a folder with one label file of the same name for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic

from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.files import names_in, pictures_in, split_by_folder
from toolkit.data.listing import Entry, Labels, Listing, Settings


@dataclass(frozen=True)
class LabelFiles(Generic[Labels]):
    """How a format keeps its label files: under ``folder``, the value of ``data.<key>``, with this ``suffix``.

    ``parse`` takes a file and how messages call it, and returns its labels and the picture's (height, width) or None;
    or None after it logged what is wrong. ``without`` are the labels of a picture without a file, None makes that a
    fault, which ``hint`` ends. ``passed_over`` are names of files that lie there and belong to no picture.
    """

    folder: Path
    key: str
    suffix: str
    parse: Callable[[Path, str], tuple[Labels, tuple[int, int] | None] | None]
    without: Labels | None = None
    hint: str = ""
    passed_over: frozenset[str] = frozenset()


def paired_listing(images: Path, files: LabelFiles[Labels], settings: Settings, log: FaultLog) -> Listing[Labels]:
    """Every picture under ``images`` with its labels; names and the splits by folder are relative to it.

    Two pictures that would take the same label file, a label file without a picture, and no picture or no label file
    at all are faults.
    """
    pictures, folder = shown(images), shown(files.folder)
    listing: Listing[Labels] = Listing(shown=pictures)
    names = pictures_in(images, "images", log)
    labels = _label_names(files, log)
    if not (names and labels):
        return listing  # a fatal fault, of which everything else would be an echo
    file_of, listing.refused = _pair(names, pictures, labels, files, log)
    splits = {} if settings.splits else split_by_folder(names, images, log)
    for name, file in file_of.items():
        told_in = f"{folder}/{file}"
        parsed = files.parse(files.folder / file, told_in) if file else _without(files)
        if not file and parsed is None:
            log.add(
                f"{pictures}/{name}", f"has no label file; expected {folder}/{_stem(name)}{files.suffix}{files.hint}"
            )
        if parsed is None:
            listing.refused.add(name)
            continue
        told, size = parsed
        listing.entries.append(
            Entry(
                name=name,
                path=images / name,
                shown=f"{pictures}/{name}",
                labels=told,
                told_in=told_in,
                size=size,
                split=splits.get(name, ""),
            )
        )
    return listing


def _label_names(files: LabelFiles[Labels], log: FaultLog) -> list[str]:
    """Every label file under the folder; none, or no folder, is fatal."""
    folder, suffix = files.folder, files.suffix
    if not folder.is_dir():
        log.add_fatal(shown(folder), f"no such folder; data.{files.key} names the folder of the {suffix} files")
        return []
    names = [name for name in names_in(folder) if PurePosixPath(name).suffix.lower() == suffix]
    if not names:
        log.add_fatal(shown(folder), f"holds no {suffix} file; is data.{files.key} right?")
    return names


def _without(files: LabelFiles[Labels]) -> tuple[Labels, None] | None:
    return None if files.without is None else (files.without, None)


def _pair(
    pictures: Sequence[str], images: str, label_names: Sequence[str], files: LabelFiles[Any], log: FaultLog
) -> tuple[dict[str, str], set[str]]:
    """The label file of each picture ("" where there is none), and the pictures that cannot be paired."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        by_stem[_stem(name)].append(name)
    labels = {_stem(name): name for name in label_names}
    lone = [name for stem, name in labels.items() if stem not in by_stem]
    for name in [name for name in lone if PurePosixPath(name).name not in files.passed_over]:
        log.add(f"{shown(files.folder)}/{name}", f"has no picture of its name in {images}; add it, or remove this file")
    clashing = {name for names in by_stem.values() if len(names) > 1 for name in names}
    for name in sorted(clashing):
        others = ", ".join(other for other in by_stem[_stem(name)] if other != name)
        log.add(f"{images}/{name}", f"has the name of {others} up to the suffix, and would share its labels; rename it")
    return {names[0]: labels.get(stem, "") for stem, names in by_stem.items() if len(names) == 1}, clashing


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
