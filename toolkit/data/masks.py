"""Reads a folder of pictures and a folder of PNG masks of the same names, whose pixels are class ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.data.assemble import choose_classes
from toolkit.data.fault_log import FaultLog
from toolkit.data.listing import Settings
from toolkit.data.mask_files import MaskFile, mask_table
from toolkit.data.pairs import LabelFiles, paired_listing
from toolkit.data.table import MaskSample, Progress, Table


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[MaskSample]:
    """Read and check a ``data`` block of format masks.

    A picture's mask has its name, also in folders below, and the suffix .png; without one it is a fault. Folders
    train, val and test under the pictures are the split where ``data.splits`` names none. Raises ``DataFaults``, see
    ``load_table``.
    """
    root = Path(config.root)
    return read_masks(root / config.images, root / config.masks, Settings.of(config, seed, progress))


def read_masks(images: Path, masks: Path, settings: Settings) -> Table[MaskSample]:
    """``read`` with plain arguments; ``settings.classes`` are needed."""
    log = FaultLog(settings.on_fault)

    def parse(path: Path, file: str) -> tuple[tuple[MaskFile, ...], None]:
        return (MaskFile(path, file, None),), None

    listing = paired_listing(images, LabelFiles(masks, "masks", ".png", parse), settings, log)
    names = settings.classes or ()
    return mask_table(listing, choose_classes(names, (), names, listing.shown, log), settings, log)
