"""Writes YOLO's format: ``images/``, a text file for each picture, the class names, and lists of the splits."""

from __future__ import annotations

from toolkit.config.yaml_text import dump
from toolkit.data.table import SPLITS, BoxSample, Table
from toolkit.data.writers.target import Target, Written, distinct, lost_areas, lost_crowds, plain_names, stem


def write(table: Table[BoxSample], target: Target) -> Written:
    """A line a box: class number, middle, width and height as shares of the picture's.

    ``classes.txt`` has the names; ``data.yaml`` has them too, with a list of pictures for each split, for other tools.
    """
    names, notes = distinct(plain_names(table.samples))
    for name, sample in zip(names, table.samples, strict=True):
        target.lines(f"labels/{stem(name)}.txt", _lines(sample))
    target.lines("classes.txt", table.class_names)
    lists = {}
    for split in SPLITS:
        members = [name for name, sample in zip(names, table.samples, strict=True) if sample.split == split]
        if members:
            lists[split] = f"{split}.txt"
            target.lines(lists[split], [f"./images/{name}" for name in members])
    target.data("data.yaml", dump({**lists, "names": dict(enumerate(table.class_names))}).encode())
    target.pictures(table.samples, [f"images/{name}" for name in names])
    return Written(names, lost=[*notes, *lost_crowds(table.samples), *lost_areas(table.samples)])


def _lines(sample: BoxSample) -> list[str]:
    """Ten decimals: a thousandth of a pixel in a picture of 50 megapixels needs eight."""
    height, width = sample.size
    lines = []
    for box, class_id, crowd in zip(
        sample.boxes.astype(float).tolist(), sample.class_ids.tolist(), sample.crowd.tolist(), strict=True
    ):
        left, right = box[0] / width, box[2] / width
        top, bottom = box[1] / height, box[3] / height
        shares = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
        if not crowd:
            lines.append(" ".join([str(class_id), *(f"{share:.10f}" for share in shares)]))
    return lines
