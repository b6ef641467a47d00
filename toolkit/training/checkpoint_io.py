"""How checkpoints get to the disk: whole or not at all, and never with weights that are not finite."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor

from toolkit.errors import UserError
from toolkit.training.run_folder import Run

# What a checkpoint holds of the network and its optimizer; the rest is bookkeeping, where an infinity may be meant.
WEIGHTS = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints beside the ones before and puts them in their place once they lie on the disk.

    ``step`` is how many optimizer steps the resume point on the disk holds, ``None`` where there is none yet;
    `ResumePoint` keeps it, also in the processes that write nothing.
    """

    def __init__(self, run: Run, step: int | None) -> None:
        self.run = run
        self.step = step

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Raises ``UserError`` where a weight is not finite, ``OSError`` where the file cannot be written."""
        step = checkpoint["global_step"]
        spoilt = [name for key in WEIGHTS for name in not_finite(checkpoint.get(key), key)]
        if spoilt:
            more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
            raise UserError(
                f"step {step}: weights that are not finite ({spoilt[0]}{more}) are not saved; lower train.optimizer.lr"
                f" and train anew; {self.going_on()}"
            )
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_whole(Path(path), content.getbuffer())

    def going_on(self) -> str:
        """What `toolkit train --resume` would do now."""
        where = (
            "begins anew, as there is no resume point yet" if self.step is None else f"goes on after step {self.step}"
        )
        return f"`toolkit train --resume {self.run}` {where}"


def not_finite(value: Any, name: str) -> Iterator[str]:
    """The names of the tensors in nested dicts and lists that hold an infinity or what is not a number."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            yield name
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from not_finite(part, f"{name}.{key}")


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that whatever happens either the one before or the new one is there, whole.

    Raises ``OSError``, its ``filename`` set, when the disk does not take it; then the file before is as it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Have the renaming on the disk too. Some network file systems cannot; the file itself is there by then."""
    handle = os.open(folder, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.fsync(handle)
    os.close(handle)
