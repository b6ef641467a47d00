"""What stops a training through no fault of its code, told in one sentence that says how to go on."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from toolkit.config.schema import CommonConfig
from toolkit.errors import PictureError, UserError
from toolkit.training.checkpoint_io import CheckpointFiles
from toolkit.training.interrupts import NAMES, Stopped, signal_behind
from toolkit.training.memory import memory_sentence, out_of_memory
from toolkit.training.processes import ALONE, Processes
from toolkit.training.run_folder import Run
from toolkit.training.workers import WorkerDied

log = logging.getLogger("toolkit")

# What a disk answers when it takes no more, and what to do about it.
NO_ROOM = "make room there"
DISK_FAULTS = {
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`)",
    errno.EROFS: "make it writable",
    errno.EIO: "look after the disk",
}


class Place(Callback):
    """Where in a training something was raised; ``str(place)`` says it to a person."""

    def __init__(self) -> None:
        self.text = "before the first step"

    def __str__(self) -> str:
        return self.text

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        step, epoch = trainer.global_step, trainer.current_epoch + 1
        self.text = f"in the validation after step {step}" if trainer.validating else f"in step {step + 1}"
        self.text += f" (epoch {epoch})"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.text = "after the last step"


class Guard:
    """Stands by a training: knows its files and the place it is at, and tells what stops it."""

    def __init__(self, run: Run, config: CommonConfig, step: int | None, processes: Processes = ALONE) -> None:
        self.run = run
        self.config = config
        self.processes = processes
        self.files = CheckpointFiles(run, step)
        self.place = Place()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn what stops the block into a ``UserError``; what is a bug passes as it is.

        Ctrl-C leaves as ``KeyboardInterrupt``, SIGTERM as ``SystemExit``, once the log says how to go on.
        """
        try:
            yield
        except (KeyboardInterrupt, SystemExit, Stopped) as error:
            number = signal_behind(error)
            if number is None:
                raise
            log.info("stopped by %s; %s", NAMES[number], self.files.going_on())
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number) from None
        except Exception as error:
            if self.processes.notice and isinstance(error, RuntimeError):
                self.processes.notice.raise_cause(error, self.files.going_on())
            sentence = self._sentence(error)
            if sentence is None:
                raise
            raise UserError(f"{sentence}, then {self.files.going_on()}") from error

    def _sentence(self, error: Exception) -> str | None:
        """What happened and what to do before going on; ``None`` for a bug, and for what is a sentence already."""
        if isinstance(error, PictureError):
            return f"{error}; it was whole when the training began: put it back"
        if isinstance(error, WorkerDied):
            return str(error)
        if out_of_memory(error):
            return memory_sentence(error, self.config, str(self.place))
        return self._disk(error) if isinstance(error, OSError) else None

    def _disk(self, error: OSError) -> str | None:
        """For a file that could not be written, unless the error is of another kind."""
        path = Path(error.filename or self.run.path)
        if error.errno not in DISK_FAULTS and not path.is_relative_to(self.run.path):
            return None
        remedy = DISK_FAULTS.get(error.errno or 0, "make it writable")
        free = shutil.disk_usage(self.run.path).free / 2**20 if self.run.path.is_dir() else 0
        kept = "" if self.files.step is None else f"the resume point of step {self.files.step} is intact; "
        return f"{path}: cannot be written ({error.strerror}; {free:.0f} MB are free there); {kept}{remedy}"
