"""One serial kernel run by several threads, part by part of the work.

For kernels so long that a second, parallel version of each would take seconds more to compile: they hold no GIL, so
Python's threads run them side by side. As with parallel kernels only a lone caller does this (see `lone_caller`).
"""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ops._kernel import Kernel, lone_caller

# Starting a thread takes about as long as some thousand rows.
_PARALLEL_ROWS = 20_000
# Parts a thread: a thread that is held up, by a larger part or another process, leaves the rest to the others.
_PARTS = 4


def lanes_for(rows: int, least: int = _PARALLEL_ROWS) -> int:
    """How many parts to cut so many rows of work into: one where a second thread may not run or, up to ``least`` rows,
    does not pay."""
    threads = numba.get_num_threads()
    return _PARTS * threads if threads > 1 and rows > least and lone_caller() else 1


def in_lanes(kernel: Kernel, lanes: int, *arguments: Any) -> None:
    """Call ``kernel(lane, *arguments)`` for each lane, in the caller's thread and as many more as numba may use."""
    left, helpers = iter(range(lanes)), min(lanes, numba.get_num_threads()) - 1

    def work() -> None:
        for lane in left:  # threads share the iterator: each takes the next that is left
            kernel(lane, *arguments)

    if helpers < 1:
        work()
        return
    kernel.compile()
    with ThreadPoolExecutor(helpers) as threads:
        others = [threads.submit(work) for _ in range(helpers)]
        work()
    for other in others:
        other.result()


class Plan(NamedTuple):
    """Which items a lane has: ``items[bounds[lane]:bounds[lane + 1]]``, int64 both."""

    items: NDArray[np.int64]
    bounds: NDArray[np.int64]


def share(sizes: NDArray[np.int64], lanes: int) -> Plan:
    """Give the items, largest first, to the lane that has least to do yet."""
    if lanes == 1:
        return Plan(np.arange(len(sizes)), np.array([0, len(sizes)]))
    taken: list[list[int]] = [[] for _ in range(lanes)]
    load = [(0, lane) for lane in range(lanes)]
    by_size = np.argsort(-sizes, kind="stable").tolist()
    for item, size in zip(by_size, sizes[by_size].tolist(), strict=True):
        work, lane = heapq.heappop(load)
        taken[lane].append(item)
        heapq.heappush(load, (work + size, lane))
    bounds = np.cumsum([0, *map(len, taken)])
    return Plan(np.array([item for part in taken for item in part], np.int64), bounds)
