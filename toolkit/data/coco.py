"""Reads a COCO detection set (images, annotations, categories in one JSON file) into the table, checking all of it.

Masks and keypoints in the file are ignored. What is wrong in the JSON file's own structure is found by `coco_file`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from toolkit.data.coco_file import Annotation, CocoFile, Picture, read_coco_file
from toolkit.data.fault_log import FaultLog
from toolkit.data.scan import Scanned, scan_pictures
from toolkit.data.splits import Found, Row, drawn_splits, listed_splits
from toolkit.data.table import Progress, Sample, Table
from toolkit.errors import suggest

# Annotation tools round outwards: a box may leave the picture by this much and is clipped. Further out is a fault.
CLIP_TOLERANCE = 1.0

Box: TypeAlias = tuple[float, float, float, float]


def read(config: Any, seed: int, progress: Progress | None = None) -> Table:
    """Read and check a ``data`` block of format coco.

    Boxes that leave the picture by at most 1 pixel are clipped. Class ids follow ``data.classes`` (names, in that
    order) or, without it, all categories by their id. Raises ``DataFaults``, see ``load_table``.
    """
    root = Path(config.root)
    return read_coco(
        root / config.annotations,
        root / config.images,
        splits=None if config.splits is None else Path(config.splits),
        classes=config.classes,
        val_fraction=config.val_fraction,
        check_groups=config.check_groups,
        seed=seed,
        on_fault=config.on_fault,
        progress=progress,
    )


def read_coco(
    annotations: Path,
    images: Path,
    *,
    splits: Path | None = None,
    classes: Sequence[str] | None = None,
    val_fraction: float = 0.1,
    check_groups: bool = True,
    seed: int = 0,
    on_fault: str = "stop",
    progress: Progress | None = None,
) -> Table:
    """``read`` with plain arguments, for other formats that are COCO on disk."""
    log = FaultLog(on_fault)
    file = read_coco_file(annotations, images, log)
    if not file.pictures:
        log.settle()
    names, class_of = choose_classes(file, classes, log)
    kept = _scan(file, progress, log)
    found = Found(
        shown={picture.name: picture.shown for picture in file.pictures},
        digests={name: scanned.digest for name, (_, scanned) in kept.items()},
        listed_in=file.shown,
        refused=frozenset(file.refused),
    )
    if splits is None:
        rows = drawn_splits(found, seed, val_fraction, log)
    else:
        rows = listed_splits(splits, found, log, check_groups=check_groups)
    boxes = _boxes_by_picture(file.annotations, class_of)
    samples = [_sample(*kept[name], rows.get(name), boxes.get(kept[name][0].id, []), log) for name in kept]
    table = Table(names, tuple(sample for sample in samples if sample is not None))
    _check_usable(table, file, log)
    return Table(names, table.samples, log.settle())


def _scan(file: CocoFile, progress: Progress | None, log: FaultLog) -> dict[str, tuple[Picture, Scanned]]:
    """The pictures that can be decoded and have the size that the file says, by name."""
    kept = {}
    for picture, scanned in zip(
        file.pictures, scan_pictures([picture.path for picture in file.pictures], progress), strict=True
    ):
        message = scanned.fault or _size_fault(picture, scanned)
        if message:
            log.add(picture.shown, message)
        else:
            kept[picture.name] = (picture, scanned)
    return kept


def choose_classes(
    file: CocoFile, wanted: Sequence[str] | None, log: FaultLog
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Class names in order, and the class id for each category id; always by name, never by position."""
    ids = {name: category_id for category_id, name in sorted(file.categories.items())}
    names = tuple(ids) if wanted is None else tuple(wanted)
    unknown = [name for name in names if name not in ids]
    for name in unknown:
        known = ", ".join(ids) or "none"
        log.add_fatal(file.shown, f"has no category {name!r} of data.classes{suggest(name, ids)} (it has {known})")
    for name in sorted({name for name in names if names.count(name) > 1}):
        log.add_fatal(file.shown, f"data.classes lists {name!r} twice")
    used = {annotation.category_id for annotation in file.annotations}
    for name in [] if unknown else [name for name in ids if name not in names and ids[name] in used]:
        log.add_fatal(
            file.shown, f"category {name!r} has boxes but is not in data.classes; add it there, or remove its boxes"
        )
    return names, {ids[name]: class_id for class_id, name in enumerate(names) if name in ids}


def _size_fault(picture: Picture, scanned: Scanned) -> str:
    height, width = scanned.size
    if picture.size is None or picture.size == scanned.size:
        return ""
    told = f"is {width}x{height}, but the annotations say {picture.size[1]}x{picture.size[0]}"
    if picture.size == (width, height):
        return f"{told}; it was annotated before its EXIF orientation turned it, or the two numbers are swapped"
    return f"{told}; its boxes belong to another version of the picture"


def _boxes_by_picture(
    annotations: Iterable[Annotation], class_of: Mapping[int, int]
) -> dict[int, list[tuple[Annotation, int]]]:
    boxes: dict[int, list[tuple[Annotation, int]]] = defaultdict(list)
    for annotation in annotations:
        if annotation.category_id in class_of:  # else a fault already
            boxes[annotation.image_id].append((annotation, class_of[annotation.category_id]))
    return boxes


def _sample(
    picture: Picture, scanned: Scanned, row: Row | None, boxes: Sequence[tuple[Annotation, int]], log: FaultLog
) -> Sample | None:
    """The sample with its sound boxes; None without a row, its boxes are checked nevertheless."""
    kept = [(_clip(annotation, scanned.size, picture, log), annotation, class_id) for annotation, class_id in boxes]
    sound = [(box, annotation, class_id) for box, annotation, class_id in kept if box is not None]
    if row is None:
        return None
    areas = [
        (box[2] - box[0]) * (box[3] - box[1]) if annotation.area is None else annotation.area
        for box, annotation, _ in sound
    ]
    return Sample(
        path=picture.path,
        name=picture.name,
        size=scanned.size,
        boxes=np.array([box for box, _, _ in sound], np.float32).reshape(-1, 4),
        class_ids=np.array([class_id for _, _, class_id in sound], np.int64),
        crowd=np.array([annotation.crowd for _, annotation, _ in sound], np.bool_),
        areas=np.array(areas, np.float64),
        split=row.split,
        group=row.group,
        source=row.source or picture.source,
    )


def _clip(annotation: Annotation, size: tuple[int, int], picture: Picture, log: FaultLog) -> Box | None:
    """Corners of the box inside the picture, or None and a fault."""
    height, width = size
    x, y, w, h = annotation.bbox
    box = (max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height)))
    outside = max(-x, -y, x + w - width, y + h - height)
    if outside <= CLIP_TOLERANCE and box[2] > box[0] and box[3] > box[1]:
        return box
    log.add(
        picture.shown,
        f"annotation {annotation.id}: the box {list(annotation.bbox)} (x, y, width, height) reaches "
        f"{outside:g} px outside the {width}x{height} picture",
    )
    return None


def _check_usable(table: Table, file: CocoFile, log: FaultLog) -> None:
    """Something to train on and to validate with, and a box of each class: no use in going on without."""
    if log.fatal:
        return  # what follows would only be its echo
    splits = {sample.split for sample in table.samples}
    missing = [split for split in ("train", "val") if split not in splits]
    for split in missing:
        log.add_fatal(file.shown, f"no usable picture is in split {split}")
    if missing:
        return
    for name, per_split in table.counts().items():
        if per_split["train"] == 0:
            log.add_fatal(file.shown, f"class {name!r} has no box in train; add some, or list data.classes without it")
