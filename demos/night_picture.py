"""Brighten a night picture, its corners most, and normalise it in one pass: python demos/night_picture.py night.jpg

Without a picture it draws one. The steps are written as for one number; NumPy's way stands beside them, with its time.
"""

import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np

import ops

WHITE, ONE = np.float32(255), np.float32(1)  # written as 255.0 and 1.0 they would be float64
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of what many networks were trained on


@ops.operator("elementwise", dtype=np.float32)
def without_vignette(grey, light):
    """A lens lets less light into the corners: divide by the share that came through."""
    return min(grey / (WHITE * light), ONE)


@ops.operator("elementwise", dtype=np.float32)
def gamma(value):
    """Gamma 2: a square root takes the compiler one instruction for many pixels; ``value**exponent`` is slower."""
    return math.sqrt(value)


@ops.operator("elementwise", dtype=np.float32)
def normalise(value, mean, std):
    return (value - mean) / std


@ops.operator("elementwise", dtype=np.uint8)
def as_grey(value, scale):
    return value * scale


prepare = ops.fuse(without_vignette, gamma, normalise)  # what a network takes
brighten = ops.fuse(without_vignette, gamma, as_grey)  # what a person looks at


def with_numpy(picture, light, mean, std):
    value = np.sqrt(np.minimum(picture / (np.float32(255) * light), np.float32(1)))
    return (value - np.float32(mean)) / np.float32(std)


def light_of_lens(height, width, loss):
    """The share of light that reaches each pixel, [H, W, 1]: cos⁴ of its angle, ``loss`` of it gone in the corners."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tangent_squared = (1 / np.sqrt(1 - loss) - 1) * (x * x + y * y) / 2
    return (1 / (1 + tangent_squared) ** 2)[..., None].astype(np.float32)


def drawn_night(height, width):
    """Lamps in the dark, seen through a lens that loses 60 % in the corners."""
    rng = np.random.default_rng(0)
    picture = rng.normal(14, 3, (height, width, 3)).clip(0, 255)
    for x, y in rng.uniform(0, 1, (12, 2)) * (width, height):
        cv2.circle(picture, (int(x), int(y)), 14, (255, 214, 150), -1)
    glow = cv2.GaussianBlur(picture, (0, 0), 21)
    return (np.clip(picture + glow, 0, 255) * light_of_lens(height, width, 0.6)).astype(np.uint8)


def milliseconds(call):
    call()  # once to compile, or to fetch what an earlier run compiled
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


if len(sys.argv) > 2:
    sys.exit(__doc__)
picture = cv2.imread(sys.argv[1])[..., ::-1] if len(sys.argv) > 1 else drawn_night(1080, 1920)
light = light_of_lens(*picture.shape[:2], loss=0.6)

seen = brighten(picture, light, 255.0)
cv2.imwrite("brightened.jpg", seen[..., ::-1])
source = Path(sys.argv[1]).name if len(sys.argv) > 1 else "a drawn night"
print(f"{source}: mean grey level {picture.mean():.1f}, brightened {seen.mean():.1f}: brightened.jpg")

ours, theirs = prepare(picture, light, MEAN, STD), with_numpy(picture, light, MEAN, STD)
print(f"largest difference from NumPy {np.abs(ours - theirs).max():.1g}")
print(f"one pass {milliseconds(lambda: prepare(picture, light, MEAN, STD)):.1f} ms")
print(f"NumPy {milliseconds(lambda: with_numpy(picture, light, MEAN, STD)):.1f} ms")
