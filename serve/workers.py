"""The threads in which everything is computed: so many and no more, each taking the most urgent work that there is.

A run of the network goes first, that no engine stands idle; then what is nearest to its answer, so that little is held
on the way. A lone picture stays in one thread from its bytes to its answer. They know nothing of pictures or models.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

log = logging.getLogger("serve")


class Stage(Enum):
    """What work is for, in the order in which it is taken."""

    RUN = "run"
    FINISH = "finish"
    PREPARE = "prepare"


class Source(Protocol):
    """Where work comes from; its methods are called with the lock of `Workers` held, and return at once."""

    def next(self, stage: Stage, now: float) -> Callable[[], None] | None:
        """Work of that stage that may start now, taken out."""

    def pending(self) -> bool:
        """Whether anything is left that may become work."""

    def wake(self) -> float:
        """The time of ``time.monotonic`` at which `next` may answer otherwise by itself; infinity for never."""


class Workers:
    """Threads that serve several sources in turn. ``changed`` guards all of them, and is told of new work."""

    def __init__(self, threads: int) -> None:
        self.changed = threading.Condition()
        self._sources: deque[Source] = deque()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.grow(threads)

    def grow(self, threads: int) -> None:
        """Have at least so many."""
        while len(self._threads) < threads:
            name = f"predict_{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()

    def add(self, source: Source) -> None:
        """Take work from ``source`` too."""
        with self.changed:
            self._sources.append(source)
            self.changed.notify_all()

    def remove(self, source: Source) -> None:
        """Take no more from ``source``."""
        with self.changed:
            self._sources.remove(source)

    def close(self) -> None:
        """Start nothing more; what runs is left to end."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def _work(self) -> None:
        while (job := self._wait_for_work()) is not None:
            try:
                job()
            except Exception:  # jobs tell their own callers; this one could not, and the thread must go on
                log.exception("a worker thread met a fault")
            job = None  # it holds a picture, and the next may come late

    def _wait_for_work(self) -> Callable[[], None] | None:
        with self.changed:
            while not self._closed:
                job = self._next(time.monotonic())
                if job is not None:
                    if any(source.pending() for source in self._sources):
                        self.changed.notify()  # somebody must look after what is left
                    return job
                wake = min((source.wake() for source in self._sources), default=math.inf)
                self.changed.wait(None if wake == math.inf else max(0.0, wake - time.monotonic()))
            return None

    def _next(self, now: float) -> Callable[[], None] | None:
        for stage in Stage:
            for source in self._sources:
                if (job := source.next(stage, now)) is not None:
                    self._sources.remove(source)
                    self._sources.append(source)  # the others are asked first next time
                    return job
        return None
