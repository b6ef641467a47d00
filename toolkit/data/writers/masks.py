"""Writes masks as pictures: ``images/`` and ``masks/`` with a PNG of class ids for each, and the class names."""

from __future__ import annotations

import io

from PIL import Image

from toolkit.data.labelme import OutlineSample
from toolkit.data.mask_files import read_mask
from toolkit.data.table import MaskSample, Table
from toolkit.data.writers.target import Target, Written, distinct, plain_names, stem


def write(table: Table[MaskSample | OutlineSample], target: Target) -> Written:
    """Masks that are PNGs of class ids already are copied; others are laid over each other, and outlines drawn."""
    names, notes = distinct(plain_names(table.samples))
    write_masks(table, target, names)
    return Written(names, lost=notes)


def write_masks(table: Table[MaskSample | OutlineSample], target: Target, names: list[str]) -> list[str]:
    """Write pictures, masks and ``classes.txt``, which no reader needs; return the masks' names in the folder."""
    masks = [f"masks/{stem(name)}.png" for name in names]
    for name, sample in zip(masks, table.samples, strict=True):
        if isinstance(sample, MaskSample) and len(sample.masks) == 1 and sample.masks[0][1] is None:
            target.file(sample.masks[0][0], name)
            continue
        encoded = io.BytesIO()
        Image.fromarray(sample.mask() if isinstance(sample, OutlineSample) else read_mask(sample)).save(encoded, "PNG")
        target.data(name, encoded.getvalue())
    target.lines("classes.txt", table.class_names)
    target.pictures(table.samples, [f"images/{name}" for name in names])
    return masks
