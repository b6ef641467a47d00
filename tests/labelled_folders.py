"""Folders of labelled pictures for the tiny bundles, whose answers on them are known: some right, some wrong.

They are stored as strangers store theirs, without a config. Names of files are what may stand in a file's name.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_bundle import BOX, COLD, COLOURS, GREY, WARM, flat, halves

FAR, CORNER = [50, 0, 12, 10], [0, 0, 8, 8]  # x, y, width, height: where the detector finds nothing
HERE = [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]
ODD = "<b onerror='x'>&\"1.png"  # markup, for whoever forgets to escape

# By name: the picture's colour, its true boxes as (class, x y width height, crowd), and what is wrong with the answer.
BOXES = {
    "right.png": (WARM, [("warm", HERE, 0)], ""),
    ODD: (WARM, [("cold", HERE, 0)], "cold called warm"),
    "empty.png": (COLD, [], "1 box on no object (cold)"),
    "three.png": (WARM, [("warm", HERE, 0), ("cold", CORNER, 0), ("warm", FAR, 0)], "2 of 3 missed (cold, warm)"),
    "beside.png": (WARM, [("cold", FAR, 0)], "1 of 1 missed (cold); 1 box on no object (warm)"),
    "crowd.png": (COLD, [("warm", HERE, 1)], ""),
}
WORST_BOXES = ["beside.png", "three.png", ODD, "empty.png"]

# By name: the picture, and its true class.
PICTURES = {
    f"red/{ODD}": (flat((250, 20, 20)), "red"),
    "red/bluish.png": (flat((40, 60, 200)), "red"),
    "green/reddish.png": (flat((120, 100, 90)), "green"),
    "green/right.png": (flat((20, 250, 20)), "green"),
    "blue/right.png": (flat((20, 20, 250)), "blue"),
}
WORST_PICTURES = ["red/bluish.png", "green/reddish.png"]

# By name: the picture, and the true ids of its left and right half.
MASKS = {
    "right.png": (halves(WARM, GREY), (1, 0)),
    "swapped.png": (flat(WARM), (2, 2)),
    ODD: (halves(WARM, GREY), (1, 1)),
    "nothing.png": (flat(GREY), (0, 0)),
}
WORST_MASKS = ["swapped.png", ODD]


def box_folder(root: Path) -> Path:
    """COCO: annotations.json and images/."""
    (root / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, (name, (colour, boxes, _)) in enumerate(BOXES.items(), 1):
        Image.fromarray(flat(colour)).save(root / "images" / name)
        images.append({"id": number, "file_name": name, "width": 64, "height": 64})
        for label, box, crowd in boxes:
            category = ("warm", "cold").index(label) + 1
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category,
                                "bbox": box, "iscrowd": crowd})  # fmt: skip
    categories = [{"id": 1, "name": "warm"}, {"id": 2, "name": "cold"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return root


def class_folder(root: Path) -> Path:
    """A folder a class."""
    for name, (picture, _) in PICTURES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / name)
    return root


def mask_folder(root: Path) -> Path:
    """images/ and masks/ of class ids."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, (picture, ids) in MASKS.items():
        mask = np.full((64, 64), ids[0], np.uint8)
        mask[:, 32:] = ids[1]
        Image.fromarray(picture).save(root / "images" / name)
        Image.fromarray(mask).save(root / "masks" / name)
    return root


FOLDERS = {"detection": box_folder, "classification": class_folder, "segmentation": mask_folder}
WORST = {"detection": WORST_BOXES, "classification": WORST_PICTURES, "segmentation": WORST_MASKS}
assert COLOURS == ("red", "green", "blue")
