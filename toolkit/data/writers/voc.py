"""Writes Pascal VOC's format: ``JPEGImages/``, an XML file for each picture, and lists of the splits."""

from __future__ import annotations

from pathlib import PurePosixPath
from xml.etree import ElementTree

from toolkit.data.table import SPLITS, BoxSample, Table
from toolkit.data.writers.target import Target, Written, distinct, lost_areas, plain_names, stem


def write(table: Table[BoxSample], target: Target) -> Written:
    """Corners are whole numbers that count from 1, the far ones inside the box, as in VOC itself.

    Crowd boxes become ``difficult`` objects. ``ImageSets/Main`` lists the pictures of each split without suffix.
    """
    names, notes = distinct(plain_names(table.samples))
    for name, sample in zip(names, table.samples, strict=True):
        target.data(f"Annotations/{stem(name)}.xml", _document(name, sample, table.class_names))
    for split in SPLITS:
        members = [stem(name) for name, sample in zip(names, table.samples, strict=True) if sample.split == split]
        if members:
            target.lines(f"ImageSets/Main/{split}.txt", members)
    target.pictures(table.samples, [f"JPEGImages/{name}" for name in names])
    return Written(names, lost=[*notes, *_lost_fractions(table), *lost_areas(table.samples)])


def whole_corners(box: list[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """xyxy in pixels, rounded to whole pixels of a picture of (height, width), at least one wide and high."""
    left, right = _whole_span(box[0], box[2], size[1])
    top, bottom = _whole_span(box[1], box[3], size[0])
    return left, top, right, bottom


def _whole_span(low: float, high: float, limit: int) -> tuple[int, int]:
    start, end = round(low), round(high)
    if end <= start:
        start = min(int(low), limit - 1)
        end = start + 1
    return start, end


def _document(name: str, sample: BoxSample, class_names: tuple[str, ...]) -> bytes:
    root = ElementTree.Element("annotation")
    _texts(root, folder="JPEGImages", filename=PurePosixPath(name).name)
    size = ElementTree.SubElement(root, "size")
    _texts(size, width=sample.size[1], height=sample.size[0], depth=3)
    _texts(root, segmented=0)
    for box, class_id, crowd in zip(
        sample.boxes.tolist(), sample.class_ids.tolist(), sample.crowd.tolist(), strict=True
    ):
        left, top, right, bottom = whole_corners(box, sample.size)
        node = ElementTree.SubElement(root, "object")
        _texts(node, name=class_names[class_id], pose="Unspecified", truncated=0, difficult=int(crowd))
        _texts(ElementTree.SubElement(node, "bndbox"), xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f"{text}\n".encode()


def _texts(node: ElementTree.Element, **values: str | int) -> None:
    for key, value in values.items():
        ElementTree.SubElement(node, key).text = str(value)


def _lost_fractions(table: Table[BoxSample]) -> list[str]:
    count = sum(int((sample.boxes != sample.boxes.round()).any(axis=1).sum()) for sample in table.samples)
    return [f"fractions of a pixel in {count} boxes, as VOC's corners are whole numbers"] if count else []
