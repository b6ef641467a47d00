"""How much a service takes in at once, and how long what comes now would wait for its answer. It counts; it computes
nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from serve.errors import RequestError

# After so many seconds half of the worst delay is forgotten.
_HALF_LIFE = 0.5


class Lag:
    """How long what is done waits for the event loop, to be sent: the worst of late, which is forgotten by and by."""

    def __init__(self) -> None:
        self._worst, self._since = 0.0, 0.0

    def seconds(self) -> float:
        """What the next answer must be expected to wait."""
        return self._worst * math.pow(0.5, (time.monotonic() - self._since) / _HALF_LIFE)

    def saw(self, seconds: float) -> None:
        """An answer has waited so long."""
        if seconds > self.seconds():
            self._worst, self._since = seconds, time.monotonic()


class Coming:
    """Requests that were let in and have no place yet, as their bodies are read. One that takes long counts no more:
    who sends slowly must not keep others out.
    """

    _SECONDS = 0.1
    _TICKET = "toolkit.coming"

    def __init__(self) -> None:
        self._since: dict[object, float] = {}

    def __len__(self) -> int:
        before = time.monotonic() - self._SECONDS
        while self._since and self._since[oldest := next(iter(self._since))] < before:
            del self._since[oldest]
        return len(self._since)

    def enter(self, scope: Mapping[str, Any]) -> None:
        """The request of ``scope`` is let in."""
        ticket = scope["state"][self._TICKET] = object()
        self._since[ticket] = time.monotonic()

    def leave(self, scope: Mapping[str, Any]) -> None:
        """It has come to where it takes a place, or to its end."""
        self._since.pop(scope.get("state", {}).get(self._TICKET), None)


class Room:
    """Places for pictures: ``runs`` are worked on at once, ``waiting`` more may wait. Used on one event loop only."""

    def __init__(self, runs: int, waiting: int) -> None:
        if runs < 1 or waiting < 0:
            raise ValueError(f"expected runs >= 1 and waiting >= 0, got {runs} and {waiting}")
        self.runs = runs
        self.places = runs + waiting
        self.inside = 0
        self.lag = Lag()
        self.coming = Coming()
        self._seconds = 0.0

    @property
    def free(self) -> int:
        """Places that are left."""
        return self.places - self.inside

    @property
    def wait(self) -> float:
        """Seconds that a picture which comes now is expected to wait before it is worked on."""
        return self._seconds / self.runs if self.inside >= self.runs else 0.0

    def require(self, seconds: float = 0.0, left: float = math.inf, besides: int = 0) -> None:
        """Raise `RequestError` 429 where no place is free, or where ``seconds`` of work cannot be done in time.

        ``besides`` are places to leave free, ``left`` the seconds until the deadline. Where nothing waits the work is
        tried, however short it is, unless its time would pass in the event loop alone.
        """
        wait, lag = self.wait, self.lag.seconds()
        if self.free <= besides:
            raise _busy("the service is busy; try again later", wait)
        needed = wait + seconds + lag
        if left <= lag or (wait and needed > left):
            raise _busy(f"the answer would take about {needed:.3g} s, longer than the request allows", wait)

    def enter(self, seconds: float) -> Place:
        """Take a place for work of about ``seconds``; `require` first."""
        self.inside += 1
        self._seconds += seconds
        return Place(self, seconds)

    def _leave(self, seconds: float) -> None:
        self.inside -= 1
        self._seconds = self._seconds - seconds if self.inside else 0.0  # no remainder of rounding stays


class Place:
    """One place, with one holder at first; it is free again when all holders have left."""

    def __init__(self, room: Room, seconds: float) -> None:
        self._room = room
        self._seconds = seconds
        self._holders = 1

    def hold(self) -> None:
        """One holder more."""
        self._holders += 1

    def leave(self) -> None:
        """One holder less."""
        self._holders -= 1
        if self._holders == 0:
            self._room._leave(self._seconds)


def _busy(sentence: str, wait: float) -> RequestError:
    return RequestError(429, sentence, {"Retry-After": str(max(1, math.ceil(wait)))})
