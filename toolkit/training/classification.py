"""Training classifiers: mixed pictures, cross-entropy, top-1 on the validation pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ops import Placement
from toolkit.data.table import LabelSample, Table
from toolkit.drawing import draw_classification
from toolkit.errors import UserError
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.grouping import fault_of
from toolkit.training.dataset import TrainingSet
from toolkit.training.module import TaskModule
from toolkit.training.task import RGB, TrainingTask
from zoo.classification_loss import classification_loss

Pixels = NDArray[np.float32]


class ClassificationSet(TrainingSet[LabelSample]):
    """Pictures with a class, changed by the albumentations list, some laid over or put into another."""

    def example(self, epoch: int, index: int, rng: np.random.Generator, out: Pixels) -> Pixels:
        target = self._single(index, rng, out)
        augment = self.config.augment
        for mix, probability, alpha in (
            (_mixup, augment.mixup.probability, augment.mixup.alpha),
            (_cutmix, augment.cutmix.probability, augment.cutmix.alpha),
        ):
            if rng.random() < probability:
                other = np.empty_like(out)
                its_target = self._single(int(rng.integers(len(self))), rng, other)
                share = mix(out, other, float(rng.beta(alpha, alpha)), rng)
                target = (target * share + its_target * (1 - share)).astype(np.float32)
        return target

    def _single(self, index: int, rng: np.random.Generator, out: Pixels) -> Pixels:
        """Write the picture by itself into ``out`` and return its class, one-hot."""
        changed = self.albumentations(int(rng.integers(2**31)), image=self.pictures[index])
        self.preprocessing.apply(changed["image"], out)
        target = np.zeros(len(self.table.class_names), np.float32)
        target[self.table.samples[index].class_id] = 1
        return target


def _mixup(pixels: Pixels, other: Pixels, share: float, rng: np.random.Generator) -> float:
    """Lay ``other`` over ``pixels``, both in place; return the share of the first."""
    pixels *= np.float32(share)
    other *= np.float32(1 - share)
    pixels += other
    return share


def _cutmix(pixels: Pixels, other: Pixels, share: float, rng: np.random.Generator) -> float:
    """Put a box of ``other`` into ``pixels``, in place; return the share that is left of the first."""
    height, width = pixels.shape[1:]
    cut = math.sqrt(1 - share)
    centre = rng.random(2)
    top, bottom = (int(np.clip((centre[0] + side * cut / 2) * height, 0, height)) for side in (-1, 1))
    left, right = (int(np.clip((centre[1] + side * cut / 2) * width, 0, width)) for side in (-1, 1))
    pixels[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    return float(1 - (bottom - top) * (right - left) / (height * width))


class ClassificationModule(TaskModule):
    """A classifier in training."""

    def facts_of(self, training: Table[LabelSample]) -> dict[str, Any]:
        if self.config.loss.class_weights != "balanced":
            return {"class_weights": None}
        counts = np.array([row["train"] for row in training.counts().values()], np.float64)
        return {"class_weights": (counts.sum() / np.maximum(counts, 1) / len(counts)).tolist()}

    def loss(self, raw: Tensor, targets: Tensor) -> dict[str, Tensor]:
        settings = self.config.loss
        return classification_loss(
            raw,
            targets,
            class_weights=self.facts["class_weights"],
            smoothing=settings.smoothing,
            focal_gamma=settings.focal_gamma,
            ranks=self.processes.ranks,
        )

    def answer(self, raw: NDArray[np.float32], placement: Placement, index: int) -> NDArray[np.float64]:
        powers = np.exp(raw.astype(np.float64) - raw.max())
        probabilities: NDArray[np.float64] = powers / powers.sum()
        return probabilities

    def numbers(self, answers: list[NDArray[np.float64]]) -> dict[str, float]:
        truth = np.array([sample.class_id for sample in self.validation.samples])
        measured = measure_classification(truth, np.stack(answers), self.validation.class_names)
        return {
            "top1": measured["top1"],
            "macro_f1": float(measured["macro_f1"] or 0.0),
            "negative_log_likelihood": measured["calibration"]["negative_log_likelihood"],
        }


def draw_target(image: RGB, target: Pixels, class_names: tuple[str, ...]) -> RGB:
    """The share of each class."""
    return draw_classification(image, target, class_names)


def check(config: Any, table: Table[LabelSample]) -> None:
    """Bins must speak of the table's classes."""
    if fault := fault_of(config.postprocess.bins, table.class_names, "postprocess.bins", "bin"):
        raise UserError(fault)


TASK = TrainingTask(
    training_set=ClassificationSet,
    module=ClassificationModule,
    parts=("cross_entropy", "accuracy"),
    numbers=("top1", "macro_f1", "negative_log_likelihood"),
    draw_target=draw_target,
    check=check,
)
