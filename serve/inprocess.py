"""Asks an application over the ASGI protocol itself, without a socket: what the service would answer, for checks.

It is no load generator: one request at a time.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from fastapi import FastAPI

Value = TypeVar("Value")


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class InProcessClient:
    """A context manager that starts an application, waits for its start-up check, and asks it.

    The event loop runs in a thread of its own, so this works inside a notebook's loop too.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="in-process service", daemon=True)

    def __enter__(self) -> InProcessClient:
        self._thread.start()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._wait(self._lifespan.__aenter__())
        self._wait(self._app.state.service.checked.wait())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self._lifespan.__aexit__(None, None, None))  # it stops all the same where its caller failed
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def predict(self, data: bytes, content_type: str = "application/octet-stream", query: str = "") -> dict[str, Any]:
        """POST ``data`` to ``/predict`` and return the JSON; RuntimeError with the answer for any status but 200."""
        reply = self.request("POST", "/predict", data, {"content-type": content_type}, query)
        if reply.status != 200:
            raise RuntimeError(f"/predict answered {reply.status}: {reply.content.decode(errors='replace')}")
        return reply.json()  # type: ignore[no-any-return]

    def request(
        self, method: str, path: str, data: bytes = b"", headers: Mapping[str, str] | None = None, query: str = ""
    ) -> Reply:
        """Send one request and return the whole answer."""
        return self._wait(self._exchange(method, path, data, headers or {}, query))

    async def _exchange(self, method: str, path: str, data: bytes, headers: Mapping[str, str], query: str) -> Reply:
        sent = {"content-length": str(len(data)), **headers} if data else headers
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("in-process", 0),
            "server": ("in-process", 0),
            "state": {},
        }
        messages: list[Any] = []
        bodies = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if not bodies:
                await asyncio.Event().wait()  # this client never leaves before it is answered
            return bodies.pop()

        async def send(message: Any) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        content = b"".join(message.get("body", b"") for message in messages[1:])
        names = {name.decode("latin-1"): value.decode("latin-1") for name, value in messages[0]["headers"]}
        return Reply(messages[0]["status"], names, content)

    def _wait(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def predict_bytes(app: FastAPI, data: bytes, content_type: str = "application/octet-stream") -> dict[str, Any]:
    """Start ``app``, ask it for one picture, and stop it; `InProcessClient` serves more than one."""
    with InProcessClient(app) as client:
        return client.predict(data, content_type)
