"""Reads a Pascal VOC detection set (a folder of pictures, an XML file for each) into the table, checking all of it.

The files pair up by their names; what an XML file says of its own name and folder is not read, for tools copy it
around. Parts, poses and segmentations are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from toolkit.data.boxes import Box, box_table
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.folder_pairs import folder_pairs
from toolkit.data.listing import Settings
from toolkit.data.pairs import LabelFiles, paired_listing
from toolkit.data.table import BoxSample, Progress, Table
from toolkit.data.xml_text import XmlFault, parse_xml

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[BoxSample]:
    """Read and check a ``data`` block of format voc.

    VOC counts pixels from 1 and its far corner is inside the box: (1, 1, 1, 1) is the first pixel, and becomes
    (0, 0, 1, 1). A ``difficult`` object becomes a crowd box, which counts neither for nor against a detector, as in
    VOC's own evaluation. A picture without objects has an XML file that lists none; a picture without an XML file is a
    fault. Class ids follow ``data.classes`` or, without it, the names in alphabetical order. Folders train, val and
    test under the pictures are the split where ``data.splits`` names none. Raises ``DataFaults``, see ``load_table``.
    """
    root = Path(config.root)
    return read_voc(root / config.annotations, root / config.images, Settings.of(config, seed, progress))


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The folders of a folder that hold VOC files and their pictures (see `toolkit.data.recognise`)."""
    pairs = folder_pairs(root, ".xml", lambda path: b"<annotation" in path.read_bytes()[:1000])
    return [{"annotations": annotations, "images": images} for annotations, images in pairs]


def read_voc(annotations: Path, images: Path, settings: Settings) -> Table[BoxSample]:
    """``read`` with plain arguments."""
    log = FaultLog(settings.on_fault)

    def parse(path: Path, file: str) -> tuple[Sequence[Box], tuple[int, int] | None] | None:
        return _read_file(path, file, log)

    files = LabelFiles(annotations, "annotations", ".xml", parse, hint=", without objects if it shows none")
    listing = paired_listing(images, files, settings, log)
    known = sorted({box.class_name for entry in listing.entries for box in entry.labels})
    return box_table(listing, known, settings, log, labels_shown=shown(annotations))


def _read_file(path: Path, file: str, log: FaultLog) -> tuple[list[Box], tuple[int, int] | None] | None:
    """The sound boxes and (height, width) if told; None and a fault where nothing in the file can be trusted."""
    try:
        root = parse_xml(path)
    except XmlFault as fault:
        log.add(file, str(fault))
        return None
    if root.tag != "annotation":
        log.add(file, f"is not a VOC annotation: expected <annotation> at the top, found <{root.tag}>")
        return None
    size, message = _size(root.find("size"))
    if message:
        log.add(file, message)
        return None
    boxes = []
    for number, node in enumerate(root.findall("object"), 1):
        box = _box(node, f"object {number}")
        if isinstance(box, Box):
            boxes.append(box)
        else:
            log.add(file, f"object {number}: {box}")
    return boxes, size


def _size(node: Element | None) -> tuple[tuple[int, int] | None, str]:
    """(height, width), None where the file does not say; and what is wrong."""
    if node is None:
        return None, ""
    told = [(node.findtext(key) or "").strip() for key in ("height", "width")]
    numbers = [_number(text) for text in told]
    if any(number is None or number < 1 or not number.is_integer() for number in numbers):
        return None, f"size: expected height and width as positive whole numbers, found {told}"
    height, width = (int(number) for number in numbers if number is not None)
    return (height, width), ""


def _box(node: Element, where: str) -> Box | str:
    """The box of an object, or what is wrong with it."""
    name = (node.findtext("name") or "").strip()
    corners = node.find("bndbox")
    if not name:
        return "has no name"
    if corners is None:
        return f"{name!r} has no bndbox; expected a box of {', '.join(CORNERS)}"
    texts = [(corners.findtext(key) or "").strip() for key in CORNERS]
    numbers = [number for number in map(_number, texts) if number is not None]
    if len(numbers) < len(CORNERS):
        return f"{name!r}: expected a number for each of {', '.join(CORNERS)}, found {texts}"
    left, top, right, bottom = numbers[0] - 1, numbers[1] - 1, numbers[2], numbers[3]
    shown_box = f"[{', '.join(texts)}] (xmin, ymin, xmax, ymax)"
    if right <= left or bottom <= top:
        return f"the box {shown_box} is empty; xmax and ymax must not lie before xmin and ymin"
    difficult = (node.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        return f"{name!r}: expected difficult 0 or 1, found {difficult!r}"
    return Box(f"{where}: the box {shown_box}", (left, top, right, bottom), name, crowd=difficult == "1")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
