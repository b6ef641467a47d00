"""How much a service takes in at once, and how long what comes now would wait. It counts; it computes nothing."""

from __future__ import annotations

import math

from serve.errors import RequestError


class Room:
    """Places for pictures: ``runs`` are worked on at once, ``waiting`` more may wait. Used on one event loop only."""

    def __init__(self, runs: int, waiting: int) -> None:
        if runs < 1 or waiting < 0:
            raise ValueError(f"expected runs >= 1 and waiting >= 0, got {runs} and {waiting}")
        self.runs = runs
        self.places = runs + waiting
        self.inside = 0
        self._seconds = 0.0

    @property
    def free(self) -> int:
        """Places that are left."""
        return self.places - self.inside

    @property
    def wait(self) -> float:
        """Seconds that a picture which comes now is expected to wait before it is worked on."""
        return self._seconds / self.runs if self.inside >= self.runs else 0.0

    def require(self, seconds: float = 0.0, left: float = math.inf) -> None:
        """Raise `RequestError` 429 where no place is free, or where ``seconds`` of work cannot be done in time.

        ``left`` are the seconds until the deadline. Where nothing waits the work is tried, however short it is.
        """
        wait = self.wait
        if self.free <= 0:
            raise _busy("the service is busy; try again later", wait)
        if wait and wait + seconds > left:
            raise _busy(f"the answer would take about {wait + seconds:.3g} s, longer than the request allows", wait)

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
