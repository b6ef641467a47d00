"""Which device a training takes."""

from __future__ import annotations

import torch


def training_device(wanted: str) -> torch.device:
    """The device that the trainer takes for ``train.device``."""
    accelerator = None if wanted == "cpu" else torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if accelerator is None else accelerator


def device_name(wanted: str) -> str:
    """That device, with its name where there are several kinds."""
    device = training_device(wanted)
    return torch.cuda.get_device_name() if device.type == "cuda" else device.type
