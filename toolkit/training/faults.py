"""What stops a training through no fault of its code, told in one sentence that says how to go on."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import UserError
from toolkit.training.checkpoint_io import CheckpointFiles
from toolkit.training.interrupts import NAMES, Stopped, signal_behind

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


@contextlib.contextmanager
def told(files: CheckpointFiles) -> Iterator[None]:
    """Turn what stops the block into a ``UserError``; what is a bug passes as it is.

    Ctrl-C leaves as ``KeyboardInterrupt``, SIGTERM as ``SystemExit``, once the log says how to go on.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, Stopped) as error:
        number = signal_behind(error)
        if number is None:
            raise
        log.info("stopped by %s; %s", NAMES[number], files.going_on())
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number) from None
    except OSError as error:
        sentence = _disk(error, files)
        if sentence is None:
            raise
        raise UserError(sentence) from error


def _disk(error: OSError, files: CheckpointFiles) -> str | None:
    """The sentence for a file that could not be written, unless the error is of another kind."""
    path = Path(error.filename or files.run.path)
    if error.errno not in DISK_FAULTS and not path.is_relative_to(files.run.path):
        return None
    remedy = DISK_FAULTS.get(error.errno or 0, "make it writable")
    free = shutil.disk_usage(files.run.path).free / 2**20 if files.run.path.is_dir() else 0
    kept = "" if files.step is None else f"the resume point of step {files.step} is intact; "
    return (
        f"{path}: cannot be written ({error.strerror}; {free:.0f} MB are free there); {kept}{remedy}, then"
        f" {files.going_on()}"
    )
