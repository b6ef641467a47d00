"""Random changes of training pictures: zoom to an object, mosaic of four, and the config's albumentations list.

Each makes a uint8 picture of the network's input size; preprocessing comes after it and is never replaced by it.
"""

from __future__ import annotations

import math
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.config.schema import ZoomConfig
from toolkit.errors import UserError, suggest

# A box that a crop leaves less than this share of is dropped; below 2 px nothing is left to see.
MIN_VISIBLE, MIN_SIDE = 0.3, 2.0
# Stretching a picture further than this only shows its pixels.
MAX_MAGNIFICATION = 4.0


class Labelled(NamedTuple):
    """A picture with its boxes: uint8 [H, W, 3], float32 [N, 4] xyxy, int64 [N]."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def place_boxes(
    boxes: NDArray[np.float32], scale: float, offset: tuple[float, float], region: tuple[int, int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scale and shift boxes and clip them to a region (y0, x0, y1, x1); also tell which stay visible enough."""
    moved = boxes * np.float32(scale) + np.array([offset[1], offset[0]] * 2, np.float32)
    y0, x0, y1, x1 = region
    clipped = np.clip(moved, np.array([x0, y0] * 2, np.float32), np.array([x1, y1] * 2, np.float32))
    size, before = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
    visible = size.prod(1) >= MIN_VISIBLE * before.prod(1)
    return clipped, visible & (size >= MIN_SIDE).all(1)


def zoom_scale(sample: Labelled, fit: float, zoom: ZoomConfig, rng: np.random.Generator) -> tuple[float, Any]:
    """Choose a scale and the point (y, x) of the picture to keep in view: an object at a size drawn log-uniformly."""
    height, width = sample.image.shape[:2]
    if rng.random() >= zoom.probability or not len(sample.boxes):
        return fit, np.array([height / 2, width / 2])
    x1, y1, x2, y2 = sample.boxes[rng.integers(len(sample.boxes))]
    side = math.sqrt(max(float((x2 - x1) * (y2 - y1)), 1.0))
    low, high = zoom.object_size
    wanted = math.exp(rng.uniform(math.log(low), math.log(high)))
    scale = min(max(wanted / side, fit / 2), max(MAX_MAGNIFICATION, fit))
    return scale, np.array([(y1 + y2) / 2, (x1 + x2) / 2])


def _paste(
    canvas: NDArray[np.uint8],
    sample: Labelled,
    region: tuple[int, int, int, int],
    zoom: ZoomConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Paste a picture into a region at a random zoom; the point in view lands anywhere that leaves no needless gap."""
    y0, x0, y1, x1 = region
    size = np.array([y1 - y0, x1 - x0])
    picture = np.array(sample.image.shape[:2])
    scale, focus = zoom_scale(sample, float((size / picture).min()), zoom, rng)
    lands = size * rng.uniform(0.2, 0.8, 2)
    slack = size - picture * scale  # negative: the picture is larger than the region
    shift = np.clip(lands - focus * scale, np.minimum(slack, 0), np.maximum(slack, 0))
    offset = (float(y0 + shift[0]), float(x0 + shift[1]))
    written = ops.mosaic_paste(sample.image, canvas, scale=(scale, scale), offset=offset, region=region)
    boxes, kept = place_boxes(sample.boxes, scale, offset, written)
    return boxes[kept], sample.class_ids[kept]


def compose(
    samples: Sequence[Labelled], size: tuple[int, int], fill: int, zoom: ZoomConfig, rng: np.random.Generator
) -> Labelled:
    """Put one picture, or four around a random centre, on a canvas of ``size`` (height, width)."""
    canvas = np.full((*size, 3), fill, np.uint8)
    height, width = size
    if len(samples) == 1:
        regions = [(0, 0, height, width)]
    else:
        cy, cx = (int(side * rng.uniform(0.3, 0.7)) for side in size)
        regions = [(0, 0, cy, cx), (0, cx, cy, width), (cy, 0, height, cx), (cy, cx, height, width)]
    parts = [_paste(canvas, sample, region, zoom, rng) for sample, region in zip(samples, regions, strict=True)]
    return Labelled(canvas, np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))


class Albumentations:
    """A config's albumentations list. Travels to loader workers."""

    def __init__(
        self, listed: Sequence[Mapping[str, Mapping[str, Any]]], *, boxes: bool, where: str = "augment.albumentations"
    ) -> None:
        """``boxes`` is whether samples have some that move with the picture; ``where`` is the list's key.

        Raises ``UserError`` for a transform that albumentations does not have, or options that it does not take.
        """
        self._pipeline: Any = None
        if not listed:
            return
        os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import asks the network for a newer version otherwise
        import albumentations

        transforms = []
        for position, entry in enumerate(listed):
            ((name, options),) = entry.items()
            key = f"{where}.{position}.{name}"
            kind = getattr(albumentations, name, None)
            if not (isinstance(kind, type) and issubclass(kind, albumentations.BasicTransform)):
                raise UserError(f"{key}: albumentations has no such transform{suggest(name, dir(albumentations))}")
            transforms.append(_construct(kind, dict(options), key))
        rules = albumentations.BboxParams(
            format="pascal_voc", label_fields=["class_ids"], clip=True, min_visibility=MIN_VISIBLE,
            min_width=MIN_SIDE, min_height=MIN_SIDE,
        )  # fmt: skip
        with warnings.catch_warnings():  # it warns when no transform moves boxes, which is the user's good right
            warnings.simplefilter("ignore")
            self._pipeline = albumentations.Compose(transforms, bbox_params=rules if boxes else None)

    def __call__(self, seed: int, **sample: Any) -> dict[str, Any]:
        """Change ``image`` (uint8 [H, W, 3]) and what goes with it: ``mask``, or ``bboxes`` and ``class_ids``."""
        if self._pipeline is None:
            return sample
        # One generator for all: `set_random_seed` gives each its own from the same seed, so that all draw the same
        # number when they decide whether to apply, and of two transforms the rarer never comes alone.
        self._pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done: dict[str, Any] = self._pipeline(**sample)
        return {**done, "image": np.ascontiguousarray(done["image"])}


def _construct(kind: Any, options: dict[str, Any], where: str) -> Any:
    """Make a transform; albumentations only warns about options it does not know, a user wants an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return kind(**options)
        except (TypeError, ValueError, UserWarning) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{where}: albumentations does not accept {options!r}: {reason}") from None
