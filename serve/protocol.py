"""HTTP/1.1 as uvicorn speaks it, with two deadlines that it lacks: for a request's head, and for a client that does not
read its answer. Without them either costs a socket for as long as a stranger likes. Bodies have theirs in `serve.body`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serve.arrival import leaving, note

if TYPE_CHECKING:
    from serve.door import Door


class Protocol(HttpToolsProtocol):
    """One connection. The seconds are of the class, so that a test can have fewer."""

    # From the connection, or the first byte of a later request on it, to the end of the head.
    head_seconds = 10.0
    # In so many seconds a client must take so many bytes of an answer that waits for it.
    stalled_seconds = 30.0
    least_bytes = 64 * 1024

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._door: Door | None = getattr(getattr(self.config.app, "state", None), "door", None)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self.cycle is not None and not self.cycle.response_complete and (told := leaving(self.cycle.scope)):
            told.now()
        self.resume_writing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        note(self.scope, self.transport)
        self._await_head()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()
        if self._door is not None:
            self._door.let_in(self.scope)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_progress()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def _await_progress(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(self.stalled_seconds, self._check_progress, left)

    def _check_progress(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < self.least_bytes:
            self.transport.abort()
        else:
            self._await_progress()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
