"""Which pictures run together, and when: decisions alone, without threads or a clock of its own.

A batch starts at once on an idle engine. On one that is busy but has a free run it waits for company until it is full,
nothing more is coming, its oldest picture has waited long enough, or its tightest deadline asks for it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

# A batch of pictures must do this much more a second than the same pictures one by one, or batching is off.
LEAST_GAIN = 1.1
# Weight of the newest run in the level of the run times: about the last ten count.
_NEWEST = 0.1
# One stalled run moves the level by this factor at most.
_LEAP = 4.0

Work = TypeVar("Work")


class RunTime:
    """Seconds that a run of n rows takes: ``level * (per_row * n + fixed)``; each run that is seen moves the level.

    ``samples`` are (rows, seconds) of runs; without any the first run that is seen says what a row takes.
    """

    def __init__(self, samples: Sequence[tuple[int, float]] = ()) -> None:
        self.per_row, self.fixed = _line(samples)
        self.level = 1.0

    def seconds(self, rows: int) -> float:
        """The prediction; 0 as long as nothing is known."""
        return self.level * (self.per_row * rows + self.fixed)

    def saw(self, rows: int, seconds: float) -> None:
        """Take note of a run."""
        if self.per_row == self.fixed == 0:
            self.per_row = seconds / rows
            return
        found = seconds / (self.per_row * rows + self.fixed)
        found = min(max(found, self.level / _LEAP), self.level * _LEAP)
        self.level += (found - self.level) * _NEWEST

    def gain(self, rows: int) -> float:
        """How many times as many rows a second runs of ``rows`` do as runs of one."""
        together = self.seconds(rows)
        return rows * self.seconds(1) / together if together else 1.0


def _line(samples: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Least squares with neither slope nor constant below 0."""
    if not samples:
        return 0.0, 0.0
    count = len(samples)
    rows, seconds = (sum(column) / count for column in zip(*samples, strict=True))
    spread = sum((n - rows) ** 2 for n, _ in samples)
    slope = sum((n - rows) * (t - seconds) for n, t in samples) / spread if spread else math.inf
    if slope <= 0:
        return 0.0, seconds
    if slope * rows > seconds:  # the line would begin below 0
        return sum(n * t for n, t in samples) / sum(n * n for n, _ in samples), 0.0
    return slope, seconds - slope * rows


@dataclass(frozen=True)
class Bounds:
    """How much runs at once, and how much is made ready ahead of it.

    Attributes:
        runs: runs of the network at the same time.
        rows: most rows of one run (an item with more runs alone).
        wait: seconds that the oldest item of a batch waits for company.
        ahead_bytes: what is ready may hold as much before nothing more is made ready.
    """

    runs: int
    rows: int = 8
    wait: float = 0.002
    ahead_bytes: int = 256 * 2**20


@dataclass(eq=False)
class Item(Generic[Work]):
    """Something that is ready to run: ``rows`` of the network's input, which hold ``size`` bytes in all.

    Items of one ``key`` may run together. ``since`` and ``deadline`` are times of the caller's clock.
    """

    work: Work
    key: Hashable
    rows: int
    size: int
    since: float
    deadline: float


class BatchQueue(Generic[Work]):
    """What is ready and waits for a run. ``batching`` False gives every item a run of its own."""

    def __init__(self, bounds: Bounds, run_time: RunTime, batching: bool) -> None:
        self.bounds = bounds
        self.run_time = run_time
        self.batching = batching
        self.running = 0
        self.coming = 0  # kept by the caller: items on their way here
        self.rows = 0
        self.size = 0
        self._groups: dict[Hashable, deque[Item[Work]]] = {}

    def __iter__(self) -> Iterator[Item[Work]]:
        for group in self._groups.values():
            yield from group

    def hungry(self, preparing: int) -> bool:
        """Whether one more item should be made ready, while ``preparing`` already are: two runs ahead at most."""
        ahead = self.rows + preparing
        most = 2 * (self.bounds.rows if self.batching else self.bounds.runs)
        return ahead == 0 or (ahead < most and self.size < self.bounds.ahead_bytes)

    def add(self, item: Item[Work]) -> None:
        """Let an item wait for its run."""
        self._groups.setdefault(item.key, deque()).append(item)
        self.rows += item.rows
        self.size += item.size

    def drop(self, item: Item[Work]) -> bool:
        """Take out an item that nobody waits for any more; False where it has left already."""
        group = self._groups.get(item.key, deque())
        if item not in group:
            return False
        group.remove(item)
        self._left(item)
        return True

    def expired(self, now: float) -> list[Item[Work]]:
        """Take out the items whose deadline has passed."""
        late = [item for item in self if item.deadline <= now]
        for item in late:
            self.drop(item)
        return late

    def take(self, now: float) -> list[Item[Work]]:
        """The batch that starts now; an empty list where none does. Call `expired` first, and `done` after the run."""
        if self.running >= self.bounds.runs:
            return []
        for group in sorted(self._groups.values(), key=lambda group: group[0].since):
            if self._closed_at(group) <= now:
                return self._start(group)
        return []

    def done(self, rows: int, seconds: float) -> None:
        """A run that `take` started has ended; ``seconds`` 0 teaches nothing (it failed)."""
        self.running -= 1
        if seconds:
            self.run_time.saw(rows, seconds)

    def wake(self) -> float:
        """When `take` may have a batch though nothing happens until then; infinity where that is never."""
        if self.running >= self.bounds.runs:
            return math.inf
        return min((self._closed_at(group) for group in self._groups.values()), default=math.inf)

    def _closed_at(self, group: deque[Item[Work]]) -> float:
        """From when on a batch of the group may start, with a free run."""
        rows = sum(item.rows for item in group)
        if not self.batching or self.running == 0 or self.coming == 0 or rows >= self.bounds.rows:
            return -math.inf
        tightest = min(item.deadline for item in group) - self.run_time.seconds(rows)
        return min(group[0].since + self.bounds.wait, tightest)

    def _start(self, group: deque[Item[Work]]) -> list[Item[Work]]:
        most = self.bounds.rows if self.batching else 1
        batch: list[Item[Work]] = []
        while group and (not batch or sum(item.rows for item in batch) + group[0].rows <= most):
            batch.append(group.popleft())
            self._left(batch[-1])
        self.running += 1
        return batch

    def _left(self, item: Item[Work]) -> None:
        self.rows -= item.rows
        self.size -= item.size
        if not self._groups[item.key]:
            del self._groups[item.key]
