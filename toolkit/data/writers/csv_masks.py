"""Writes a table of pictures and their masks: both, and an ``index.csv`` with splits, groups and sources."""

from __future__ import annotations

from toolkit.data.labelme import OutlineSample
from toolkit.data.table import MaskSample, Table
from toolkit.data.writers.masks import write_masks
from toolkit.data.writers.target import Target, Written, distinct, group_names, plain_names


def write(table: Table[MaskSample | OutlineSample], target: Target) -> Written:
    """One column ``mask`` of class ids, whatever the columns were."""
    names, notes = distinct(plain_names(table.samples))
    masks = write_masks(table, target, names)
    images = [f"images/{name}" for name in names]
    rows = (
        (image, mask, sample.split, group, sample.source)
        for image, mask, group, sample in zip(
            images, masks, group_names(table.samples, images), table.samples, strict=True
        )
    )
    target.table("index.csv", ("image", "mask", "split", "group", "source"), rows)
    return Written(images, lost=notes, holds_splits=True)
