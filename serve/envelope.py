"""The outermost layer around every request: its id, one log line, and a plain 500 for what nobody expected.

It also ends refused uploads politely: a client that still sends would otherwise meet a closed connection
before it has read why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.errors import error_answer

log = logging.getLogger("serve")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# How much of the rest of a refused body is read and dropped, and for how long, before the connection is closed.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 64 * 2**20
_UNLOGGED = ("/health/live", "/health/ready")


class Envelope:
    """ASGI middleware; the id is also at ``scope["state"]["request_id"]``."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("request %s: %s %s failed", exchange.request_id, scope["method"], scope["path"])
            if exchange.status is not None:
                raise  # too late to answer anything else: the server closes the connection
            sentence = f"the service failed on this request; its log has the reason under {exchange.request_id}"
            await error_answer(500, sentence)(scope, exchange.receive, exchange.send)
        finally:
            exchange.log()


class _Exchange:
    """One request and its answer, seen from outside."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self.request_id = _request_id(headers)
        self.status: int | None = None
        self._scope, self._receive, self._send = scope, receive, send
        self._body_comes = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._started = time.perf_counter()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_comes = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": list(message["headers"])}  # the answer's own list may be shared
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            if self._body_comes:
                headers["Connection"] = "close"
        elif self._body_comes and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drop_body()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _drop_body(self) -> None:
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._body_comes and dropped < _LINGER_BYTES:
                    dropped += len((await self.receive()).get("body", b""))

    def log(self) -> None:
        path = self._scope["path"]
        if path not in _UNLOGGED:
            spent = (time.perf_counter() - self._started) * 1000
            status = self.status or "no answer"
            log.info("request %s: %s %s -> %s in %.1f ms", self.request_id, self._scope["method"], path, status, spent)


def _request_id(headers: Headers) -> str:
    """The client's own id where it is a plain word (it ends in our log and in a header), else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
