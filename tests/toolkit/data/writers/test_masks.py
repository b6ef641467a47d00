"""Masks: class-id PNGs are copied as they are, and what is laid over each other is 8-bit grey."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from written_sets import CLASSES, NAMES, mask_set

from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source
from toolkit.data.table import MaskSample, Table
from toolkit.data.writers.masks import write
from toolkit.data.writers.target import Target


def test_masks_of_class_ids_are_copied_or_linked(tmp_path: Path) -> None:
    root = mask_set(tmp_path / "set")
    keys = [f"data.splits={root / 'splits.csv'}", f"data.classes=[background, {', '.join(CLASSES)}]"]
    opened = open_source(str(root), "masks", "csv", keys)
    for link in (False, True):
        out = tmp_path / f"out{link}"
        convert(opened.table, "segmentation", "masks", out, link=link)
        for name in NAMES:
            mask = (out / "masks" / name).with_suffix(".png")
            assert mask.read_bytes() == (root / "masks" / name).with_suffix(".png").read_bytes()
            assert mask.is_symlink() == link


def test_layers_become_one_png(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    layers = np.zeros((2, 6, 8), np.uint8)
    layers[0, 1:5, 1:5], layers[1, 3:, 3:] = 255, 1
    for number, layer in enumerate(layers):
        Image.fromarray(layer).save(tmp_path / f"{number}.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    sample = MaskSample(
        path=tmp_path / "a.png", name="a.png", size=(6, 8), split="train", group="a.png", pixels=np.zeros(3, np.int64),
        masks=((tmp_path / "0.png", 1), (tmp_path / "1.png", 2)),
    )  # fmt: skip
    write(Table(("background", "one", "two"), (sample,)), Target(tmp_path / "out"))
    with Image.open(tmp_path / "out/masks/a.png") as image:
        assert image.mode == "L"
        found = np.asarray(image)
    expected = np.where(layers[1] > 0, 2, np.where(layers[0] > 0, 1, 0))
    assert (found == expected).all()
