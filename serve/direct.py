"""A short way to the routes that are asked most: as FastAPI documents them, but called without its way through
dependencies, stacks and routers, which costs as much as a light network. Other paths and methods go that way as ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.errors import EXPECTED

Answering = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class _Route:
    """What stands at ``scope["route"]`` behind the short way, as FastAPI's own routes do behind the long one."""

    answering: Answering
    tags: Sequence[str]


def post(app: FastAPI, path: str, answering: Answering, *, tags: list[str | Any], **document: Any) -> None:
    """Answer POSTs to ``path``, which has no parameters, by ``answering``; ``document`` is as for ``FastAPI.post``."""
    app.post(path, response_model=None, tags=tags, **document)(answering)
    app.state.direct[path] = _Route(answering, tags)


class Direct:
    """ASGI middleware, the innermost one. ``refused`` makes an answer of an exception that is `EXPECTED`."""

    def __init__(
        self, app: ASGIApp, routes: dict[str, _Route], refused: Callable[[Request, Exception], Awaitable[Response]]
    ) -> None:
        self.app = app
        self._routes = routes
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            answer = await route.answering(request)
        except EXPECTED as error:
            answer = await self._refused(request, error)
        await answer(scope, receive, send)
