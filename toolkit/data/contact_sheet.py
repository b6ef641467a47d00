"""Contact sheets: pictures of each class with their truth drawn in, so that a person sees what the labels mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from toolkit import images
from toolkit.data.mask_files import read_mask
from toolkit.data.scan import in_threads
from toolkit.data.table import SPLITS, BoxSample, LabelSample, MaskSample, Progress, Sample, Table
from toolkit.drawing import color_of, draw_detections, draw_segmentation
from toolkit.drawing_text import RGB, font_for
from toolkit.drawing_tiles import fitted

COLUMNS, TILE, GAP = 8, 200, 8  # pictures a row; their side and the space between them, in pixels
HEADER, CAPTION = 34, 18  # heights of a class's title and of the line under a picture, in pixels
CLASSES = 12  # on a sheet: more make it too tall for a viewer
MARGIN = 0.2  # of a box's side, shown around it
NAMED = 4  # boxes with their class's name; where there are more, the names would hide the picture


@dataclass(frozen=True)
class Shown:
    """One picture of a class on the sheet; of a box, its position in the sample."""

    sample: Sample
    box: int = -1


@dataclass(frozen=True)
class Tile:
    """A picture for the sheet, uint8 [200,200,3], and what stands under it."""

    image: RGB
    caption: str


def write_contact_sheets(
    table: Table[Any], folder: Path, *, seed: int = 0, progress: Progress | None = None
) -> list[Path]:
    """Write ``contact_sheet.jpg``, and ``contact_sheet_2.jpg`` and so on where there are many classes; the paths."""
    class_ids = shown_classes(table)
    written = []
    for number, first in enumerate(range(0, len(class_ids), CLASSES), 1):
        path = folder / ("contact_sheet.jpg" if number == 1 else f"contact_sheet_{number}.jpg")
        images.write(path, contact_sheet(table, class_ids[first : first + CLASSES], seed=seed, progress=progress))
        written.append(path)
    return written


def shown_classes(table: Table[Any]) -> list[int]:
    """The classes that are in a picture, without the background of masks, which is in all of them."""
    first = 1 if table.unit == "pixels" else 0
    totals = [sum(counts.values()) for counts in table.counts().values()]
    return [class_id for class_id, total in enumerate(totals) if class_id >= first and total]


def contact_sheet(
    table: Table[Any], class_ids: Sequence[int], *, seed: int = 0, progress: Progress | None = None
) -> RGB:
    """A band for each class, RGB uint8: its name and counts, and two rows of pictures, chosen by ``seed``.

    Of boxes, cut-outs from the smallest to the largest, each above its picture; of classes, sixteen pictures; of masks,
    pictures from the least to the most of the class, each above itself with the mask laid over.
    """
    random = np.random.default_rng(seed)
    bands = [list(_choose(table, class_id, random)) for class_id in class_ids]
    chosen = [shown for band in bands for shown in band]
    tiles = iter(in_threads(partial(_tiles, names=table.class_names), chosen, "drawing pictures", progress))
    width = COLUMNS * (TILE + GAP) + GAP
    page = Image.new("RGB", (width, _band_height() * len(bands) + GAP), "white")
    for place, (class_id, band) in enumerate(zip(class_ids, bands, strict=True)):
        top = place * _band_height() + GAP
        _title(page, top, class_id, table)
        _place(page, top + HEADER, [next(tiles) for _ in band])
    return np.array(page)


def _band_height() -> int:
    return HEADER + 2 * (TILE + CAPTION) + GAP


def _choose(table: Table[Any], class_id: int, random: np.random.Generator) -> Iterator[Shown]:
    """Pictures of a class for two rows: of boxes and masks one a column, as each gives two."""
    having = [s for s in table.samples if s.class_counts(len(table.class_names))[class_id]]
    order = [having[k] for k in random.permutation(len(having)).tolist()]
    if isinstance(table.samples[0], LabelSample):
        return map(Shown, order[: 2 * COLUMNS])
    if isinstance(table.samples[0], MaskSample):
        ranked = sorted(order, key=lambda sample: sample.pixels[class_id] / (sample.size[0] * sample.size[1]))
        return map(Shown, _spread(ranked))
    boxes = [
        (float(np.sqrt(np.prod(sample.boxes[k, 2:] - sample.boxes[k, :2]))), Shown(sample, k))
        for sample in order
        for k in np.flatnonzero((sample.class_ids == class_id) & ~sample.crowd).tolist()
    ]
    return iter(_spread([shown for _, shown in sorted(boxes, key=lambda found: found[0])]))


def _spread(ranked: Sequence[Any]) -> list[Any]:
    """As many as fit a row, evenly from the first to the last."""
    places = np.linspace(0, len(ranked) - 1, min(COLUMNS, len(ranked)))
    return [ranked[k] for k in np.rint(places).astype(int).tolist()]


def _tiles(shown: Shown, names: Sequence[str]) -> list[Tile]:
    """The tiles of one column, or the one tile of a picture of a class."""
    draw: dict[type[Sample], Callable[..., list[Tile]]] = {
        BoxSample: _box_tiles,
        LabelSample: _label_tiles,
        MaskSample: _mask_tiles,
    }
    return draw[type(shown.sample)](shown, images.decode(shown.sample.path), names)


def _label_tiles(shown: Shown, image: RGB, names: Sequence[str]) -> list[Tile]:
    return [Tile(_fit(image)[0], _file(shown.sample))]


def _box_tiles(shown: Shown, image: RGB, names: Sequence[str]) -> list[Tile]:
    sample = shown.sample
    assert isinstance(sample, BoxSample)
    left, top, right, bottom = sample.boxes[shown.box].tolist()
    across, down = MARGIN * (right - left), MARGIN * (bottom - top)
    rows = slice(max(0, int(top - down)), int(np.ceil(bottom + down)))
    columns = slice(max(0, int(left - across)), int(np.ceil(right + across)))
    crop, _ = _fit(np.ascontiguousarray(image[rows, columns]))
    whole, (scale_x, scale_y, x, y) = _fit(image)
    order = np.argsort(np.arange(len(sample.boxes)) != shown.box, kind="stable")  # the first is drawn on top
    boxes = sample.boxes[order] * np.array([scale_x, scale_y] * 2, np.float32) + np.array([x, y] * 2, np.float32)
    ids = sample.class_ids[order]
    if len(ids) <= NAMED:
        drawn = draw_detections(whole, boxes, [names[class_id] for class_id in ids], None, ids)
    else:
        drawn = _outlined(whole, boxes.tolist(), ids.tolist())
    return [Tile(crop, f"{right - left:.0f} x {bottom - top:.0f} px"), Tile(drawn, _file(sample))]


def _outlined(image: RGB, boxes: list[list[float]], class_ids: list[int]) -> RGB:
    """Boxes (xyxy, pixels of the tile) without names, the first on top."""
    page = Image.fromarray(image)
    pen = ImageDraw.Draw(page)
    for (left, top, right, bottom), class_id in list(zip(boxes, class_ids, strict=True))[::-1]:
        box = (round(left), round(top), max(round(left), round(right) - 1), max(round(top), round(bottom) - 1))
        pen.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline=(0, 0, 0))
        pen.rectangle(box, outline=color_of(class_id))
    return np.array(page)


def _mask_tiles(shown: Shown, image: RGB, names: Sequence[str]) -> list[Tile]:
    sample = shown.sample
    assert isinstance(sample, MaskSample)
    whole, (scale_x, scale_y, left, top) = _fit(image)
    mask = read_mask(sample)
    small = np.full((TILE, TILE), 255, np.uint8)  # 255: nothing is drawn
    y = np.arange(round(mask.shape[0] * scale_y))
    x = np.arange(round(mask.shape[1] * scale_x))
    rows = np.minimum((y + 0.5) / scale_y, mask.shape[0] - 1).astype(int)
    columns = np.minimum((x + 0.5) / scale_x, mask.shape[1] - 1).astype(int)
    small[top : top + len(y), left : left + len(x)] = mask[rows[:, None], columns]
    return [Tile(whole, _file(sample)), Tile(draw_segmentation(whole, small, names), _shares(sample, names))]


def _shares(sample: MaskSample, names: Sequence[str]) -> str:
    shares = sample.pixels / (sample.size[0] * sample.size[1])
    return ", ".join(f"{name} {share:.1%}" for name, share in zip(names[1:], shares[1:], strict=True) if share)


def _fit(image: RGB) -> tuple[RGB, tuple[float, float, int, int]]:
    """The picture in the middle of a white tile, and (scale_x, scale_y, left, top) from its pixels to the tile's."""
    return fitted(image, (TILE, TILE))


