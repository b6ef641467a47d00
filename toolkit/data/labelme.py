"""Reads a folder of LabelMe annotations (one JSON file a picture), to be converted into a format to train on.

Rectangles and polygons count; circles, lines and points are faults. The picture inside the JSON (``imageData``) is not
read: the file that ``imagePath`` names is. The labels ``__ignore__`` and ``_background_`` are LabelMe's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeGuard

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.data.assemble import assemble
from toolkit.data.boxes import CLIP_TOLERANCE, Box, box_table
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.files import names_in
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.mask_files import NOT_COUNTED
from toolkit.data.table import BoxSample, Progress, Sample, Table
from toolkit.errors import Fault

IGNORE, BACKGROUND = "__ignore__", "_background_"
LEAST_POINTS = {"rectangle": 2, "polygon": 3}


@dataclass(frozen=True)
class Shape:
    """A shape of a file: ``points`` float64 [N,2] (x, y) in pixels, corners of a polygon or of a rectangle's diagonal.
    Shapes of one label and the same ``group_id`` (not None) are one object.
    """

    told: str
    label: str
    points: NDArray[np.float64]
    rectangle: bool
    group_id: int | None

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom"""
        (left, top), (right, bottom) = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        return left, top, right, bottom

    @property
    def outline(self) -> NDArray[np.float64]:
        """float64 [N,2], N at least 3"""
        left, top, right, bottom = self.corners
        around = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return np.array(around) if self.rectangle else self.points

    @property
    def area(self) -> float:
        """Square pixels, by the shoelace formula."""
        x, y = self.outline.T
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class OutlineSample(Sample):
    """A picture whose classes are outlined: ``outlines`` in the order drawn, each with its class id (255: ignored)."""

    outlines: tuple[tuple[Shape, int], ...]
    unit: ClassVar[str] = "outlines"

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        ids = [class_id for _, class_id in self.outlines if class_id != NOT_COUNTED]
        return np.bincount(np.array(ids, np.int64), minlength=classes)

    def label_bytes(self, class_names: Sequence[str]) -> bytes:
        return self.mask().tobytes()

    def mask(self) -> NDArray[np.uint8]:
        """Class ids uint8 [H,W]: what is outlined later lies on top, 0 elsewhere."""
        mask = np.zeros(self.size, np.uint8)
        for shape, class_id in self.outlines:
            mask[ops.polygons_to_mask([shape.outline], self.size) > 0] = class_id
        return mask


def read_boxes(folder: Path, images: Path | None = None, *, progress: Progress | None = None) -> Table[BoxSample]:
    """The boxes of every JSON file under ``folder``: rectangles, and what encloses the polygons of each object.

    ``imagePath`` is relative to its JSON file; with ``images`` only its last part counts, and the picture lies in that
    folder. A sample's name is that last part in the JSON file's folder. Shapes of one label and group_id are one box,
    whose area is the sum of theirs. ``__ignore__`` and ``_background_`` are left out. The classes are the labels in
    alphabetical order; every picture is in train. Raises ``DataFaults`` with everything that is wrong.
    """
    log = FaultLog()
    files = _listing(folder, images, log)
    entries = [_with_boxes(entry) for entry in files.entries]
    listing = Listing(shown=files.shown, entries=entries, refused=files.refused)
    return box_table(listing, _labels(files), Settings(whole=True, progress=progress), log)


def read_polygons(
    folder: Path, images: Path | None = None, *, progress: Progress | None = None
) -> Table[OutlineSample]:
    """The outlines of every JSON file under ``folder``; ``sample.mask()`` draws the class ids of a picture.

    Files, names and splits are as in `read_boxes`. Class 0 is "background" (``_background_``), the others are the
    labels in alphabetical order; ``__ignore__`` becomes 255, which is not counted.
    """
    log = FaultLog()
    files = _listing(folder, images, log)
    names = ("background", *(label for label in _labels(files) if label != "background"))
    ids = {**{name: class_id for class_id, name in enumerate(names)}, BACKGROUND: 0, IGNORE: NOT_COUNTED}

    def measure(entry: Entry[Sequence[Shape]], size: tuple[int, int]) -> tuple[dict[str, Any], list[Fault]]:
        faults = [Fault(entry.told_in, message) for shape in entry.labels if (message := _outside(shape, size))]
        return {"outlines": tuple((shape, ids[shape.label]) for shape in entry.labels)}, faults

    return assemble(files, names, OutlineSample, measure, Settings(whole=True, progress=progress), log)


def _labels(files: Listing[Sequence[Shape]]) -> list[str]:
    return sorted({shape.label for entry in files.entries for shape in entry.labels} - {IGNORE, BACKGROUND})


def _with_boxes(entry: Entry[Sequence[Shape]]) -> Entry[Sequence[Box]]:
    return Entry(
        name=entry.name,
        path=entry.path,
        shown=entry.shown,
        labels=_boxes(entry.labels),
        told_in=entry.told_in,
        size=entry.size,
    )


