"""Small sets on disk with all that a conversion has to carry: odd names, sub-folders, fractions, splits, groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from drawn_photos import photo
from PIL import Image

from toolkit import images

# As the reader finds them: by name. The split, the group ("" is none) and the source of each.
NAMES = {
    "a b.jpg": ("train", "", "web"),
    "night/a b.jpg": ("train", "walk", "own"),
    "night/猫 1.jpg": ("train", "walk", "own"),
    "z.png": ("val", "", "web"),
    "été/été.jpg": ("test", "", ""),
}
CLASSES = ("zebra", "猫", "a dog")  # not in alphabetical order
SIZE = (60, 83)


def draw(root: Path, names: Any = tuple(NAMES)) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, photo(number, SIZE))


def split_csv(path: Path, names: dict[str, tuple[str, str, str]] | None = None) -> Path:
    told = NAMES if names is None else names
    rows = [f'"{name}",{split},{group},{source}' for name, (split, group, source) in told.items()]
    path.write_text("\n".join(["image,split,group,source", *rows]), encoding="utf-8")
    return path


def coco_set(root: Path, *, whole: bool = False, crowd: bool = False, areas: bool = False) -> Path:
    """Boxes with fractions (whole pixels with ``whole``) and ``z.png`` without any; perhaps a crowd, and areas."""
    draw(root / "images")
    random = np.random.default_rng(0)
    listed = [
        {"id": 7 * k, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for k, name in enumerate(sorted(NAMES))
    ]
    boxes: list[dict[str, Any]] = []
    for entry in listed:
        for k in range(0 if entry["file_name"] == "z.png" else 3):
            # A thousandth is the finest that single precision keeps near 83.
            left, top, right, bottom = random.uniform((0, 0, 43, 33), (40, 30, 83, 60)).round(0 if whole else 3)
            box = [left, top, right - left, bottom - top]
            boxes.append({"image_id": entry["id"], "category_id": 10 + k, "bbox": [float(v) for v in box]})
    boxes[0]["bbox"] = [0, 0, SIZE[1], SIZE[0]]
    boxes[1]["iscrowd"] = int(crowd)
    if areas:
        boxes[2]["area"] = 1.5
    categories = [{"id": 10 + k, "name": name} for k, name in enumerate(CLASSES)]
    annotations = [{"id": number, **box} for number, box in enumerate(boxes)]
    document = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    split_csv(root / "splits.csv")
    return root


def label_of(number: int) -> str:
    return CLASSES[number % 3]


def folder_set(root: Path) -> Path:
    """Three pictures of each class, the first of them trains, then val and test; file names are shared by classes."""
    told = {}
    for number, name in enumerate(f"{label_of(k)}/{'ab c'[k // 3 :]}.jpg" for k in range(9)):
        told[name] = (("train", "val", "test")[number // 3], "walk" if number == 3 else "", "own" if number % 2 else "")
    draw(root, told)
    split_csv(root / "splits.csv", told)
    return root


def mask_set(root: Path) -> Path:
    """A PNG of class ids 0 to 3 and 255 for each picture."""
    draw(root / "images")
    for number, name in enumerate(NAMES):
        mask = np.zeros(SIZE, np.uint8)
        mask[5 + number : 30, 4:20], mask[20:40, 15:60], mask[45:, 30 + number :] = 1, 2, 3
        mask[:3] = 255
        path = (root / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    split_csv(root / "splits.csv")
    return root