def _file(sample: Sample) -> str:
    return f"{sample.split}: {PurePosixPath(sample.name).name}"


def _title(page: Image.Image, top: int, class_id: int, table: Table[Any]) -> None:
    name = table.class_names[class_id]
    counts = table.counts()[name]
    pictures = sum(bool(sample.class_counts(len(table.class_names))[class_id]) for sample in table.samples)
    parts = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])
    told = f"{name}: {sum(counts.values()):,} {table.unit}"
    told += f" in {pictures:,} pictures" if table.unit != "pictures" else ""
    pen = ImageDraw.Draw(page)
    pen.rectangle((GAP, top + 6, GAP + 20, top + 26), fill=color_of(class_id), outline=(0, 0, 0))
    _write(pen, (GAP + 30, top + 4), f"{told} ({parts})" if parts else told, 20, page.width, class_id)


def _place(page: Image.Image, top: int, columns: Sequence[Sequence[Tile]]) -> None:
    """Tiles side by side; a column of two one above the other, single ones in two rows."""
    pen = ImageDraw.Draw(page)
    for number, tiles in enumerate(columns):
        row, column = divmod(number, COLUMNS)
        left = GAP + column * (TILE + GAP)
        for below, tile in enumerate(tiles):
            y = top + (row + below) * (TILE + CAPTION)
            page.paste(Image.fromarray(tile.image), (left, y))
            _write(pen, (left, y + TILE), tile.caption, 12, TILE)


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, width: int, class_id: int | None = None
) -> None:
    """Write in black, shortened to ``width``; a class whose characters no font here has by its number."""
    known, font = font_for(text, size)
    if not known:
        text = text.encode("ascii", "replace").decode() if class_id is None else f"class {class_id}"
    while text and font.getlength(text) > width:
        text = f"{text[:-2]}…" if len(text) > 2 else ""
    pen.text(at, text, font=font, fill=(0, 0, 0))
