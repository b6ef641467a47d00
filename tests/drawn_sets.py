"""Sets of drawn pictures that a network learns in seconds, because the class shows in the colour: for quick runs.

What `toolkit.data.shapes` draws takes minutes to learn. They are stored as a user would store them, as tables (CSV).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {
    "red": (210, 50, 40),
    "green": (50, 190, 60),
    "blue": (40, 60, 210),
    "warm": (220, 70, 40),
    "cold": (30, 80, 210),
}


def draw_labels(folder: Path, pictures: int = 60, seed: int = 0) -> None:
    """Pictures with a red, green or blue thing each; two are of the same thing. One thing in three is held out."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(pictures):
        thing = index // 2
        label = ("red", "green", "blue")[thing % 3]
        image = _ground(rng)
        image[_blob(image.shape[:2], rng, (0.4, 0.8))] = _shade(label, rng)
        name = _save(folder, f"images/{index:03d}.jpg", image, rng)
        split = "val" if thing % 9 in (0, 4, 8) else "train"
        source = ("indoors", "outdoors")[index % 2]
        rows.append({"image": name, "label": label, "group": f"thing {thing}", "split": split, "source": source})
    _write_index(folder, rows)


def draw_masks(folder: Path, pictures: int = 36, seed: int = 0) -> None:
    """Pictures with a warm thing and mostly a cold one on it, and a mask file of each; six pictures are one patient's.

    One patient in three is held out.
    """
    rng = np.random.default_rng(seed)
    (folder / "masks").mkdir()
    rows = []
    for index in range(pictures):
        image, patient, masks = _ground(rng), index // 6, {"warm": "", "cold": ""}
        for label, sides in (("warm", (0.4, 0.8)), ("cold", (0.25, 0.5))):
            if label == "warm" or index % 4 != 3:
                blob = _blob(image.shape[:2], rng, sides)
                image[blob] = _shade(label, rng)
                masks[label] = f"masks/{index:03d}_{label}.png"
                Image.fromarray(blob.astype(np.uint8) * 255).save(folder / masks[label])
        name = _save(folder, f"images/{index:03d}.jpg", image, rng)
        split = "val" if patient % 3 == 2 else "train"
        rows.append({"image": name, **masks, "patient": f"p{patient}", "split": split})
    _write_index(folder, rows)


def _ground(rng: np.random.Generator) -> np.ndarray:
    """A grey picture of a size of its own, lighter to one side: float64 [H, W, 3]."""
    height, width = rng.integers(56, 88, 2).tolist()
    ramp = np.linspace(*rng.uniform(50, 200, 2), width)
    return np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2)


def _blob(size: tuple[int, ...], rng: np.random.Generator, sides: tuple[float, float]) -> np.ndarray:
    """Where an upright ellipse lies, bool [H, W]; ``sides`` bound its height and width as shares of the picture's."""
    half = rng.uniform(*sides, 2) / 2 * size
    centre = half + rng.random(2) * (np.array(size) - 2 * half)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 <= 1


def _shade(label: str, rng: np.random.Generator) -> np.ndarray:
    return np.array(COLOURS[label]) + rng.uniform(-25, 25, 3)


def _save(folder: Path, name: str, image: np.ndarray, rng: np.random.Generator) -> str:
    noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    (folder / name).parent.mkdir(exist_ok=True)
    Image.fromarray(noisy).save(folder / name, quality=95)
    return name


def _write_index(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
