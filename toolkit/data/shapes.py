"""Sets that the toolkit draws itself: circles, squares and triangles, stored as real files in a format of each task.

To try and to test everything without data of one's own; they say nothing about real pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2

from toolkit import images
from toolkit.data.coco import read_coco
from toolkit.data.draw_shapes import CLASS_NAMES, Scene, draw_lone_shape, draw_scene
from toolkit.data.drawn_folder import ensure_drawn
from toolkit.data.folders import read_folders
from toolkit.data.listing import Settings
from toolkit.data.masks import read_masks as read_mask_files
from toolkit.data.scan import in_threads
from toolkit.data.table import BoxSample, LabelSample, MaskSample, Progress, Table

# Raised whenever the same settings draw other pictures, so that older folders are drawn anew.
DRAWING = 1
MASK_CLASS_NAMES = ("background", *CLASS_NAMES)

Boxes: TypeAlias = tuple[list[list[int]], list[int]]  # of a scene: boxes, and their class ids


@dataclass(frozen=True)
class Kind:
    """How the sets of one kind are drawn and stored: the scene, the picture's and the mask's path by number, the folder
    that the split file's names are relative to, and what the default folder is called.
    """

    draw: Callable[[tuple[int, int], int, int], Scene]
    picture: Callable[[int], str]
    mask: Callable[[int], str] | None
    named_from: str
    prefix: str


KINDS = {
    "boxes": Kind(draw_scene, lambda i: f"images/{i:05d}.jpg", None, "images/", "shapes"),
    "labels": Kind(draw_lone_shape, lambda i: f"{CLASS_NAMES[i % 3]}/{i:05d}.jpg", None, "", "shapes-labels"),
    "masks": Kind(
        draw_scene, lambda i: f"images/{i:05d}.jpg", lambda i: f"masks/{i:05d}.png", "images/", "shapes-masks"
    ),
}


def read_boxes(config: Any, seed: int, progress: Progress | None = None) -> Table[BoxSample]:
    """Draw a COCO set unless it is there, then read it like any. ``seed`` is not used: ``data.seed`` draws."""
    folder, settings = _drawn(config, "boxes", CLASS_NAMES, progress)
    return read_coco(folder / "annotations.json", folder / "images", settings)


def read_labels(config: Any, seed: int, progress: Progress | None = None) -> Table[LabelSample]:
    """The same for class folders: each picture shows one shape, its class."""
    folder, settings = _drawn(config, "labels", CLASS_NAMES, progress)
    return read_folders(folder, settings)


def read_masks(config: Any, seed: int, progress: Progress | None = None) -> Table[MaskSample]:
    """The same for pictures and masks of class ids: 0 is the background, then a class each shape."""
    folder, settings = _drawn(config, "masks", MASK_CLASS_NAMES, progress)
    return read_mask_files(folder / "images", folder / "masks", settings)


def draw_set(
    folder: Path,
    *,
    pictures: int = 240,
    size: tuple[int, int] = (320, 320),
    val_fraction: float = 0.2,
    seed: int = 0,
    kind: str = "boxes",
    progress: Progress | None = None,
) -> None:
    """Draw a set into ``folder``: pictures of ``size`` (height, width), their labels, and ``splits.csv``.

    ``kind`` is boxes (``images/*.jpg``, ``annotations.json``), labels (``CLASS/*.jpg``) or masks (``images/*.jpg``,
    ``masks/*.png``). The same arguments draw the same pictures. A complete folder with the same settings is left as it
    is, one with others is replaced; a folder that was not drawn by the toolkit is a ``UserError``. It appears whole or
    not at all.
    """
    settings = {
        "drawing": DRAWING,
        "kind": kind,
        "pictures": pictures,
        "size": list(size),
        "val_fraction": val_fraction,
        "seed": seed,
    }
    wanted = KINDS[kind]
    names = {path(index) for path in (wanted.picture, wanted.mask) if path for index in range(pictures)}

    def draw(empty: Path) -> None:
        boxes = _draw_files(empty, wanted, pictures, size, seed, progress)
        if kind == "boxes":
            (empty / "annotations.json").write_text(json.dumps(_as_coco(boxes, size)), encoding="utf-8")
        _write_splits(empty / "splits.csv", wanted, pictures, val_fraction)

    ensure_drawn(folder, settings, names, draw)


def _drawn(config: Any, kind: str, class_names: Sequence[str], progress: Progress | None) -> tuple[Path, Settings]:
    height, width = config.size
    default = f"{KINDS[kind].prefix}-{config.pictures}-{height}x{width}-{config.seed}"
    folder = Path(config.root or Path("runs") / default)
    draw_set(
        folder,
        pictures=config.pictures,
        size=(height, width),
        val_fraction=config.val_fraction,
        seed=config.seed,
        kind=kind,
        progress=progress,
    )
    splits = folder / "splits.csv"
    return folder, Settings(splits=splits, classes=class_names, on_fault=config.on_fault, progress=progress)


def _draw_files(
    folder: Path, kind: Kind, pictures: int, size: tuple[int, int], seed: int, progress: Progress | None
) -> list[Boxes]:
    paths = [folder / path(index) for path in (kind.picture, kind.mask) if path for index in range(pictures)]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True)

    def draw(index: int) -> Boxes:
        scene = kind.draw(size, seed, index)
        images.write(folder / kind.picture(index), scene.image)
        if kind.mask:
            (folder / kind.mask(index)).write_bytes(cv2.imencode(".png", scene.mask())[1].tobytes())
        return scene.boxes, scene.class_ids

    return list(in_threads(draw, range(pictures), "drawing shapes", progress))


def _write_splits(path: Path, kind: Kind, pictures: int, val_fraction: float) -> None:
    # Every picture is drawn independently: the first ones are as good a validation set as any.
    held_out = min(max(1, round(val_fraction * pictures)), pictures - 1)
    names = [kind.picture(index).removeprefix(kind.named_from) for index in range(pictures)]
    rows = [f"{name},{'val' if index < held_out else 'train'}\n" for index, name in enumerate(names)]
    path.write_text("image,split\n" + "".join(rows), encoding="utf-8")


def _as_coco(boxes: Sequence[Boxes], size: tuple[int, int]) -> dict[str, Any]:
    entries = [
        {"image_id": image_id, "category_id": class_id + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image_id, (found, class_ids) in enumerate(boxes, 1)
        for box, class_id in zip(found, class_ids, strict=True)
    ]
    return {
        "images": [
            {"id": index + 1, "file_name": f"{index:05d}.jpg", "height": size[0], "width": size[1]}
            for index in range(len(boxes))
        ],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(entries, 1)],
        "categories": [{"id": class_id, "name": name} for class_id, name in enumerate(CLASS_NAMES, 1)],
    }
