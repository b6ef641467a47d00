"""What is on the sheets: which classes and pictures, where, and with which truth drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolkit import images
from toolkit.data import BoxSample, LabelSample, MaskSample, Sample, Table
from toolkit.data.contact_sheet import (
    CAPTION,
    COLUMNS,
    GAP,
    HEADER,
    TILE,
    contact_sheet,
    shown_classes,
    write_contact_sheets,
)
from toolkit.drawing import color_of

GREY, RED = (90, 90, 90), (250, 10, 20)


def common(path: Path, split: str = "train") -> dict[str, Any]:
    return {"path": path, "name": path.name, "size": (100, 150), "split": split, "group": path.name}


def save(path: Path, picture: NDArray[np.uint8]) -> Path:
    images.write(path, picture)
    return path


def tile(sheet: NDArray[np.uint8], band: int, row: int, column: int) -> NDArray[np.uint8]:
    top = GAP + band * (HEADER + 2 * (TILE + CAPTION) + GAP) + HEADER + row * (TILE + CAPTION)
    left = GAP + column * (TILE + GAP)
    return sheet[top : top + TILE, left : left + TILE]


def is_white(part: NDArray[np.uint8]) -> bool:
    return bool((part == 255).all())


def box_table(tmp_path: Path, sides: list[int], boxes_more: int = 0) -> Table[BoxSample]:
    """A red square of each side on grey, with its box (class 1 of 3), and boxes of class 0 around it."""
    samples = []
    for number, side in enumerate(sides):
        picture = np.full((100, 150, 3), GREY, np.uint8)
        picture[40 : 40 + side, 60 : 60 + side] = RED
        boxes = [[60, 40, 60 + side, 40 + side]] + [[5, 5 + k, 25, 25 + k] for k in range(boxes_more)]
        samples.append(
            BoxSample(
                **common(save(tmp_path / f"{number}.png", picture)),
                boxes=np.array(boxes, np.float32),
                class_ids=np.array([1] + [0] * boxes_more, np.int64),
                crowd=np.zeros(len(boxes), np.bool_),
                areas=np.ones(len(boxes)),
            )
        )
    return Table(("other", "red", "none"), tuple(samples))


def test_cut_outs_from_small_to_large_above_their_pictures(tmp_path: Path) -> None:
    sheet = contact_sheet(box_table(tmp_path, [30, 10, 50, 20]), [1])
    assert sheet.shape == (GAP + HEADER + 2 * (TILE + CAPTION) + GAP, GAP + COLUMNS * (TILE + GAP), 3)
    reds = []
    for column in range(4):
        crop, whole = tile(sheet, 0, 0, column), tile(sheet, 0, 1, column)
        # The square fills the crop but for a fifth of its side around it.
        red = (np.abs(crop.astype(int) - RED) < 12).all(axis=2)
        assert red.mean() == pytest.approx(1 / 1.4**2, abs=0.1)
        reds.append((np.abs(whole.astype(int) - RED) < 12).all(axis=2).sum())
        assert (whole == color_of(1)).all(axis=2).any()  # the truth, drawn in
        assert (whole[100] == GREY).all(axis=1).any()
    assert reds == sorted(reds)
    assert is_white(tile(sheet, 0, 0, 4))


def test_many_boxes_are_drawn_without_names(tmp_path: Path) -> None:
    """In the right places: 150 x 100 lies in the middle of the tile, enlarged by 4/3."""
    whole = tile(contact_sheet(box_table(tmp_path, [40], boxes_more=6), [1]), 0, 1, 0)
    top = (TILE - 133) // 2
    y, x = np.nonzero((whole == color_of(1)).all(axis=2))
    assert (x.min(), x.max()) == (80, 132)
    assert abs(y.min() - (top + 40 * 4 / 3)) <= 1
    assert abs(y.max() - (top + 80 * 4 / 3 - 1)) <= 1


def test_pictures_of_a_class_fill_two_rows(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((100, 150, 3), GREY, np.uint8))
    samples = tuple(LabelSample(**common(path), class_id=number % 2) for number in range(26))
    sheet = contact_sheet(Table(("a", "b"), samples), [0, 1])
    for band in range(2):
        for row, column in [(0, 0), (0, 7), (1, 0), (1, 4)]:
            assert (tile(sheet, band, row, column)[100] == GREY).all()
        assert is_white(tile(sheet, band, 1, 5))  # thirteen of each
        assert not is_white(sheet[GAP + band * (HEADER + 2 * (TILE + CAPTION) + GAP) :][:HEADER])


def test_the_seed_chooses(tmp_path: Path) -> None:
    samples = []
    for number in range(40):
        path = save(tmp_path / f"{number}.png", np.full((100, 150, 3), 6 * number, np.uint8))
        samples.append(LabelSample(**common(path), class_id=0))
    table = Table(("a",), tuple(samples))
    first, again, other = (contact_sheet(table, [0], seed=seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_masks_from_little_to_much_with_the_mask_laid_over(tmp_path: Path) -> None:
    samples: list[Sample] = []
    for number, height in enumerate((80, 10, 40)):
        mask = np.zeros((100, 150), np.uint8)
        mask[:height, :75] = 1
        Image.fromarray(mask).save(tmp_path / f"{number}_mask.png")
        path = save(tmp_path / f"{number}.png", np.full((100, 150, 3), GREY, np.uint8))
        pixels = np.bincount(mask.ravel(), minlength=3)
        samples.append(MaskSample(**common(path), masks=((tmp_path / f"{number}_mask.png", None),), pixels=pixels))
    table = Table(("background", "thing", "none"), tuple(samples))
    assert shown_classes(table) == [1]
    sheet = contact_sheet(table, [1])
    for column, height in enumerate((10, 40, 80)):
        plain, laid_over = tile(sheet, 0, 0, column), tile(sheet, 0, 1, column)
        changed = (plain != laid_over).any(axis=2)
        top = (TILE - 133) // 2
        rows = np.flatnonzero(changed[:, 90])  # beside the legend
        assert (rows.min(), rows.max()) == pytest.approx((top, top + height * 4 / 3 - 1), abs=2)
        assert not changed[top + 100, 120]  # the right half is background


def test_sheets_of_twelve_classes(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((100, 150, 3), GREY, np.uint8))
    samples = tuple(LabelSample(**common(path), class_id=number) for number in range(14))
    table = Table((*(f"class {k}" for k in range(13)), "猫", "in no picture"), samples)
    told: list[str] = []
    written = write_contact_sheets(table, tmp_path, progress=lambda label, done, total: told.append(label))
    assert [path.name for path in written] == ["contact_sheet.jpg", "contact_sheet_2.jpg"]
    heights = [images.decode(path).shape[0] for path in written]
    assert heights == [GAP + count * (HEADER + 2 * (TILE + CAPTION) + GAP) for count in (12, 2)]
    assert set(told) == {"drawing pictures"}


def test_large_and_odd_pictures(tmp_path: Path) -> None:
    """Wide, high, and one pixel: each lies in the middle of its tile."""
    sizes = [(60, 3000), (3000, 60), (1, 1)]
    samples = []
    for number, size in enumerate(sizes):
        path = save(tmp_path / f"{number}.png", np.full((*size, 3), GREY, np.uint8))
        samples.append(LabelSample(**{**common(path), "size": size}, class_id=number))
    sheet = contact_sheet(Table(("a", "b", "c"), tuple(samples)), [0, 1, 2])
    for band, (height, width) in enumerate(sizes):
        grey = (tile(sheet, band, 0, 0) == GREY).all(axis=2)
        scale = TILE / max(height, width)
        assert grey.any(axis=1).sum() == pytest.approx(max(1, height * scale), abs=1)
        assert grey.any(axis=0).sum() == pytest.approx(max(1, width * scale), abs=1)
