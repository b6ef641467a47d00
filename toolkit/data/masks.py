"""Reads a folder of pictures and a folder of PNG masks of the same names, whose pixels are class ids."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.data.assemble import choose_classes
from toolkit.data.fault_log import FaultLog
from toolkit.data.folder_pairs import folder_pairs
from toolkit.data.listing import Settings
from toolkit.data.mask_files import NOT_COUNTED, MaskFile, mask_table, read_png
from toolkit.data.pairs import LabelFiles, paired_listing
from toolkit.data.table import MaskSample, Progress, Table
from toolkit.errors import PictureError


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[MaskSample]:
    """Read and check a ``data`` block of format masks.

    A picture's mask has its name, also in folders below, and the suffix .png; without one it is a fault. Folders
    train, val and test under the pictures are the split where ``data.splits`` names none. Raises ``DataFaults``, see
    ``load_table``.
    """
    root = Path(config.root)
    return read_masks(root / config.images, root / config.masks, Settings.of(config, seed, progress))


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The folders of a folder that hold masks of these labels, and their pictures (see `toolkit.data.recognise`)."""
    pairs = folder_pairs(root, ".png", partial(_is_mask, classes=len(labels)))
    return [{"masks": masks, "images": images} for masks, images in pairs]


def _is_mask(path: Path, classes: int) -> bool:
    try:
        ids = read_png(path, str(path))
    except PictureError:
        return False
    return bool(((ids < classes) | (ids == NOT_COUNTED)).all())


def read_masks(images: Path, masks: Path, settings: Settings) -> Table[MaskSample]:
    """``read`` with plain arguments; ``settings.classes`` are needed."""
    log = FaultLog(settings.on_fault)

    def parse(path: Path, file: str) -> tuple[tuple[MaskFile, ...], None]:
        return (MaskFile(path, file, None),), None

    listing = paired_listing(images, LabelFiles(masks, "masks", ".png", parse), settings, log)
    names = settings.classes or ()
    return mask_table(listing, choose_classes(names, (), names, listing.shown, log), settings, log)
