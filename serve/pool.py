"""A thread pool whose queue has an end: work beyond it is refused at once, with an estimate of when to come back.

It does not batch and knows no deadlines; both need the same door (`run`) and can stand behind it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Answer = TypeVar("Answer")

# Weight of the newest run in the running mean of durations: about the last ten runs count.
_NEWEST = 0.2


class PoolFullError(Exception):
    """Every thread is busy and the queue is full; `retry_after` is the expected wait in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the pool is full; retry in {retry_after} s")
        self.retry_after = retry_after


class BoundedPool:
    """`workers` threads and room for `waiting` more calls. All methods are called on one event loop."""

    def __init__(self, workers: int, waiting: int) -> None:
        if workers < 1 or waiting < 0:
            raise ValueError(f"expected workers >= 1 and waiting >= 0, got {workers} and {waiting}")
        self.workers = workers
        self.waiting = waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="predict")
        self._inside = 0
        self._mean_seconds = 0.0

    @property
    def inside(self) -> int:
        """Calls that run or wait now."""
        return self._inside

    @property
    def room(self) -> int:
        """How many more calls would be taken now."""
        return self.workers + self.waiting - self._inside

    def require_room(self) -> None:
        """Raise `PoolFullError` when a call made now would be refused."""
        if self._inside >= self.workers + self.waiting:
            raise PoolFullError(max(1, math.ceil(self._mean_seconds * self._inside / self.workers)))

    async def run(self, function: Callable[[], Answer]) -> Answer:
        """Run ``function`` in the pool and return what it returns or raise what it raises."""
        self.require_room()
        loop = asyncio.get_running_loop()
        self._inside += 1
        future = self._threads.submit(_timed, function)
        # The place is given back when the thread is done, not when the caller stops waiting:
        # a cancelled caller leaves a thread that is still busy.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        seconds, answer = await asyncio.wrap_future(future)
        self._mean_seconds += (seconds - self._mean_seconds) * (_NEWEST if self._mean_seconds else 1.0)
        return answer

    def close(self) -> None:
        """Refuse new work and drop what waits; what runs is left to end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _leave(self) -> None:
        self._inside -= 1


def _timed(function: Callable[[], Answer]) -> tuple[float, Answer]:
    started = time.perf_counter()
    answer = function()
    return time.perf_counter() - started, answer
