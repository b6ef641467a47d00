"""Draws one picture of shapes with its true boxes and classes. Where the files go is not decided here."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("circle", "square", "triangle")

MOST_OBJECTS = 6
# Sides as shares of the picture's shorter side: small and large objects, each visible at a 320 px picture.
SMALLEST, LARGEST = 0.08, 0.45
# A lone shape, whose class is the picture's, is never so small that it cannot be told.
LONE_SMALLEST, LONE_LARGEST = 0.3, 0.8
# A shape may cover others, but half of each must stay to be seen.
LEAST_VISIBLE = 0.5
# Mean distance in grey levels to the ground, so that a shape can be told from it.
LEAST_CONTRAST = 45
ATTEMPTS = 20  # to place a shape before going on without it
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass
class Scene:
    """``image`` RGB uint8 [H,W,3]; ``boxes`` whole pixels [x, y, width, height], also of what is covered.

    ``owner`` int16 [H,W] is the position of the shape that is seen at each pixel, -1 where it is the ground.
    """

    image: NDArray[np.uint8]
    owner: NDArray[np.int16]
    boxes: list[list[int]] = field(default_factory=list)
    class_ids: list[int] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)  # pixels of each whole shape

    def mask(self) -> NDArray[np.uint8]:
        """Class ids uint8 [H,W]: 0 is the ground, k + 1 the class k."""
        return np.array([0, *(class_id + 1 for class_id in self.class_ids)], np.uint8)[self.owner + 1]


def draw_scene(size: tuple[int, int], seed: int, index: int) -> Scene:
    """Picture number ``index`` of (height, width): every seventh is empty, the others hold 1 to 6 shapes.

    The class of the first shape goes round, so that even a few pictures have every class.
    """
    random = np.random.default_rng([seed, index])
    scene = _empty_scene(size, random)
    for number in range(0 if index % 7 == 6 else int(random.integers(1, MOST_OBJECTS + 1))):
        class_id = index % len(CLASS_NAMES) if number == 0 else int(random.integers(len(CLASS_NAMES)))
        _place(scene, class_id, (SMALLEST, LARGEST), random)
    _add_noise(scene, random)
    return scene


def draw_lone_shape(size: tuple[int, int], seed: int, index: int) -> Scene:
    """Picture number ``index`` of (height, width) with one shape, whose class goes round."""
    random = np.random.default_rng([seed, index])
    scene = _empty_scene(size, random)
    while not scene.boxes:  # a large shape seldom lies inside the picture
        _place(scene, index % len(CLASS_NAMES), (LONE_SMALLEST, LONE_LARGEST), random)
    _add_noise(scene, random)
    return scene


def _empty_scene(size: tuple[int, int], random: np.random.Generator) -> Scene:
    return Scene(_ground(size, random), np.full(size, -1, np.int16))


def _add_noise(scene: Scene, random: np.random.Generator) -> None:
    noise = random.standard_normal(scene.image.shape, np.float32) * np.float32(random.uniform(2, 10))
    scene.image = np.clip(scene.image + noise, 0, 255).astype(np.uint8)


def _ground(size: tuple[int, int], random: np.random.Generator) -> NDArray[np.uint8]:
    """A colour gradient with soft spots and a few lines that are no shapes."""
    height, width = size
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    corners = random.uniform(30, 225, (3, 3)).astype(np.float32)
    ground = corners[0] + x[..., None] * (corners[1] - corners[0]) + y[..., None] * (corners[2] - corners[0])
    for _ in range(4):
        across, down, phase = random.uniform((2, 2, 0), (14, 14, 2 * np.pi)).astype(np.float32)
        ground += random.uniform(-18, 18, 3).astype(np.float32) * np.sin(across * x + down * y + phase)[..., None]
    image = np.ascontiguousarray(np.clip(ground, 0, 255).astype(np.uint8))
    for _ in range(int(random.integers(0, 5))):
        start, end = (random.uniform(0, 1, (2, 2)) * (width, height)).astype(int).tolist()
        cv2.line(image, start, end, random.integers(0, 256, 3).tolist(), int(random.integers(1, 3)), cv2.LINE_AA)
    return image


def _place(scene: Scene, class_id: int, shares: tuple[float, float], random: np.random.Generator) -> None:
    """Draw one shape where it leaves enough of the others to be seen; after some attempts, none.

    ``shares`` are the smallest and largest side as shares of the picture's shorter one.
    """
    owner = scene.owner
    height, width = owner.shape
    areas = np.bincount(owner[owner >= 0], minlength=len(scene.boxes))
    for _ in range(ATTEMPTS):
        # Small sides are as frequent as large ones on a logarithmic scale.
        side = min(height, width) * np.exp(random.uniform(*np.log(shares)))
        outline = _outline(class_id, float(side), (height, width), random)
        x, y, w, h = cv2.boundingRect(np.round(outline).astype(np.int32))
        if x < 0 or y < 0 or x + w > width or y + h > height:
            continue
        mask = np.zeros(owner.shape, np.uint8)
        cv2.fillPoly(mask, [_fixed_point(outline)], 1, shift=SHIFT)
        covered = np.bincount(owner[(mask > 0) & (owner >= 0)], minlength=len(areas))
        if np.any(areas - covered < LEAST_VISIBLE * np.array(scene.areas, int)):
            continue
        colour = _colour(scene.image[mask > 0], random)
        cv2.fillPoly(scene.image, [_fixed_point(outline)], colour, cv2.LINE_AA, SHIFT)
        owner[mask > 0] = len(scene.boxes)
        scene.boxes.append(list(cv2.boundingRect(mask)))
        scene.class_ids.append(class_id)
        scene.areas.append(int(mask.sum()))
        return


def _outline(class_id: int, side: float, size: tuple[int, int], random: np.random.Generator) -> NDArray[np.float64]:
    """Corner points [N,2] (x, y) of a turned regular polygon somewhere in the picture; a circle has 72 corners."""
    corners = {"circle": 72, "square": 4, "triangle": 3}[CLASS_NAMES[class_id]]
    angles = random.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    centre = random.uniform(0, 1, 2) * (size[1], size[0])
    points: NDArray[np.float64] = centre + side / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points


def _fixed_point(outline: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(outline * (1 << SHIFT)).astype(np.int32)


def _colour(ground: NDArray[np.uint8], random: np.random.Generator) -> list[int]:
    """A random colour that differs enough from the pixels [N,3] it will cover; the class never shows in it."""
    mean = ground.mean(axis=0)
    while True:
        colour = random.integers(0, 256, 3)
        if np.abs(colour - mean).mean() >= LEAST_CONTRAST:
            return [int(value) for value in colour]
