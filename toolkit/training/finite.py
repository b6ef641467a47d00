"""A loss or gradient that is not finite stops the training before it is saved, and leaves what reruns that step."""

from __future__ import annotations

import io
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from toolkit.config import yaml_text
from toolkit.training.checkpoint_io import not_finite, write_whole
from toolkit.training.faults import Guard

FAULTS = "faults"  # folder of a run
NAMED = 6  # pictures in the sentence; the file has all


@dataclass
class Step:
    """A batch in work: what it was computed from, and what came of it as far as that is known."""

    epoch: int
    batch_index: int
    number: int  # of the optimizer step that it belongs to, from 1
    batch: Any
    weights: dict[str, Tensor]  # copies of those that the step changes before it is looked at
    parts: dict[str, Tensor] = field(default_factory=dict)
    norm: Tensor | None = None  # the gradient's, unless more batches follow before the optimizer's step
    seen: Tensor | None = None  # loss and norm, on their way from the GPU
    arrived: Any = None

    def values(self) -> list[float]:
        """Loss and norm, waited for."""
        if self.arrived is not None:
            self.arrived.synchronize()
        assert self.seen is not None
        return self.seen.tolist()


class FiniteLoss(Callback):
    """Looks at the loss and the gradient of every batch.

    On the CPU that is before the optimizer's step. On a GPU it would have to wait for the numbers, so it looks at them
    one batch later, when they are there, and keeps copies of the weights till then; what is saved is looked at before.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.late = False
        self._steps: deque[Step] = deque()
        self._copies: deque[dict[str, Tensor]] = deque()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.late = is_late(pl_module.device)
        changed = dict(pl_module.network.named_buffers())
        if self.late:
            changed |= dict(pl_module.network.named_parameters())
        self._changed = {name: tensor.detach() for name, tensor in changed.items() if tensor.is_floating_point()}
        # One batch is in work while another is on its way.
        self._copies = deque({name: torch.empty_like(t) for name, t in self._changed.items()} for _ in range(2))

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        weights = self._copies[0]
        self._copies.rotate()
        if weights:
            torch._foreach_copy_(list(weights.values()), list(self._changed.values()))
        self._steps.append(Step(trainer.current_epoch, batch_idx, trainer.global_step + 1, batch, weights))

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Tensor) -> None:
        step = self._steps[-1]
        step.parts = pl_module.parts
        if not self.late:
            self._check(trainer, pl_module, step, [float(loss.detach())])

    def gradient_known(self, trainer: pl.Trainer, pl_module: Any, norm: Tensor) -> None:
        """Called with the norm of the gradient, before the optimizer's step."""
        step = self._steps[-1]
        step.norm = norm
        if not self.late:
            self._check(trainer, pl_module, step, [float(norm)])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.late:
            self._steps.clear()
            return
        step = self._steps[-1]
        found = [step.parts["loss"], *([] if step.norm is None else [step.norm])]
        step.seen = torch.stack([value.detach().float() for value in found]).to("cpu", non_blocking=True)
        if pl_module.device.type == "cuda":
            step.arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            step.arrived.record()
        self._check_arrived(trainer, pl_module, still=1)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self._check_arrived(trainer, pl_module, still=0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._check_arrived(trainer, pl_module, still=0)

    def _check_arrived(self, trainer: pl.Trainer, pl_module: Any, still: int) -> None:
        """Look at all batches but the last ``still``."""
        while len(self._steps) > still:
            step = self._steps.popleft()
            self._check(trainer, pl_module, step, step.values())

    def _check(self, trainer: pl.Trainer, pl_module: Any, step: Step, values: list[float]) -> None:
        if np.isfinite(values).all():
            return
        weights = {**pl_module.network.state_dict(), **step.weights}
        samples = trainer.train_dataloader.training_set.table.samples  # type: ignore[union-attr]
        pictures = [samples[index] for index in step.batch.indices]
        rank = f"_rank{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = self.guard.run.path / FAULTS / f"nan_step_{step.number}{rank}.pt"
        left = {
            "step": step.number,
            "epoch": step.epoch,
            "batch": step.batch_index,
            "rank": trainer.global_rank,
            "processes": trainer.world_size,
            "config": yaml_text.dump(self.guard.config.model_dump(mode="json")),
            "class_names": list(pl_module.validation.class_names),
            "facts": pl_module.facts,
            "device": pl_module.device.type,
            "parts": {name: float(value) for name, value in step.parts.items()},
            "gradient_norm": None if step.norm is None else float(step.norm),
            "pictures": [str(sample.path) for sample in pictures],
            "images": step.batch.images,
            "targets": plain(step.batch.targets),
            "network": weights,
        }
        content = io.BytesIO()
        torch.save(left, content)
        path.parent.mkdir(parents=True, exist_ok=True)  # the run directory lies on the first machine alone
        write_whole(path, content.getbuffer())
        # All processes come here together, for they have one loss and gradient; none ends before all files lie there.
        shares = self.guard.processes.everyones([sample.name for sample in pictures])
        raise self.guard.processes.told_once(self._sentence(left, [name for share in shares for name in share], path))

    def _sentence(self, left: dict[str, Any], pictures: list[str], path: Path) -> str:
        named = ", ".join(pictures[:NAMED]) + (f" and {len(pictures) - NAMED} more" if len(pictures) > NAMED else "")
        look = f"of the pictures {named}; look at them and their labels, or"
        spoilt = list(not_finite(left["network"], "network"))
        bad = [f"{name} {value}" for name, value in left["parts"].items() if not np.isfinite(value)]
        if spoilt:
            more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
            what = f"the weights are not finite since the step before ({spoilt[0]}{more});"
        elif bad:
            what = f"the loss is not finite ({', '.join(bad)}), {look}"
        else:
            what = f"the gradient is not finite, though the loss is ({left['parts']['loss']:.4g}), {look}"
        again = "" if self.late else ", and on the CPU comes to the same"
        return (
            f"step {left['step']} (epoch {left['epoch'] + 1}): {what} train anew with a lower train.optimizer.lr"
            f" ({self.guard.config.train.optimizer.lr:g} now); `python -m toolkit.training.repro {path}` runs that step"
            f" again, {self.guard.files.going_on()}{again}"
        )


def is_late(device: torch.device) -> bool:
    """Whether looking at a number at once would have the processor wait for the device."""
    return device.type != "cpu"


def plain(targets: Any) -> Any:
    """Targets as tensors, lists and dicts."""
    if isinstance(targets, np.ndarray):
        return torch.from_numpy(targets)
    if hasattr(targets, "_asdict"):
        return {name: plain(value) for name, value in targets._asdict().items()}
    return [plain(each) for each in targets] if isinstance(targets, list | tuple) else targets
