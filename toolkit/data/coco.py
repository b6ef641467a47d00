"""Reads a COCO detection set (images, annotations, categories in one JSON file) into the table, checking all of it.

Masks and keypoints in the file are ignored. What is wrong in the JSON file's own structure is found by `coco_file`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.data.boxes import Box, box_table
from toolkit.data.coco_file import Annotation, CocoFile, read_coco_file
from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import BoxSample, Progress, Table


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[BoxSample]:
    """Read and check a ``data`` block of format coco.

    Boxes that leave the picture by at most 1 pixel are clipped. Class ids follow ``data.classes`` (names, in that
    order) or, without it, all categories by their id. Raises ``DataFaults``, see ``load_table``.
    """
    root = Path(config.root)
    return read_coco(root / config.annotations, root / config.images, Settings.of(config, seed, progress))


def read_coco(annotations: Path, images: Path, settings: Settings) -> Table[BoxSample]:
    """``read`` with plain arguments, for other formats that are COCO on disk."""
    log = FaultLog(settings.on_fault)
    file = read_coco_file(annotations, images, log)
    if not file.pictures:
        log.settle()  # what follows would only be its echo
    categories = [name for _, name in sorted(file.categories.items())]
    return box_table(_listing(file), categories, settings, log, word="category")


def _listing(file: CocoFile) -> Listing[Sequence[Box]]:
    boxes: dict[int, list[Box]] = defaultdict(list)
    for annotation in file.annotations:
        boxes[annotation.image_id].append(_box(annotation, file.categories[annotation.category_id]))
    entries: list[Entry[Sequence[Box]]] = [
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
    return Listing(shown=file.shown, entries=entries, refused=file.refused)


def _box(annotation: Annotation, class_name: str) -> Box:
    x, y, width, height = annotation.bbox
    return Box(
        told=f"annotation {annotation.id}: the box {list(annotation.bbox)} (x, y, width, height)",
        corners=(x, y, x + width, y + height),
        class_name=class_name,
        crowd=annotation.crowd,
        area=annotation.area,
    )
