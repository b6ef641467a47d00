"""Writes a table of pictures and their classes: ``images/`` and an ``index.csv`` with splits, groups and sources."""

from __future__ import annotations

from toolkit.data.table import LabelSample, Table
from toolkit.data.writers.target import Target, Written, distinct, group_names, plain_names


def write(table: Table[LabelSample], target: Target) -> Written:
    names, notes = distinct(plain_names(table.samples), key=str)
    images = [f"images/{name}" for name in names]
    rows = (
        (image, table.class_names[sample.class_id], sample.split, group, sample.source)
        for image, group, sample in zip(images, group_names(table.samples, images), table.samples, strict=True)
    )
    target.table("index.csv", ("image", "label", "split", "group", "source"), rows)
    target.pictures(table.samples, images)
    return Written(images, lost=notes, holds_splits=True)
