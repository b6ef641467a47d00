"""The processes that prepare batches: what they do with signals, when they end, and what they leave behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing import forkserver
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.data.table import Sample
from toolkit.training import desk
from toolkit.training.own_process import keep_memory
from toolkit.training.picture_cache import SharedBytes
from toolkit.training.task import TASKS

GRACE = 10.0  # seconds that a worker goes on after a SIGTERM, if nobody ends it before


def start_fork_server(task: str) -> None:
    """Start what workers are forked from, so that it and they ignore Ctrl-C and SIGTERM from their birth.

    A terminal, or a system that shuts down, sends these to every process, but the training still needs the workers to
    end its step. They end with it. It imports once what every worker of the task would import for itself.
    """
    forkserver.set_forkserver_preload(["__main__", TASKS[task].split(":")[0], "albumentations"])
    if threading.current_thread() is not threading.main_thread():
        return  # may not change what signals do
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WorkerDied(Exception):
    """A loader worker died; the message says over which picture, and what to do."""


class Desks:
    """Where each worker of a loader notes what it works on. Called in the worker before its first batch."""

    def __init__(self, workers: int) -> None:
        self._shared = SharedBytes(workers * desk.FIELDS * np.dtype(np.int64).itemsize)

    @property
    def rows(self) -> NDArray[np.int64]:
        """[workers, desk.FIELDS], the same memory in all processes."""
        return self._shared.array.view(np.int64).reshape(-1, desk.FIELDS)

    def __call__(self, worker: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # To a whole group of processes it is sent when a machine is shut down: the training ends its step with their
        # help.
        signal.signal(signal.SIGTERM, lambda *_: threading.Timer(GRACE, os._exit, (1,)).start())
        _end_with_parent()
        keep_memory()
        desk.take(self.rows[worker])

    def told(self, worker: int, samples: Sequence[Sample]) -> str:
        """What the worker was at, for a person."""
        epoch, index, opened = self.rows[worker].tolist()
        if not index:
            return "it was starting"
        last = f", having opened {samples[opened - 1].path} last" if opened not in (0, index) else ""
        return f"it made {samples[index - 1].path} of epoch {epoch + 1}{last}"


def death(code: int, doing: str, settings: Any) -> str:
    """The sentence for a worker of exit code ``code``, as `multiprocessing` counts; ``settings`` is the data block."""
    if code >= 0:
        main = "; a script that trains with data.workers must do so under `if __name__ == '__main__':`"
        return f"a loader worker ended (exit code {code}) while {doing}{main if doing == 'it was starting' else ''}"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return (
            f"a loader worker was killed (SIGKILL) while {doing}, most likely by the system because memory ran out;"
            f" lower data.workers ({settings.workers} now) or data.cache_mb ({settings.cache_mb} now)"
        )
    if -code == signal.SIGBUS:
        return (
            f"a loader worker crashed (SIGBUS) while {doing}, most likely because /dev/shm, over which batches travel,"
            f" is full; enlarge it (Docker: --shm-size) or lower data.workers ({settings.workers} now)"
        )
    return (
        f"a loader worker crashed ({name}) while {doing}; look at that picture and at augment.albumentations, and see"
        " with data.workers=0 whether the training process crashes too"
    )


def _end_with_parent() -> None:
    """Make this worker end when the training process dies, however that happens.

    Its own parent is the fork server, which lives as long as its children do: torch's check never sees it go.
    """

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
