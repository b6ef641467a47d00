"""The Lightning module of detection: loss, validation AP, optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

import ops
from ops.letterbox import place
from toolkit.config.schema import DetectionConfig
from toolkit.data.table import Table
from toolkit.evaluation.coco_metrics import (
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    SCORE_THRESHOLD,
    Detections,
    evaluator,
    summarise,
)
from toolkit.training.dataset import Batch
from zoo.yolox import YOLOX
from zoo.yolox_loss import yolox_loss


class DetectionModule(pl.LightningModule):
    """A detector in training. ``network`` is what is exported; everything else stays here."""

    def __init__(self, network: YOLOX, config: DetectionConfig, validation: Table) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.validation = validation
        self._found: dict[int, Detections] = {}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the pictures; the boxes stay on the host, where the assigner reads them."""
        if isinstance(batch, Batch):
            return batch._replace(images=_to_device(batch.images, device))
        pixels, indices = batch
        return _to_device(pixels, device), indices

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        parts = yolox_loss(
            self.network(batch.images),
            batch.boxes,
            batch.class_ids,
            input_size=self.config.model.input_size,
            strides=self.network.strides,
        )
        shown = {f"train/{name}": value for name, value in parts.items()}
        self.log_dict(shown, on_step=False, on_epoch=True, batch_size=len(batch.images))
        self.log("loss", parts["loss"].detach(), prog_bar=True, logger=False)
        return parts["loss"]

    def validation_step(self, batch: tuple[Tensor, list[int]], batch_idx: int) -> None:
        pixels, indices = batch
        raw = self.network(pixels).float().cpu().numpy()
        size, center = self.config.model.input_size, self.config.preprocess.center
        for row, index in zip(raw, indices, strict=True):
            height, width = self.validation.samples[index].size
            boxes, scores, class_ids = ops.decode_detections(
                np.ascontiguousarray(row),
                input_size=size,
                strides=self.network.strides,
                placement=place(height, width, size, center)[0],
                image_size=(height, width),
                score_threshold=SCORE_THRESHOLD,
                iou_threshold=IOU_THRESHOLD,
                max_detections=MAX_DETECTIONS,
            )
            self._found[index] = Detections(boxes, scores, class_ids)

    def on_validation_epoch_end(self) -> None:
        if len(self._found) == len(self.validation):  # the sanity check before training sees a part only
            numbers = summarise(evaluator(self.validation, [self._found[i] for i in range(len(self.validation))]))
            for name in ("AP", "AP50", "AP75", "AR100"):
                self.log(f"val/{name}", float(numbers[name] or 0.0), prog_bar=name in ("AP", "AP50"))
        self._found.clear()

    def configure_optimizers(self) -> Any:
        settings = self.config.train.optimizer
        kept = {"params": [p for p in self.network.parameters() if p.ndim <= 1], "weight_decay": 0.0}
        decayed = {"params": [p for p in self.network.parameters() if p.ndim > 1]}
        options = settings.model_dump(exclude={"name"})
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[settings.name]
        optimizer = kind([decayed, kept], **options)
        train = self.config.train
        total = int(self.trainer.estimated_stepping_batches)
        schedule = warmup_cosine(total, round(total * train.warmup_epochs / train.epochs), train.min_lr_ratio)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _to_device(pixels: Tensor, device: torch.device) -> Tensor:
    # Depthwise convolutions run faster on the CPU with the channels last, and the fused batch norm asks for it.
    return pixels.to(device, memory_format=torch.channels_last, non_blocking=True)


def warmup_cosine(total: int, warmup: int, floor: float) -> Any:
    """Return the factor of the highest learning rate at each step: linear rise, then half a cosine to ``floor``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / max(total - warmup, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
