"""Training segmentation networks: crops to what is labelled, pixel loss and Dice, Dice on the validation pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import ops
from ops import Placement
from toolkit.config.registry import LOSSES, resolve
from toolkit.data.mask_files import read_mask
from toolkit.data.table import MaskSample, Table
from toolkit.drawing import draw_segmentation
from toolkit.errors import UserError, suggest
from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation
from toolkit.preprocess import Preprocessing
from toolkit.segmentation_result import background_of
from toolkit.training.dataset import TrainingSet
from toolkit.training.module import TaskModule
from toolkit.training.picture_cache import PictureCache
from toolkit.training.task import RGB, TrainingTask

Mask = NDArray[np.uint8]
IGNORED = 255  # in a mask: not labelled, counts neither way


class SegmentationSet(TrainingSet[MaskSample]):
    """Pictures with a class for each pixel, cropped and changed by the albumentations list."""

    def __init__(self, table: Table[MaskSample], config: Any, preprocessing: Preprocessing) -> None:
        super().__init__(table, config, preprocessing)
        # A mask has a third of its picture's bytes, so both have room for the same number.
        self.pictures = PictureCache(table.samples, config.data.cache_mb * 3 / 4)
        self.masks = PictureCache(table.samples, config.data.cache_mb / 4, read_mask, channels=0)

    def example(self, epoch: int, index: int, rng: np.random.Generator, out: NDArray[np.float32]) -> Mask:
        image, mask = self.pictures[index], self.masks[index]
        crop = self.config.augment.crop_to_labels
        if rng.random() < crop.probability:
            rows, columns = labelled_part(mask, crop.margin, rng)
            image, mask = np.ascontiguousarray(image[rows, columns]), np.ascontiguousarray(mask[rows, columns])
        done = self.albumentations(int(rng.integers(2**31)), image=image, mask=mask)
        _, placement = self.preprocessing.apply(done["image"], out)
        return place_mask(np.asarray(done["mask"]), placement, self.preprocessing.input_size)


def labelled_part(mask: Mask, margin: tuple[float, float], rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns around everything that is not background, with a random margin; all of an empty mask."""
    parts = []
    for axis in (1, 0):
        used = np.flatnonzero(((mask > 0) & (mask != IGNORED)).any(axis))
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, mask.shape[1 - axis])
        before, after = np.ceil(rng.uniform(*margin, 2) * (high - low)).astype(int).tolist()
        parts.append(slice(max(0, low - before), min(mask.shape[1 - axis], high + after)))
    return parts[0], parts[1]


def place_mask(mask: Mask, placement: Placement, size: tuple[int, int]) -> Mask:
    """The class ids uint8 [H, W] as they lie in an input of ``size``: the nearest pixel's; not counted beside it."""
    rows = np.floor((np.arange(size[0]) + 0.5 - placement.top) / placement.scale_y).astype(np.int64)
    columns = np.floor((np.arange(size[1]) + 0.5 - placement.left) / placement.scale_x).astype(np.int64)
    beside_rows = (rows < 0) | (rows >= mask.shape[0])
    beside_columns = (columns < 0) | (columns >= mask.shape[1])
    placed = mask[np.where(beside_rows, 0, rows)[:, None], np.where(beside_columns, 0, columns)[None, :]]
    placed[beside_rows] = IGNORED
    placed[:, beside_columns] = IGNORED
    return placed


class SegmentationModule(TaskModule):
    """A segmentation network in training."""

    def loss(self, raw: Tensor, targets: Tensor) -> dict[str, Tensor]:
        minimised = resolve(LOSSES["segmentation"][self.config.loss.kind])
        options = self.config.loss.model_dump()
        if self.processes.count > 1:
            options["ranks"] = self.processes.ranks
        parts: dict[str, Tensor] = minimised(raw, targets, ignore=IGNORED, **options)
        return parts

    def answer(self, raw: NDArray[np.float32], placement: Placement, index: int) -> NDArray[np.int64]:
        sample = self.validation.samples[index]
        mask = ops.argmax_resize(raw, sample.size, input_size=self.config.model.input_size, placement=placement)
        return ops.confusion_matrix(read_mask(sample), mask, len(self.validation.class_names), ignore=IGNORED)

    def numbers(self, answers: list[NDArray[np.int64]]) -> dict[str, float]:
        counts = SegmentationCounts(len(self.validation.class_names))
        for matrix in answers:
            counts.add_counted(matrix)
        measured = measure_segmentation(counts, self.validation.class_names)
        return {name: float(measured[name] or 0.0) for name in TASK.numbers}


def draw_target(image: RGB, target: Mask, class_names: tuple[str, ...]) -> RGB:
    """The classes in their colours."""
    return draw_segmentation(image, target, class_names, background=background_of(class_names))


def check(config: Any, table: Table[MaskSample]) -> None:
    """Class weights, regions and presence must speak of the table's classes."""
    names = table.class_names
    weights = config.loss.class_weights
    if weights is not None and len(weights) != len(names):
        raise UserError(
            f"loss.class_weights: expected {len(names)} numbers, for {', '.join(names)}; got {len(weights)}"
        )
    for name in config.postprocess.presence:
        if name not in names:
            raise UserError(
                f"postprocess.presence.{name}: no class is called {name!r}{suggest(name, names)};"
                f" the classes are {', '.join(names)}"
            )
    for region, parts in config.postprocess.regions.items():
        if not parts or len(set(parts)) < len(parts):
            told = ", ".join(parts) or "none"
            raise UserError(f"postprocess.regions.{region}: expected one or more different classes, got {told}")
        for part in parts:
            if part not in names:
                raise UserError(
                    f"postprocess.regions.{region}: no class is called {part!r}{suggest(part, names)};"
                    f" the classes are {', '.join(names)}"
                )


TASK = TrainingTask(
    training_set=SegmentationSet,
    module=SegmentationModule,
    parts=("pixels", "dice"),
    numbers=("mean_dice", "mean_iou", "pixel_accuracy"),
    draw_target=draw_target,
    check=check,
)
