"""Training detectors: mosaics and zooms, the YOLOX loss, COCO's AP on the validation pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import ops
from ops import Placement
from toolkit.data.table import BoxSample, Table
from toolkit.drawing import draw_detections
from toolkit.errors import UserError
from toolkit.evaluation.coco_metrics import (
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    SCORE_THRESHOLD,
    Detections,
    match_detections,
    summarise,
)
from toolkit.grouping import fault_of
from toolkit.training.augment import Labelled, compose
from toolkit.training.dataset import TrainingSet
from toolkit.training.module import TaskModule
from toolkit.training.network import preprocessing_of, training_size
from toolkit.training.task import RGB, TrainingTask
from zoo.yolox_loss import yolox_loss


class Boxes(NamedTuple):
    """The true boxes of one picture in input pixels: float32 [N, 4] xyxy and int64 [N]; of a batch, lists of them."""

    boxes: Any
    class_ids: Any


class DetectionSet(TrainingSet[BoxSample]):
    """Pictures with boxes, zoomed, four in one, changed by the albumentations list."""

    boxes = True

    def labelled(self, index: int) -> Labelled:
        """One picture with its boxes, as it lies on disk; crowd boxes are not learnt."""
        sample = self.table.samples[index]
        one = ~sample.crowd
        return Labelled(self.pictures[index], sample.boxes[one], sample.class_ids[one])

    def augmented(self, epoch: int, index: int, rng: np.random.Generator) -> Labelled:
        """The picture as this epoch trains on it: uint8 at the network's input size."""
        augment, size = self.config.augment, self.preprocessing.input_size
        members = [index]
        closing = epoch >= self.config.train.epochs - augment.mosaic.off_epochs
        if rng.random() < augment.mosaic.probability and not closing:
            members += rng.integers(len(self), size=3).tolist()
        sample = compose([self.labelled(m) for m in members], size, self.preprocessing.fill, augment.zoom, rng)
        done = self.albumentations(
            int(rng.integers(2**31)), image=sample.image, bboxes=sample.boxes, class_ids=sample.class_ids
        )
        boxes = np.asarray(done["bboxes"], np.float32).reshape(-1, 4)
        return Labelled(done["image"], boxes, np.asarray(done["class_ids"], np.int64).reshape(-1))

    def example(self, epoch: int, index: int, rng: np.random.Generator, out: NDArray[np.float32]) -> Boxes:
        sample = self.augmented(epoch, index, rng)
        self.preprocessing.apply(sample.image, out)
        return Boxes(sample.boxes, sample.class_ids)

    @staticmethod
    def stack(targets: Sequence[Boxes]) -> Boxes:
        return Boxes([target.boxes for target in targets], [target.class_ids for target in targets])


class DetectionModule(TaskModule):
    """A detector in training."""

    def loss(self, raw: Tensor, targets: Boxes) -> dict[str, Tensor]:
        return yolox_loss(
            raw,
            targets.boxes,
            targets.class_ids,
            input_size=training_size(self.config),
            strides=self.network.strides,  # type: ignore[arg-type]
            ranks=self.processes.ranks,
        )

    def answer(self, raw: NDArray[np.float32], placement: Placement, index: int) -> Detections:
        size = self.validation.samples[index].size
        return Detections(
            *ops.decode_detections(
                raw,
                input_size=preprocessing_of(self.config).size_for(*size),
                strides=self.network.strides,  # type: ignore[arg-type]
                placement=placement,
                image_size=size,
                score_threshold=SCORE_THRESHOLD,
                iou_threshold=IOU_THRESHOLD,
                max_detections=MAX_DETECTIONS,
            )
        )

    def numbers(self, answers: list[Detections]) -> dict[str, float]:
        measured = summarise(match_detections(self.validation, answers), self.validation.class_names)
        return {name: float(measured[name] or 0.0) for name in TASK.numbers}


def draw_target(image: RGB, target: Boxes, class_names: tuple[str, ...]) -> RGB:
    """The boxes with their labels."""
    labels = [class_names[class_id] for class_id in target.class_ids]
    return draw_detections(image, target.boxes, labels, None, target.class_ids)


def check(config: Any, table: Table[BoxSample]) -> None:
    """Groups and bins must speak of the table's classes."""
    for groups, key, noun in (
        (config.measures.groups, "measures.groups", "group"),
        (config.postprocess.bins, "postprocess.bins", "bin"),
    ):
        if fault := fault_of(groups, table.class_names, key, noun):
            raise UserError(fault)


TASK = TrainingTask(
    training_set=DetectionSet,
    module=DetectionModule,
    parts=("box", "objectness", "classes", "positives"),
    numbers=("AP", "AP50", "AP75", "AR100"),
    draw_target=draw_target,
    check=check,
)
