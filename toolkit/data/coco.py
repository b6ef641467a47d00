"""Reads a COCO detection set (images, annotations, categories in one JSON file) into the table, checking all of it.

Masks and keypoints in the file are ignored. What is wrong in the JSON file's own structure is found by `coco_file`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.data.boxes import Box, box_table
from toolkit.data.coco_file import Annotation, CocoFile, first_pictures, read_coco_file
from toolkit.data.fault_log import FaultLog
from toolkit.data.files import visible
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import BoxSample, Progress, Table

# Of a folder that nobody described: so many JSON files are looked into, and for so many pictures of each.
MOST_FILES, LOOKED_AT = 50, 10


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[BoxSample]:
    """Read and check a ``data`` block of format coco.

    Boxes that leave the picture by at most 1 pixel are clipped. Class ids follow ``data.classes`` (names, in that
    order) or, without it, all categories by their id. The pictures of the files of ``data.extra`` train whatever a
    split says, and are named from ``data.images`` too; categories are matched by name. Raises ``DataFaults``, see
    ``load_table``.
    """
    root = Path(config.root)
    settings = Settings.of(config, seed, progress)
    return read_coco(root / config.annotations, root / config.images, settings, [(Path(p), root) for p in config.extra])


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The COCO files of a folder, each with the folder that its pictures lie in (see `toolkit.data.recognise`)."""
    found = []
    for path in sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])[:MOST_FILES]:
        pictures = first_pictures(path, LOOKED_AT)
        if pictures:
            folders = [root / "images", root, *(folder for folder in visible(root) if folder.is_dir())]
            holding = (folder for folder in folders if all((folder / name).is_file() for name in pictures))
            images = next(holding, root / "images")
            found.append(
                {"annotations": path.relative_to(root).as_posix(), "images": images.relative_to(root).as_posix()}
            )
    default = [keys for keys in found if keys["annotations"] == "annotations.json"]
    return default or found


def read_coco(
    annotations: Path, images: Path, settings: Settings, extra: Sequence[tuple[Path, Path]] = ()
) -> Table[BoxSample]:
    """``read`` with plain arguments: ``extra`` are annotation files, each with the folder of its pictures."""
    log = FaultLog(settings.on_fault)
    file = read_coco_file(annotations, images, log)
    if not file.pictures:
        log.settle()  # what follows would only be its echo
    listing = Listing(shown=file.shown, entries=_entries(file), refused=file.refused)
    categories = [name for _, name in sorted(file.categories.items())]
    own = {os.path.abspath(entry.path): file.shown for entry in listing.entries}
    for path, folder in extra:
        more = read_coco_file(path, folder, log, extra=True)
        for entry in _entries(more):
            place = os.path.abspath(entry.path)
            if place in own:
                log.add(more.shown, f"lists {entry.shown}, which {own[place]} lists already; remove one of the two")
                continue
            own[place] = more.shown
            name = Path(os.path.relpath(place, images)).as_posix()
            listing.entries.append(replace(entry, name=name, split="train", pinned=True))
        categories += [name for _, name in sorted(more.categories.items()) if name not in categories]
    return box_table(listing, categories, settings, log, word="category")


def _entries(file: CocoFile) -> list[Entry[Sequence[Box]]]:
    boxes: dict[int, list[Box]] = defaultdict(list)
    for annotation in file.annotations:
        boxes[annotation.image_id].append(_box(annotation, file.categories[annotation.category_id]))
    return [
        Entry(
            name=picture.name,
            path=picture.path,
            shown=picture.shown,
            labels=boxes[picture.id],
            told_in=picture.shown,
            size=picture.size,
            source=picture.source,
        )
        for picture in file.pictures
    ]


def _box(annotation: Annotation, class_name: str) -> Box:
    x, y, width, height = annotation.bbox
    return Box(
        told=f"annotation {annotation.id}: the box {list(annotation.bbox)} (x, y, width, height)",
        corners=(x, y, x + width, y + height),
        class_name=class_name,
        crowd=annotation.crowd,
        area=annotation.area,
    )
