"""Reads a YOLO detection set (a folder of pictures, a text file for each, a line a box) into the table, checking it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.data.boxes import Box, box_table
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.folder_pairs import folder_pairs
from toolkit.data.listing import Settings
from toolkit.data.pairs import LabelFiles, paired_listing
from toolkit.data.table import BoxSample, Progress, Table
from toolkit.data.yolo_names import read_names

# labelImg puts the class names, and Darknet its lists of pictures, beside the labels.
NO_LABELS = frozenset({"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt"})
# Where the names may stand in a folder that nobody described.
NAMES_FILES = ("classes.txt", "data.yaml", "dataset.yaml", "obj.names", "names.txt")
LINE = "class, x, y, width, height"


def read(config: Any, seed: int, progress: Progress | None = None) -> Table[BoxSample]:
    """Read and check a ``data`` block of format yolo.

    A line is a class number and a box: its middle, width and height as shares of the picture's. A picture with an
    empty text file, or without one, is background, as YOLO's own tools take it. Class ids follow ``data.classes`` or,
    without it, the numbers. Folders train, val and test under the pictures are the split where ``data.splits`` names
    none; the paths in a data.yaml are not followed. Raises ``DataFaults``, see ``load_table``.
    """
    root = Path(config.root)
    return read_yolo(
        root / config.labels, root / config.images, root / config.names, Settings.of(config, seed, progress)
    )


def recognise(root: Path, labels: Sequence[str]) -> list[dict[str, Any]]:
    """The folders of a folder that hold YOLO files and their pictures, and the file of names (see
    `toolkit.data.recognise`).
    """
    return [
        {"labels": folder, "images": images, **_names_beside(root, folder)}
        for folder, images in folder_pairs(root, ".txt", _is_label_file)
    ]


def _is_label_file(path: Path) -> bool:
    """Whether every line is a class and four shares; an empty file may be one."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    except ValueError:  # also what is no text
        return False
    return all(len(line) == 5 for line in lines)


def _names_beside(root: Path, labels: str) -> dict[str, str]:
    """The file of class names: by its usual names, in the folder, in that of the labels, or in the one above."""
    for folder in dict.fromkeys((root, root / labels, (root / labels).parent, root.absolute().parent)):
        for name in NAMES_FILES:
            if (folder / name).is_file():
                return {"names": os.path.relpath(folder / name, root)}
    return {}


def read_yolo(labels: Path, images: Path, names_file: Path, settings: Settings) -> Table[BoxSample]:
    """``read`` with plain arguments."""
    log = FaultLog(settings.on_fault)
    names = read_names(names_file, log)

    def parse(path: Path, file: str) -> tuple[Sequence[Box], None] | None:
        boxes = _read_file(path, file, names, log)
        return None if boxes is None else (boxes, None)

    passed_over = NO_LABELS | {names_file.name}
    files: LabelFiles[Sequence[Box]] = LabelFiles(labels, "labels", ".txt", parse, without=(), passed_over=passed_over)
    listing = paired_listing(images, files, settings, log)
    return box_table(listing, names, settings, log, labels_shown=shown(names_file))


def _read_file(path: Path, file: str, names: Sequence[str], log: FaultLog) -> list[Box] | None:
    """The sound boxes; None and a fault where the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        log.add(file, "is not UTF-8 text")
        return None
    except OSError as error:
        log.add(file, f"cannot be read ({error.strerror})")
        return None
    boxes = []
    for number, line in enumerate(text.splitlines(), 1):
        box = _box(line.split(), number, names) if line.strip() else None
        if isinstance(box, Box):
            boxes.append(box)
        elif box:
            log.add(file, f"line {number}: {box}")
    return boxes


def _box(words: list[str], line: int, names: Sequence[str]) -> Box | str:
    """The box of a line, or what is wrong with it."""
    if len(words) != 5:
        return _count_fault(len(words))
    try:
        number, x, y, width, height = map(float, words)
    except ValueError:
        return f"expected five numbers ({LINE}), found {' '.join(words)!r:.60}"
    # Without names, which is a fault already, every number might be one.
    if not number.is_integer() or number < 0 or (names and number >= len(names)):
        return f"class {words[0]} is not among the {len(names)} names (0 to {len(names) - 1})"
    shares = f"[{', '.join(words[1:])}] (x, y, width, height)"
    if not all(0 <= value <= 1 for value in (x, y, width, height)):  # also what is not a number
        return f"the box {shares} has values outside 0 to 1; expected shares of the picture's width and height"
    if width == 0 or height == 0:
        return f"the box {shares} is empty; its width and height must be positive"
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Box(f"line {line}: the box {shares}", corners, names[int(number)] if names else "", relative=True)


def _count_fault(count: int) -> str:
    expected = f"expected five numbers ({LINE}), found {count}"
    if count == 6:
        return f"{expected}; a sixth number is the score of a prediction, and predictions are no labels"
    if count >= 7 and count % 2:
        return f"{expected}: this is the polygon of a segmentation label; this reader takes boxes"
    return expected
