"""Results on pictures, readable on any background and at any size. It draws on a copy and decides nothing.

Boxes are drawn here, the other tasks in ``drawing_masks`` and ``drawing_scores``; take all of them from this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from toolkit.drawing_masks import draw_segmentation
from toolkit.drawing_scores import draw_classification
from toolkit.drawing_text import FONTS, PALETTE, RGB, Color, color_of, font_for, font_size_for, line_height

__all__ = ["FONTS", "PALETTE", "color_of", "draw_classification", "draw_detections", "draw_segmentation"]


def draw_detections(
    image: RGB,
    boxes: NDArray[np.float32],
    labels: Sequence[str],
    scores: NDArray[np.float32] | None,
    class_ids: NDArray[np.int64],
) -> RGB:
    """Draw N boxes (xyxy, pixels) with label and score into a copy of ``image`` (RGB uint8 [H, W, 3]).

    The best score is drawn last, on top. ``scores`` None writes labels alone, as for the truth, and of an empty one
    nothing. A label whose characters no font here has is written as its class number.
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
        if text:
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
    font_size = font_size_for(size)
    if (wide := font_for(text, font_size)[1].getlength(text)) > width - 4:
        font_size = max(6, int(font_size * (width - 4) / wide))
    known, font = font_for(text, font_size)
    if not known:
        text = f"class {class_id} {text.rsplit(' ', 1)[-1]}"
    pad = max(1, font_size // 5)
    plate_width = int(font.getlength(text)) + 2 * pad
    plate_height = line_height(font, font_size) + pad
    left = max(0, min(box[0], width - plate_width))
    above = box[1] - plate_height
    top = max(0, min(above if above >= 0 else box[1], height - plate_height))
    color = color_of(class_id)
    dark = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] < 120  # luma of ITU-R BT.601
    pen.rectangle((left, top, left + plate_width - 1, top + plate_height - 1), fill=color, outline=(0, 0, 0))
    pen.text((left + pad, top + pad // 2), text, font=font, fill=(255, 255, 255) if dark else (0, 0, 0))
