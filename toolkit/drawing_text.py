"""Colours, fonts and panels of text for drawings: readable on any ground, at any size, never off the picture.

What is drawn around them, boxes, masks or heat maps, stands in the modules that use this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RGB = NDArray[np.uint8]
Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Okabe and Ito, "Color Universal Design" (2008), told apart by colour-blind readers; its black is left to the outlines.
PALETTE: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
)
# Asked in turn for a label that Pillow's own font cannot write (Chinese, for one). Names, as systems install them.
FONTS = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "msyh.ttc", "PingFang.ttc", "DejaVuSans.ttf")
_NO_CHARACTER = "\U0010ffff"  # never assigned: draws as the font's sign for a missing glyph
_DIMMED = 0.22  # of the picture's light stays under a panel: white text on it has a contrast of 11 or more (WCAG 2.1)
NO_CLASS = -1
_NARROWEST = 8  # a panel is at least this many letters' heights wide, so that its bars can be compared


def color_of(class_id: int) -> Color:
    """The class's RGB colour; the palette repeats after seven classes."""
    return PALETTE[class_id % len(PALETTE)]


def tint_of(class_id: int) -> Color:
    """The class's colour half way to white: with black beside it, one of the two stands out on any ground."""
    red, green, blue = color_of(class_id)
    return (red + 255) // 2, (green + 255) // 2, (blue + 255) // 2


def percent(share: float) -> str:
    """Such as ``2.4 %``; what is there but rounds to nothing is ``<0.1 %``."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def font_size_for(size: tuple[int, int]) -> int:
    """The height of text in pixels on a picture of ``size`` (width, height)."""
    return max(10, round(min(size) / 28))


@lru_cache(maxsize=256)
def font_for(text: str, size: int) -> tuple[bool, Font]:
    """The first font that has every character of ``text``, else (False, Pillow's own)."""
    own = ImageFont.load_default(size)
    if text.isascii() or _has_all(own, text):
        return True, own
    for name in FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:  # not installed here: the next may be
            continue
        if _has_all(font, text):
            return True, font
    return False, own


def _has_all(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(character)) != missing for character in set(text) if not character.isspace())


def line_height(font: Font, size: int) -> int:
    """Pixels from the top of the highest letter to the bottom of the lowest."""
    return sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else size


@dataclass(frozen=True)
class Row:
    """A line of a panel: a name at the left and a value at the right.

    With ``bar`` (0..1), a bar of that length lies under them in the class's colour; without, a swatch stands before.
    """

    class_id: int
    name: str
    value: str
    bar: float | None = None


class Panel:
    """Rows of text on a darkened part of a picture of ``size`` (width, height), laid out before it is placed.

    Of the rows, most important first, as many as fit half the picture's height are kept, at least one. ``width`` and
    ``height`` are the panel's own.
    """

    def __init__(self, size: tuple[int, int], rows: Sequence[Row]) -> None:
        self.font_size = font_size_for(size)
        wide = self._needed_width(rows)
        if wide > size[0]:
            self.font_size = max(6, int(self.font_size * size[0] / wide))
            wide = self._needed_width(rows)
        text = max(line_height(self._written(row)[1], self.font_size) for row in rows)
        self.row_height = text + (0 if rows[0].bar is None else self._bar + self._pad)
        self.rows = _fitting(rows, max(1, (size[1] // 2 - self._pad) // self.row_height))
        self.width = min(size[0], wide)
        self.height = min(size[1], self.row_height * len(self.rows) + self._pad)

    def draw(self, image: RGB, left: int, top: int) -> None:
        """Draw into ``image`` (RGB uint8 [H, W, 3]) with the panel's upper left corner at (left, top)."""
        under = image[top : top + self.height, left : left + self.width]
        page = Image.fromarray((under * _DIMMED).astype(np.uint8))
        pen = ImageDraw.Draw(page)
        for index, row in enumerate(self.rows):
            top_of_row = index * self.row_height + self._pad // 2
            self._draw_text(pen, top_of_row, row)
            if row.bar is not None:
                self._draw_bar(pen, top_of_row + self.row_height - self._bar - self._pad, row.class_id, row.bar)
        under[:] = np.asarray(page)

    def _draw_text(self, pen: ImageDraw.ImageDraw, top: int, row: Row) -> None:
        name, font = self._written(row)
        left = self._pad
        if row.bar is None and row.class_id != NO_CLASS:
            left += self.font_size + self._pad
            square = (self._pad, top + self._pad // 2, left - self._pad - 1, top + self._pad // 2 + self.font_size - 1)
            pen.rectangle(square, fill=color_of(row.class_id), outline=tint_of(row.class_id))
        pen.text((left, top), name, font=font, fill=(255, 255, 255))
        _, font = font_for(row.value, self.font_size)
        pen.text((self.width - self._pad - font.getlength(row.value), top), row.value, font=font, fill=(255, 255, 255))

    def _draw_bar(self, pen: ImageDraw.ImageDraw, top: int, class_id: int, share: float) -> None:
        first, last, bottom = self._pad, self.width - self._pad - 1, top + self._bar - 1
        if last > first:
            pen.rectangle((first, top, last, bottom), fill=(0, 0, 0))
        if (length := round(share * (last - first + 1))) > 0:
            pen.rectangle((first, top, first + length - 1, bottom), fill=tint_of(class_id))

    @property
    def _pad(self) -> int:
        return max(1, self.font_size // 4)

    @property
    def _bar(self) -> int:
        return max(2, self.font_size // 5)

    def _written(self, row: Row) -> tuple[str, Font]:
        """The name, or its class number where no font here can write it."""
        known, font = font_for(row.name, self.font_size)
        return (row.name if known else f"class {row.class_id}"), font

    def _needed_width(self, rows: Sequence[Row]) -> int:
        widths = [_NARROWEST * self.font_size]
        for row in rows:
            name, font = self._written(row)
            value = font_for(row.value, self.font_size)[1].getlength(row.value)
            swatch = 0 if row.bar is not None else self.font_size + self._pad
            widths.append(int(font.getlength(name) + value) + self.font_size // 2 + swatch + 2 * self._pad)
        return max(widths)


def _fitting(rows: Sequence[Row], count: int) -> tuple[Row, ...]:
    """The first ``count`` rows. A legend is put into the classes' order and says how many it leaves out."""
    if rows[0].bar is not None:
        return tuple(rows[:count])
    left_out = len(rows) - count + 1 if len(rows) > count > 1 else 0
    kept = sorted(rows[: count - 1 if left_out else count], key=lambda row: row.class_id)
    return (*kept, Row(NO_CLASS, f"+ {left_out} more", "")) if left_out else tuple(kept)
