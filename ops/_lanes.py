"""One serial kernel run by several threads, each on its share of the work.

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


def lanes_for(rows: int, least: int = _PARALLEL_ROWS) -> int:
    """How many threads to share so many rows of work among; from more than ``least`` on it pays."""
    return numba.get_num_threads() if rows > least and lone_caller() else 1


def in_lanes(kernel: Kernel, lanes: int, *arguments: Any) -> None:
    """Call ``kernel(lane, *arguments)`` for each lane, all at once; the caller's thread takes the first."""
    if lanes == 1:
        kernel(0, *arguments)
        return
    kernel.compile()
    with ThreadPoolExecutor(lanes - 1) as threads:
        others = [threads.submit(kernel, lane, *arguments) for lane in range(1, lanes)]
        kernel(0, *arguments)
    for other in others:
        other.result()


class Plan(NamedTuple):
    """Which items a lane works on: ``items[bounds[lane]:bounds[lane + 1]]``, int64 both."""

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
