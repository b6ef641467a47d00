"""Draws the two pictures of this folder, so that they belong to nobody: python demos/pictures/draw.py

A chest slice as a CT scanner would show it, with two hazy patches in the lungs, and a cardboard box on a floor. They
show how results look; they say nothing about quality.
"""

from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).parent


def haze(random: np.random.Generator, size: int, grain: float) -> np.ndarray:
    """Smooth noise around 0 with standard deviation 1, float32 [size, size]."""
    noise = cv2.GaussianBlur(random.standard_normal((size, size)).astype(np.float32), (0, 0), grain)
    return (noise - noise.mean()) / noise.std()


def ellipse(size: int, centre: tuple[float, float], axes: tuple[float, float], angle: float = 0) -> np.ndarray:
    """A filled ellipse with a soft border, 0 to 1; centre and half axes as shares of the picture, (x, y)."""
    mask = np.zeros((size, size), np.float32)
    whole = [round(size * value * 16) for value in (*centre, *axes)]
    cv2.ellipse(mask, tuple(whole[:2]), tuple(whole[2:]), angle, 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), size / 400)


def chest_slice(size: int = 512) -> np.ndarray:
    """A slice at the height of the heart, uint8 [size, size]."""
    random = np.random.default_rng(7)
    level = np.full((size, size), 12.0, np.float32)

    def paint(mask: np.ndarray, grey: float) -> None:
        level[:] = level * (1 - mask) + grey * mask

    paint(ellipse(size, (0.5, 0.53), (0.45, 0.33)), 190)  # skin and fat
    paint(ellipse(size, (0.5, 0.53), (0.41, 0.29)), 222)  # muscle
    right = ellipse(size, (0.31, 0.51), (0.155, 0.215), 8)
    left = ellipse(size, (0.70, 0.51), (0.145, 0.215), -8)
    lungs = np.maximum(right, left)
    paint(lungs, 48)
    for _ in range(240):  # vessels, finer towards the outside
        start = np.array([0.5, 0.5]) + random.normal(0, 0.03, 2)
        way = random.uniform(0, 2 * np.pi)
        outwards = np.array([np.cos(way), 0.8 * np.sin(way)])
        near, far = (start + reach * outwards for reach in random.uniform(0.1, 0.32, 2))
        line = np.zeros((size, size), np.float32)
        ends = [tuple(int(value * size) for value in end) for end in (near, near + 0.12 * (far - near))]
        cv2.line(line, *ends, 1.0, int(random.integers(1, 4)), cv2.LINE_AA)
        paint(line * lungs * 0.8, 190)
    paint(ellipse(size, (0.54, 0.46), (0.115, 0.15), 20), 228)  # heart
    paint(ellipse(size, (0.5, 0.70), (0.06, 0.07)), 245)  # spine
    paint(ellipse(size, (0.5, 0.69), (0.018, 0.015)), 210)
    for angle in np.linspace(0, 2 * np.pi, 18, endpoint=False):  # ribs
        at = (0.5 + 0.39 * np.cos(angle), 0.53 + 0.27 * np.sin(angle))
        along = float(np.degrees(np.arctan2(0.9 * np.cos(angle), -np.sin(angle))))
        paint(ellipse(size, at, (0.028, 0.011), along), 250)
    for centre, axes in (((0.27, 0.63), (0.085, 0.06)), ((0.77, 0.56), (0.05, 0.09))):  # hazy patches
        patch = cv2.GaussianBlur(ellipse(size, centre, axes), (0, 0), size / 60)
        cloud = np.clip(patch * (0.75 + 0.3 * haze(random, size, size / 70)), 0, 1) * lungs
        paint(cloud, 165)
    level += 7 * haze(random, size, 1.0)
    return np.clip(level, 0, 255).astype(np.uint8)


def cardboard_box(height: int = 480, width: int = 640) -> np.ndarray:
    """A box on a floor, BGR uint8 [height, width, 3]."""
    random = np.random.default_rng(3)
    floor = np.linspace(205, 170, height, dtype=np.float32)[:, None, None] * np.float32([0.96, 0.99, 1.0])
    picture = np.repeat(floor, width, axis=1) + 4 * haze(random, 640, 3.0)[:height, :width, None]
    shadow = np.zeros((height, width), np.float32)
    cv2.fillPoly(shadow, [np.array([[180, 390], [440, 425], [590, 330], [560, 300]])], 1.0)
    picture *= 1 - 0.45 * cv2.GaussianBlur(shadow, (0, 0), 12)[..., None]
    faces = (
        ([[170, 190], [330, 225], [330, 405], [180, 360]], (92, 138, 176)),
        ([[330, 225], [500, 175], [490, 340], [330, 405]], (72, 112, 148)),
        ([[170, 190], [335, 140], [500, 175], [330, 225]], (58, 92, 124)),
        ([[170, 190], [330, 225], [285, 275], [120, 235]], (112, 160, 196)),
        ([[330, 225], [500, 175], [560, 222], [390, 280]], (104, 150, 188)),
    )
    for corners, colour in faces:
        face = np.zeros((height, width), np.float32)
        cv2.fillPoly(face, [np.array(corners)], 1.0, cv2.LINE_AA)
        ribs = 3 * np.sin(np.arange(width) / 2.2) + 5 * haze(random, 640, 6.0)[:height, :width]
        picture = picture * (1 - face[..., None]) + (np.float32(colour) + ribs[..., None]) * face[..., None]
        cv2.polylines(picture, [np.array(corners)], True, [value * 0.75 for value in colour], 1, cv2.LINE_AA)
    picture += random.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    cv2.imwrite(str(FOLDER / "chest_slice.png"), chest_slice())
    cv2.imwrite(str(FOLDER / "cardboard_box.jpg"), cardboard_box(), [cv2.IMWRITE_JPEG_QUALITY, 90])
