"""Boxes and labels on a picture, readable on any background and at any size. It draws on a copy and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RGB = NDArray[np.uint8]
Color = tuple[int, int, int]

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


def color_of(class_id: int) -> Color:
    """The class's RGB colour; the palette repeats after seven classes."""
    return PALETTE[class_id % len(PALETTE)]


def draw_detections(
    image: RGB,
    boxes: NDArray[np.float32],
    labels: Sequence[str],
    scores: NDArray[np.float32] | None,
    class_ids: NDArray[np.int64],
) -> RGB:
    """Draw N boxes (xyxy, pixels) with label and score into a copy of ``image`` (RGB uint8 [H, W, 3]).

    The best score is drawn last, on top. ``scores`` None writes labels alone, as for the truth. A label whose
    characters no font here has is written as its class number.
    """
    page = Image.fromarray(np.ascontiguousarray(image))
    pen = ImageDraw.Draw(page)
    texts = list(labels) if scores is None else [f"{a} {b:.2f}" for a, b in zip(labels, scores.tolist(), strict=True)]
    corners = np.rint(boxes).astype(int).tolist()
    objects = list(zip(corners, texts, class_ids.tolist(), strict=True))[::-1]
    width = max(1, round(min(page.size) / 180))
    for box, _, class_id in objects:
        _outline(pen, box, color_of(class_id), width)
    for box, text, class_id in objects:
        _label(pen, page.size, box, text, class_id)
    return np.array(page)


def _outline(pen: ImageDraw.ImageDraw, box: list[int], color: Color, width: int) -> None:
    """A coloured line between a black and a white one: one of them stands out on any ground."""
    casing = max(1, width // 3)
    layers = ((casing, (0, 0, 0), casing + width), (-width, (255, 255, 255), casing), (0, color, width))
    for outset, ink, thickness in layers:
        left, top = box[0] - outset, box[1] - outset
        right, bottom = max(left, box[2] - 1 + outset), max(top, box[3] - 1 + outset)
        pen.rectangle((left, top, right, bottom), outline=ink, width=thickness)


def _label(pen: ImageDraw.ImageDraw, size: tuple[int, int], box: list[int], text: str, class_id: int) -> None:
    """Write on a plate of the class's colour above the box, or inside where there is no room, never off the picture."""
    width, height = size
    font_size = max(10, round(min(size) / 28))
    if (wide := _font(text, font_size)[1].getlength(text)) > width - 4:
        font_size = max(6, int(font_size * (width - 4) / wide))
    known, font = _font(text, font_size)
    if not known:
        text = f"class {class_id} {text.rsplit(' ', 1)[-1]}"
    pad = max(1, font_size // 5)
    ascent, descent = font.getmetrics() if isinstance(font, ImageFont.FreeTypeFont) else (font_size, 0)
    plate_width = int(font.getlength(text)) + 2 * pad
    plate_height = ascent + descent + pad
    left = max(0, min(box[0], width - plate_width))
    above = box[1] - plate_height
    top = max(0, min(above if above >= 0 else box[1], height - plate_height))
    color = color_of(class_id)
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 120  # luma of ITU-R BT.601
    pen.rectangle((left, top, left + plate_width - 1, top + plate_height - 1), fill=color, outline=(0, 0, 0))
    pen.text((left + pad, top + pad // 2), text, font=font, fill=(255, 255, 255) if dark else (0, 0, 0))


@lru_cache(maxsize=256)
def _font(text: str, size: int) -> tuple[bool, ImageFont.FreeTypeFont | ImageFont.ImageFont]:
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


def _has_all(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str) -> bool:
    missing = bytes(font.getmask(_NO_CHARACTER))
    return all(bytes(font.getmask(character)) != missing for character in set(text) if not character.isspace())