def _boxes(shapes: Sequence[Shape]) -> list[Box]:
    objects: dict[Any, list[Shape]] = {}
    for number, shape in enumerate(shapes):
        if shape.label not in (IGNORE, BACKGROUND):
            key = number if shape.group_id is None else (shape.label, shape.group_id)
            objects.setdefault(key, []).append(shape)
    return [_box(parts) for parts in objects.values()]


def _box(parts: Sequence[Shape]) -> Box:
    lefts, tops, rights, bottoms = zip(*(part.corners for part in parts), strict=True)
    corners = (min(lefts), min(tops), max(rights), max(bottoms))
    told = f"{parts[0].told}: the box {list(corners)} (left, top, right, bottom)"
    return Box(told, corners, parts[0].label, area=sum(part.area for part in parts))


def _outside(shape: Shape, size: tuple[int, int]) -> str:
    height, width = size
    left, top, right, bottom = shape.corners
    outside = max(-left, -top, right - width, bottom - height)
    if outside <= CLIP_TOLERANCE:
        return ""
    return f"{shape.told}: {shape.label!r} reaches {outside:g} px outside the {width}x{height} picture"


def _listing(folder: Path, images: Path | None, log: FaultLog) -> Listing[Sequence[Shape]]:
    listing: Listing[Sequence[Shape]] = Listing(shown=shown(folder))
    names = [name for name in names_in(folder) if name.lower().endswith(".json")]
    if not names:
        log.add_fatal(listing.shown, "holds no .json file; expected a folder of LabelMe annotations")
    told: dict[str, str] = {}
    for name in names:
        file = f"{listing.shown}/{name}"
        entry = _read_file(folder, name, images, file, log)
        if entry and entry.name in told:
            log.add(file, f"annotates {entry.shown}, as {told[entry.name]} does; keep one of the two")
        elif entry:
            told[entry.name] = file
            listing.entries.append(entry)
    return listing


def _read_file(folder: Path, name: str, images: Path | None, file: str, log: FaultLog) -> Entry[Sequence[Shape]] | None:
    document = _read_json(folder / name, file, log)
    if document is None:
        return None
    image_path = PurePosixPath(document["imagePath"].replace("\\", "/"))  # LabelMe on Windows
    path = (folder / name).parent / image_path if images is None else images / image_path.name
    height, width = document.get("imageHeight"), document.get("imageWidth")
    size: tuple[int, int] | None = None
    if height is not None or width is not None:
        if not (_is_side(height) and _is_side(width)):
            found = f"{height!r} and {width!r}"
            log.add(file, f"expected imageHeight and imageWidth as positive whole numbers, found {found}")
            return None
        size = (height, width)
    return Entry(
        name=(PurePosixPath(name).parent / image_path.name).as_posix(),
        path=path,
        shown=shown(path),
        labels=list(_shapes(document["shapes"], file, log)),
        told_in=file,
        size=size,
    )


def _read_json(path: Path, file: str, log: FaultLog) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        log.add(file, f"cannot be read ({error.strerror})")
    except (ValueError, RecursionError) as error:
        log.add(file, f"is not JSON ({error})")
    else:
        if isinstance(document, dict) and isinstance(document.get("shapes"), list):
            if isinstance(document.get("imagePath"), str) and document["imagePath"]:
                return document
            log.add(file, f"expected an imagePath, found {document.get('imagePath')!r}")
        else:
            log.add(file, "is not a LabelMe file: expected an object with a list under shapes")
    return None


def _shapes(values: Sequence[Any], file: str, log: FaultLog) -> Iterator[Shape]:
    for position, value in enumerate(values):
        fault = _shape_fault(value) if isinstance(value, dict) else f"expected an object, found {value!r:.60}"
        if fault:
            log.add(file, f"shapes[{position}]: {fault}")
            continue
        yield Shape(
            told=f"shapes[{position}]",
            label=value["label"],
            points=np.array(value["points"], np.float64),
            rectangle=value.get("shape_type") == "rectangle",
            group_id=value.get("group_id"),
        )


def _shape_fault(value: Mapping[str, Any]) -> str:
    label, points, kind = value.get("label"), value.get("points"), value.get("shape_type") or "polygon"
    if not isinstance(label, str) or not label:
        return f"expected a label, found {label!r}"
    if kind not in LEAST_POINTS:
        return f"{label!r} is a {kind}; expected a rectangle or a polygon: draw it anew, or remove it"
    if not isinstance(points, list) or not all(map(_is_point, points)):
        return f"{label!r}: expected points as pairs of finite numbers, found {points!r:.80}"
    if len(points) < LEAST_POINTS[kind]:
        return f"{label!r}: a {kind} needs {LEAST_POINTS[kind]} points, found {len(points)}"
    if any(max(axis) == min(axis) for axis in zip(*points, strict=True)):
        return f"{label!r}: the {kind} {points!r:.80} has no area"
    return ""


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_side(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
