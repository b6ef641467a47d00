"""The first that a new connection meets. While there is room it lets everything through to the server; while there is
none it reads a request's head itself and refuses a picture at a tenth of what the server and the application would
take, so that a service that is asked four times too much still has its time for those that it lets in.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI
from uvicorn.server import ServerState

from serve.arrival import unread_seconds
from serve.caller import TIMEOUT_HEADER, seconds_of
from serve.envelope import LINGER_BYTES, LINGER_SECONDS, Ended, request_id
from serve.errors import RequestError
from serve.exchange import Exchange
from serve.protocol import Protocol
from serve.service import Service

# A connection that was not looked at for so long comes to a service that lags.
_LAG_SECONDS = 0.05
_MOST_HEAD = 16 * 1024


class Door:
    """Whether pictures that come by ``paths`` may come in now. ``ended`` is told of those that are refused here."""

    def __init__(self, service: Service, paths: Mapping[str, Any], ended: Ended) -> None:
        self._service = service
        self._paths = frozenset(paths)
        self._starts = tuple(f"POST {path}{end}".encode() for path in paths for end in " ?")
        self._ended = ended

    @property
    def crowded(self) -> bool:
        """Whether those inside and those on their way take all places."""
        return self._service.room.free <= len(self._service.room.coming)

    def let_in(self, scope: Mapping[str, Any]) -> None:
        """A request goes to the application; where it is for a picture, it will take a place."""
        if scope.get("path") in self._paths and scope["method"] == "POST":
            self._service.room.coming.enter(scope)

    def concerns(self, start: bytes) -> bool:
        """Whether the first bytes of a request are of a whole head that is decided on here."""
        return start.startswith(self._starts) and 0 < start.find(b"\r\n\r\n") < _MOST_HEAD

    def refusal(self, head: bytes, waited: float, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """The whole answer to a request that came ``waited`` seconds ago, or None where it may come in."""
        service = self._service
        if service.why_not_ready:
            return None
        try:
            left = seconds_of(_value(_TIMEOUT, head), service.settings.timeout_seconds) - waited
            service.default.require_room(1, left, besides=len(service.room.coming))
        except RequestError as refused:
            if refused.status != 429:
                return None  # the application says it
            return self._answer(head, waited, refused, headers)
        return None

    def _answer(self, head: bytes, waited: float, refused: RequestError, more: Sequence[tuple[bytes, bytes]]) -> bytes:
        exchange = Exchange(
            request_id(_value(_REQUEST_ID, head) or ""),
            "POST",
            head.split(None, 2)[1].partition(b"?")[0].decode("latin-1"),
            model=self._service.default.model.name,
            dialect="prediction",
            status=refused.status,
            arrived=time.monotonic() - waited,
        )
        self._ended(exchange)
        body = json.dumps({"error": refused.sentence}, separators=(",", ":")).encode()
        lines = [
            b"HTTP/1.1 429 Too Many Requests",
            *(name + b": " + value for name, value in more),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"retry-after: " + refused.headers["Retry-After"].encode(),
            b"x-request-id: " + exchange.request_id.encode(),
            b"connection: close",
        ]
        return b"\r\n".join([*lines, b"", body])


class Doorway(asyncio.Protocol):
    """A connection until it is let through to a `Protocol`, or until its client has read why not."""

    def __init__(self, door: Door, state: ServerState, make: Callable[[], Protocol], head_seconds: float) -> None:
        self._door, self._state, self._make, self._head_seconds = door, state, make, head_seconds
        self._end: asyncio.TimerHandle | None = None
        self._to_drop: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._waited = unread_seconds(transport.get_extra_info("socket"))
        if self._door.crowded or self._waited > _LAG_SECONDS:
            self._close_after(self._head_seconds)
        else:
            self._let_through()

    def data_received(self, data: bytes) -> None:
        if self._to_drop is not None:
            self._drop(len(data))
            return
        answer = None
        if self._door.concerns(data):
            waited = max(self._waited, unread_seconds(self._transport.get_extra_info("socket")))
            head = data[: data.index(b"\r\n\r\n") + 2]
            answer = self._door.refusal(head, waited, self._state.default_headers)
        if answer is None:
            self._let_through().data_received(data)
            return
        self._transport.write(answer)
        self._close_after(LINGER_SECONDS)
        # A connection that is closed while its client sends is broken for it before it has read why.
        length = _value(_LENGTH, head)
        self._to_drop = LINGER_BYTES if length is None else min(int(length[:12]), LINGER_BYTES) + len(head) + 2
        self._drop(len(data))

    def eof_received(self) -> None:
        """The client has sent all: the transport closes by itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._stay()

    def _drop(self, count: int) -> None:
        self._to_drop = cast(int, self._to_drop) - count
        if self._to_drop <= 0:
            self._stay()
            self._transport.close()

    def _let_through(self) -> Protocol:
        self._stay()
        protocol = self._make()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        return protocol

    def _close_after(self, seconds: float) -> None:
        self._stay()
        self._end = asyncio.get_running_loop().call_later(seconds, self._transport.close)

    def _stay(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None


def behind_door(app: FastAPI, protocol: type[Protocol] = Protocol) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes for each connection to ``app``: a `Doorway` where it has a `Door`, else the protocol."""
    door: Door | None = getattr(app.state, "door", None)

    def connection(**given: Any) -> asyncio.Protocol:
        if door is None:
            return protocol(**given)
        return Doorway(door, given["server_state"], lambda: protocol(**given), protocol.head_seconds)

    return connection


def _header(name: str, value: str) -> re.Pattern[bytes]:
    return re.compile(rf"\r\n{name}:[ \t]*({value})[ \t]*\r\n".encode(), re.IGNORECASE)


_TIMEOUT = _header(TIMEOUT_HEADER, r"[^\r]*?")
_REQUEST_ID = _header("X-Request-Id", r"[^\r]*?")
_LENGTH = _header("Content-Length", r"[0-9]+")


def _value(header: re.Pattern[bytes], head: bytes) -> str | None:
    found = header.search(head)
    return found[1].decode("latin-1") if found else None
