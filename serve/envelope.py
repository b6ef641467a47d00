"""The outermost layer around every request: its id, one log line, and a plain 500 for what nobody expected.

It also ends refused uploads politely: a client that still sends would otherwise meet a closed connection
before it has read why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.arrival import arrived
from serve.errors import error_answer
from serve.exchange import Exchange
from serve.logs import fields

log = logging.getLogger("serve")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# How much of the rest of a refused body is read and dropped, and for how long, before the connection is closed.
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 2**20
_SHOWN_PATH = 200
_TIMING = b"server-timing"
_TRACE_HEADERS = ("traceparent", "tracestate")


class Ended:
    """What is done when a request has ended: ``answered`` are told, and it has its line in the log."""

    def __init__(self, answered: Sequence[Callable[[Exchange], None]]) -> None:
        self._answered = answered

    def __call__(self, exchange: Exchange) -> None:
        for tell in self._answered:
            tell(exchange)
        _log(exchange)


class Envelope:
    """ASGI middleware. The request is `serve.exchange.current` behind it; ``ended`` is told of it."""

    def __init__(self, app: ASGIApp, ended: Ended) -> None:
        self.app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = Exchange(
            request_id(headers.get("x-request-id", "")),
            scope["method"],
            _plain_path(scope["path"]),
            trace_headers={name: headers[name] for name in _TRACE_HEADERS if name in headers},
            arrived=arrived(scope),
        )
        wire = _Wire(exchange, headers, receive, send)
        try:
            await self.app(scope, wire.receive, wire.send)
        except Exception:
            log.exception(
                "request %s: %s %s failed",
                exchange.request_id,
                exchange.method,
                exchange.path,
                extra=fields(**_told(exchange)),
            )
            if exchange.status is not None:
                raise  # too late to answer anything else: the server closes the connection
            sentence = f"the service failed on this request; its log has the reason under {exchange.request_id}"
            await error_answer(500, sentence)(scope, wire.receive, wire.send)
        finally:
            tags = _tags(scope)
            exchange.dialect, exchange.is_health = tags[0], "health" in tags
            self._ended(exchange)


class _Wire:
    """Stands between the application and the server: it puts the id on the answer, and drops what is still sent."""

    def __init__(self, exchange: Exchange, headers: Headers, receive: Receive, send: Send) -> None:
        self._exchange, self._receive, self._send = exchange, receive, send
        self._body_comes = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_comes = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._exchange.status = message["status"]
            given = [each for each in message["headers"] if each[0] != b"connection" or not self._body_comes]
            self._exchange.timing = next((value for name, value in given if name == _TIMING), b"").decode("latin-1")
            given.append((b"x-request-id", self._exchange.request_id.encode("latin-1")))
            if self._body_comes:
                given.append((b"connection", b"close"))
            message = {**message, "headers": given}  # the answer's own list may be shared
        elif self._body_comes and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drop_body()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drop_body(self) -> None:
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._body_comes and dropped < LINGER_BYTES:
                    dropped += len((await self.receive()).get("body", b""))


def request_id(given: str) -> str:
    """The client's own id where it is a plain word (it ends in our log and in a header), else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _plain_path(path: str) -> str:
    """The path as it may stand in a log line: no line breaks, no control characters, not endless."""
    return quote(path[:_SHOWN_PATH], safe="/:@!$&'()*+,;=~")


def _tags(scope: Scope) -> Sequence[str]:
    """What the route's author called its kind: few words, whatever paths are asked for."""
    return getattr(scope.get("route"), "tags", None) or ("none",)


def _log(exchange: Exchange) -> None:
    if exchange.is_health:
        return
    spent = exchange.seconds * 1000
    log.info(
        "request %s: %s %s -> %s in %.1f ms",
        exchange.request_id,
        exchange.method,
        exchange.path,
        exchange.status or "no answer",
        spent,
        extra=fields(**_told(exchange), milliseconds=round(spent, 1)),
    )


def _told(exchange: Exchange) -> dict[str, object]:
    names = ("request_id", "method", "path", "status", "dialect", "model", "key")
    told = {name: getattr(exchange, name) for name in names}
    return {name: value for name, value in told.items() if value not in ("", None)}
