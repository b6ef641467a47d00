"""Boxes as the detection formats list them, clipped to their pictures and made into samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.data.assemble import assemble, choose_classes
from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Entry, Listing, Settings
from toolkit.data.table import BoxSample, Table
from toolkit.errors import Fault

# Annotation tools round outwards: a box may leave the picture by this much and is clipped. Further out is a fault.
CLIP_TOLERANCE = 1.0

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """``corners`` are (left, top, right, bottom), finite and not empty: in pixels, or with ``relative`` as shares of
    the picture's width and height. ``told`` is where and what the labels say, for messages: "line 3: the box [...]".
    ``crowd`` boxes count neither for nor against a detector; ``area`` is None where the box's own counts.
    """

    told: str
    corners: Corners
    class_name: str
    crowd: bool = False
    area: float | None = None
    relative: bool = False


def box_table(
    listing: Listing[Sequence[Box]],
    known: Iterable[str],
    settings: Settings,
    log: FaultLog,
    *,
    word: str = "class",
    labels_shown: str | None = None,
) -> Table[BoxSample]:
    """Check and build the table. Boxes that leave the picture by at most 1 pixel are clipped, others are faults.

    ``known`` are the classes that the labels have; ``labels_shown`` is where they stand, ``listing.shown`` by default.
    """
    used = {box.class_name for entry in listing.entries for box in entry.labels}
    names = choose_classes(known, used, settings.classes, labels_shown or listing.shown, log, word=word)
    ids = {name: class_id for class_id, name in enumerate(names)}

    def measure(entry: Entry[Sequence[Box]], size: tuple[int, int]) -> tuple[dict[str, Any], list[Fault]]:
        # A class without an id is a fault of the whole set already.
        boxes = [box for box in entry.labels if box.class_name in ids]
        clipped = [(box, *_clip(box, size)) for box in boxes]
        faults = [Fault(entry.told_in, f"{box.told} {message}") for box, _, message in clipped if message]
        return _fields([(box, corners) for box, corners, message in clipped if not message], ids), faults

    return assemble(listing, names, BoxSample, measure, settings, log)


def _fields(sound: Sequence[tuple[Box, Corners]], ids: dict[str, int]) -> dict[str, Any]:
    areas = [(c[2] - c[0]) * (c[3] - c[1]) if box.area is None else box.area for box, c in sound]
    return {
        "boxes": np.array([corners for _, corners in sound], np.float32).reshape(-1, 4),
        "class_ids": np.array([ids[box.class_name] for box, _ in sound], np.int64),
        "crowd": np.array([box.crowd for box, _ in sound], np.bool_),
        "areas": np.array(areas, np.float64),
    }


def _clip(box: Box, size: tuple[int, int]) -> tuple[Corners, str]:
    """Corners in pixels inside the picture, and what is wrong ("" if nothing)."""
    height, width = size
    scale_x, scale_y = (width, height) if box.relative else (1, 1)
    left, top, right, bottom = (
        box.corners[0] * scale_x, box.corners[1] * scale_y, box.corners[2] * scale_x, box.corners[3] * scale_y
    )  # fmt: skip
    clipped = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    outside = max(-left, -top, right - width, bottom - height)
    if outside <= CLIP_TOLERANCE and clipped[2] > clipped[0] and clipped[3] > clipped[1]:
        return clipped, ""
    return clipped, f"reaches {outside:g} px outside the {width}x{height} picture"
