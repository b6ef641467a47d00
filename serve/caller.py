"""Who waits for an answer, and until when: the deadline that a request names, and whether its client is still there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

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

        ``timeout_seconds`` hold where the request names none. Raises `RequestError` 400 for a header that is no number.
        """
        return cls(time.monotonic() + _seconds(request.headers.get(TIMEOUT_HEADER), timeout_seconds), _leaving(request))

    async def wait(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Await ``work``, and cancel it when the deadline passes (`RequestError` 504) or the client leaves (499)."""
        task = asyncio.ensure_future(work)
        watch = asyncio.ensure_future(self.gone()) if self.gone else None
        awaited: set[asyncio.Future[Any]] = {task, watch} if watch else {task}
        try:
            left = max(0.0, self.deadline - time.monotonic())
            await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if watch is not None and watch.done():
                raise RequestError(499, "the client went away before it was answered")  # nobody reads it but the log
            raise too_late()
        finally:
            for each in awaited:
                each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await asyncio.gather(*awaited, return_exceptions=True)


def _seconds(header: str | None, otherwise: float) -> float:
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
