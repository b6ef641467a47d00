"""What the Lightning modules of all tasks share: steps, validation, optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ops import Placement
from toolkit.data.table import Table
from toolkit.training.finite import FiniteLoss
from toolkit.training.loader import Batch, Checked
from toolkit.training.processes import ALONE, Processes


class TaskModule(pl.LightningModule, ABC):
    """A network in training. ``network`` is what is exported; everything else stays here.

    ``total_steps`` is how many optimizer steps the whole training has. (Lightning's own estimate would start the loader
    before the resume point has said where.)
    """

    def __init__(
        self,
        network: nn.Module,
        config: Any,
        training: Table[Any],
        validation: Table[Any],
        *,
        total_steps: int,
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.total_steps = total_steps
        self.processes = processes
        self.network = network
        self.config = config
        self.validation = validation
        self.facts = self.facts_of(training)
        self._found: dict[int, Any] = {}
        self.train()  # the trainer takes the layers in the mode that it finds them in

    def facts_of(self, training: Table[Any]) -> dict[str, Any]:
        """What the loss needs of the training table, such as class frequencies, as plain data."""
        return {}

    @abstractmethod
    def loss(self, raw: Tensor, targets: Any) -> dict[str, Tensor]:
        """The ``loss`` of a batch, and its parts for the log: of all of a batch that several processes share."""

    @abstractmethod
    def answer(self, raw: NDArray[np.float32], placement: Placement, index: int) -> Any:
        """What is kept of validation picture ``index`` (its raw output) until all are there."""

    @abstractmethod
    def numbers(self, answers: list[Any]) -> dict[str, float]:
        """What the answers to all validation pictures, in order, are worth."""

    def train(self, mode: bool = True) -> TaskModule:
        """As every module's; batch norm whose statistics are frozen normalises as in evaluation."""
        super().train(mode)
        if self.config.train.freeze_bn_statistics:
            for layer in self.network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        return self

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the pictures, and targets that are tensors; boxes stay on the host, where the assigner reads them."""
        if isinstance(batch, list):  # the parts of a validation batch
            return [self.transfer_batch_to_device(part, device, dataloader_idx) for part in batch]
        # Depthwise convolutions run faster on the CPU with the channels last, and the fused batch norm asks for it.
        pixels = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        if isinstance(getattr(batch, "targets", None), Tensor):
            batch = batch._replace(targets=batch.targets.to(device, non_blocking=True))
        return batch._replace(images=pixels)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        parts = self.loss(self.network(batch.images), batch.targets)
        self.parts = {name: value.detach() for name, value in parts.items()}
        self.log("loss", self.parts["loss"], prog_bar=True, logger=False)
        # The trainer scales the first where batches are accumulated.
        return {"loss": parts["loss"], "parts": self.parts}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip as the trainer would by itself. The norm is computed for that: so it is looked at here."""
        learnt = [p for group in optimizer.param_groups for p in group["params"]]
        if gradient_clip_val is None:
            norm = nn.utils.get_total_norm([p.grad for p in learnt if p.grad is not None])
        else:
            norm = nn.utils.clip_grad_norm_(learnt, gradient_clip_val)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FiniteLoss):
                callback.gradient_known(self.trainer, self, norm)

    def validation_step(self, batch: list[Checked], batch_idx: int) -> None:
        for part in batch:
            raw = self.network(part.images).float().cpu().numpy()
            for row, placement, index in zip(raw, part.placements, part.indices, strict=True):
                self._found[index] = self.answer(np.ascontiguousarray(row), placement, index)

    def on_validation_epoch_end(self) -> None:
        found = self.processes.gathered(self._found)
        everything = range(len(self.validation))  # of which the sanity check before training would see a part only
        numbers = self.processes.made_once(
            lambda: self.numbers([found[index] for index in everything]) if len(found) == len(everything) else {}
        )
        for position, (name, value) in enumerate(numbers.items()):
            self.log(f"val/{name}", value, prog_bar=position < 2)
        self._found.clear()

    def configure_optimizers(self) -> Any:
        settings = self.config.train.optimizer
        kept = {"params": [p for p in self.network.parameters() if p.ndim <= 1], "weight_decay": 0.0}
        decayed = {"params": [p for p in self.network.parameters() if p.ndim > 1]}
        options = settings.model_dump(exclude={"name"})
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[settings.name]
        optimizer = kind([decayed, kept], **options, fused=True)  # one pass over a tensor, not one for each operation
        train = self.config.train
        warmup = round(self.total_steps * train.warmup_epochs / train.epochs)
        schedule = warmup_cosine(self.total_steps, warmup, train.min_lr_ratio)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def warmup_cosine(total: int, warmup: int, floor: float) -> Any:
    """Return the factor of the highest learning rate at each step: linear rise, then half a cosine to ``floor``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / max(total - warmup, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor
