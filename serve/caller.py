"""Who waits for an answer, and until when: the deadline that a request names, and whether its client is still there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from serve.arrival import arrived
from serve.errors import RequestError, too_late

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
_LONGEST_MS = 600_000
# For the OpenAPI document of each operation that takes a `Caller`.
TIMEOUT_PARAMETER = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "description": "How long an answer is of use, in milliseconds: later it is 504, or 429 where that is foreseen.",
    "schema": {"type": "integer", "minimum": 1, "maximum": _LONGEST_MS},
}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Caller:
    """``deadline`` is a time of ``time.monotonic``; ``gone``, where there is one, returns when the client has left."""

    deadline: float
    gone: Callable[[], Awaitable[None]] | None = None

    @classmethod
    def of(cls, request: Request, timeout_seconds: float) -> Caller:
        """The caller behind an HTTP request, whose body must be read to its end before `wait`.

        ``timeout_seconds`` hold where the request names none; they count from when it came. Raises `RequestError` 400
        for a header that is no number.
        """
        return cls(
            arrived(request.scope) + seconds_of(request.headers.get(TIMEOUT_HEADER), timeout_seconds), _leaving(request)
        )

    @property
    def left(self) -> float:
        """Seconds until the deadline; below 0 after it."""
        return self.deadline - time.monotonic()

    async def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Await ``work``, and cancel it when the deadline passes (`RequestError` 504) or the client leaves (499)."""
        if self.gone is None:
            return await self._in_time(work)
        waiting = asyncio.current_task()
        assert waiting is not None
        left = False

        def leave(watch: asyncio.Future[None]) -> None:
            nonlocal left
            left = True
            waiting.cancel()

        watch = asyncio.ensure_future(self.gone())
        watch.add_done_callback(leave)
        try:
            return await self._in_time(work)
        except asyncio.CancelledError:
            if left and waiting.uncancel() == 0:
                # Nobody reads it but the log.
                raise RequestError(499, "the client went away before it was answered") from None
            raise
        finally:
            watch.remove_done_callback(leave)
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


def seconds_of(header: str | None, otherwise: float) -> float:
    """What a `TIMEOUT_HEADER` says; `RequestError` 400 for one that is no number of milliseconds."""
    if header is None:
        return otherwise
    if not (header.isascii() and header.isdecimal() and 1 <= int(header[:12]) <= _LONGEST_MS):
        raise RequestError(400, f"{TIMEOUT_HEADER}: expected milliseconds from 1 to {_LONGEST_MS}, got {header[:40]!r}")
    return int(header) / 1000


def _leaving(request: Request) -> Callable[[], Awaitable[None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
