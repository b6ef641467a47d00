"""Who waits for an answer, and until when: the deadline that a request names, and whether its client is still there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from serve.arrival import Leaving, arrived, leaving
from serve.errors import RequestError, too_late

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
LONGEST_MS = 600_000
# For the OpenAPI document of each operation that takes a `Caller`.
TIMEOUT_PARAMETER = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "description": "How long an answer is of use, in milliseconds: later it is 504, or 429 where that is foreseen.",
    "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_MS},
}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Caller:
    """``deadline`` is a time of ``time.monotonic``.

    When the client has left, ``leaving`` tells, or ``gone`` returns: one of them where there is a client that may.
    """

    deadline: float
    gone: Callable[[], Awaitable[None]] | None = None
    leaving: Leaving | None = None

    @classmethod
    def of(cls, request: Request, timeout_seconds: float) -> Caller:
        """The caller behind an HTTP request, whose body must be read to its end before `wait`.

        ``timeout_seconds`` hold where the request names none; they count from when it came. Raises `RequestError` 400
        for a header that is no number.
        """
        seconds = seconds_of(request.headers.get(TIMEOUT_HEADER), timeout_seconds)
        told = leaving(request.scope)
        return cls(arrived(request.scope) + seconds, None if told else _disconnected(request), told)

    @property
    def left(self) -> float:
        """Seconds until the deadline; below 0 after it."""
        return self.deadline - time.monotonic()

    async def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Await ``work``, and cancel it when the deadline passes (`RequestError` 504) or the client leaves (499)."""
        waiting = asyncio.current_task()
        assert waiting is not None
        told = self.leaving or Leaving()
        watch = asyncio.ensure_future(_tell(self.gone, told)) if self.gone else None
        told.tell = waiting.cancel
        try:
            if told.left:
                work.close()
                raise _gone_away()
            return await self._in_time(work)
        except asyncio.CancelledError:
            if told.left and waiting.uncancel() == 0:
                raise _gone_away() from None
            raise
        finally:
            told.tell = None
            if watch is not None:
                watch.cancel()

    async def _in_time(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        limit = asyncio.timeout(max(0.0, self.left))
        try:
            async with limit:
                return await work
        except TimeoutError:
            if limit.expired():
                raise too_late() from None
            raise


async def _tell(gone: Callable[[], Awaitable[None]], told: Leaving) -> None:
    await gone()
    told.now()


def _gone_away() -> RequestError:
    return RequestError(499, "the client went away before it was answered")  # nobody reads it but the log


def seconds_of(header: str | None, otherwise: float) -> float:
    """What a `TIMEOUT_HEADER` says; `RequestError` 400 for one that is no number of milliseconds."""
    if header is None:
        return otherwise
    if not (header.isascii() and header.isdecimal() and 1 <= int(header[:12]) <= LONGEST_MS):
        raise RequestError(400, f"{TIMEOUT_HEADER}: expected milliseconds from 1 to {LONGEST_MS}, got {header[:40]!r}")
    return int(header) / 1000


def _disconnected(request: Request) -> Callable[[], Awaitable[None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
