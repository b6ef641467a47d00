"""A detection set that the toolkit draws itself: circles, squares and triangles, stored as a real COCO set.

To try and to test everything without data of one's own; it says nothing about real pictures.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from toolkit import images
from toolkit.data.coco import read_coco
from toolkit.data.draw_shapes import CLASS_NAMES, Scene, draw_scene
from toolkit.data.fault_log import shown
from toolkit.data.table import Progress, Table
from toolkit.errors import UserError

MANIFEST = "drawn.json"
# Raised whenever the same settings draw other pictures, so that older folders are drawn anew.
DRAWING = 1


def read(config: Any, seed: int, progress: Progress | None = None) -> Table:
    """Draw the set unless it is there, then read it like any COCO set. ``seed`` is not used: ``data.seed`` draws."""
    height, width = config.size
    folder = Path(config.root or Path("runs") / f"shapes-{config.pictures}-{height}x{width}-{config.seed}")
    draw_set(
        folder,
        pictures=config.pictures,
        size=(height, width),
        val_fraction=config.val_fraction,
        seed=config.seed,
        progress=progress,
    )
    return read_coco(
        folder / "annotations.json",
        folder / "images",
        splits=folder / "splits.csv",
        classes=CLASS_NAMES,
        on_fault=config.on_fault,
        progress=progress,
    )


def draw_set(
    folder: Path,
    *,
    pictures: int = 240,
    size: tuple[int, int] = (320, 320),
    val_fraction: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Draw ``images/*.jpg``, ``annotations.json`` and ``splits.csv`` into ``folder``; ``size`` is (height, width).

    The same arguments draw the same pictures. A complete folder with the same settings is left as it is, one with
    others is replaced; a folder that was not drawn by the toolkit is a ``UserError``. It appears whole or not at all.
    """
    settings = {
        "drawing": DRAWING,
        "pictures": pictures,
        "size": list(size),
        "val_fraction": val_fraction,
        "seed": seed,
    }
    if _is_complete(folder, settings):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{shown(folder)}: the shapes cannot be drawn here ({error.strerror})") from None
    try:
        drawn = unfinished / "drawn"
        _draw_files(drawn, pictures, size, val_fraction, seed, progress)
        (drawn / MANIFEST).write_text(json.dumps(settings), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(unfinished / "replaced")
        _put_in_place(drawn, folder, settings)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_complete(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder holds just this set; UserError when it holds something that is not ours to replace."""
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if folder.is_dir() and not any(folder.iterdir()):
            return False
        raise UserError(
            f"{shown(folder)}: exists and was not drawn by the toolkit; name another folder in data.root"
        ) from None
    names = {path.name for path in (folder / "images").glob("*.jpg")}
    return bool(found == settings) and names == {_file_name(index) for index in range(settings["pictures"])}


def _put_in_place(drawn: Path, folder: Path, settings: dict[str, Any]) -> None:
    try:
        drawn.rename(folder)
    except OSError:
        # Another process was faster; what it drew is the same.
        if not _is_complete(folder, settings):
            raise


def _file_name(index: int) -> str:
    return f"{index:05d}.jpg"


def _draw_files(
    folder: Path, pictures: int, size: tuple[int, int], val_fraction: float, seed: int, progress: Progress | None
) -> None:
    (folder / "images").mkdir(parents=True)

    def draw(index: int) -> Scene:
        scene = draw_scene(size, seed, index)
        images.write(folder / "images" / _file_name(index), scene.image)
        return scene

    boxes: list[tuple[list[list[int]], list[int]]] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for scene in pool.map(draw, range(pictures)):
            boxes.append((scene.boxes, scene.class_ids))
            if progress:
                progress("drawing shapes", len(boxes), pictures)
    finally:
        pool.shutdown(cancel_futures=True)
    (folder / "annotations.json").write_text(json.dumps(_as_coco(boxes, size)), encoding="utf-8")
    # Every picture is drawn independently: the first ones are as good a validation set as any.
    held_out = min(max(1, round(val_fraction * pictures)), pictures - 1)
    rows = [f"{_file_name(index)},{'val' if index < held_out else 'train'}\n" for index in range(pictures)]
    (folder / "splits.csv").write_text("image,split\n" + "".join(rows), encoding="utf-8")


def _as_coco(boxes: Sequence[tuple[list[list[int]], list[int]]], size: tuple[int, int]) -> dict[str, Any]:
    entries = [
        {"image_id": image_id, "category_id": class_id + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image_id, (found, class_ids) in enumerate(boxes, 1)
        for box, class_id in zip(found, class_ids, strict=True)
    ]
    return {
        "images": [
            {"id": index + 1, "file_name": _file_name(index), "height": size[0], "width": size[1]}
            for index in range(len(boxes))
        ],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(entries, 1)],
        "categories": [{"id": class_id, "name": name} for class_id, name in enumerate(CLASS_NAMES, 1)],
    }
