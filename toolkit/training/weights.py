"""The weights in a checkpoint, and their hash: two runs with the same hash are the same network, bit for bit."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import UserError

NETWORK = "network."


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a training saved, on the CPU; tensors and plain data only, no code is run. A broken file is a UserError."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive, as torch writes them")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: the checkpoint cannot be read ({reason}); train again, or take another one") from None
    return checkpoint


def network_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's tensors as they are exported: their moving average where the run keeps one."""
    state = checkpoint["state_dict"]
    return {name.removeprefix(NETWORK): value for name, value in state.items() if name.startswith(NETWORK)}


def weights_sha256(tensors: Mapping[str, Tensor | NDArray[Any]]) -> str:
    """SHA-256 in hexadecimal over name, type, shape and bytes (little-endian, C order) of each tensor, by name."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, order="C"))
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name}\0{kind}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
