"""Who may ask: API keys in front of every route but health, each with its scopes and its rate.

Without a file of keys none of this stands in the way.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.answers import error_schema
from serve.document import amend
from serve.errors import RequestError, error_answer
from serve.exchange import current
from serve.rates import Rates
from toolkit.api_keys import ApiKey, ApiKeys, read_keys
from toolkit.errors import UserError

log = logging.getLogger("serve")

# What a path needs that its application's other paths do not.
SCOPES: Mapping[str, str] = {"/metrics": "metrics"}
_RECHECK_SECONDS = 0.5
# A browser that is asked for Basic shows a form of its own (any name, the key as the password): the page needs no code.
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="toolkit"'}


class KeyFile:
    """The keys of a file that may change while the service runs. A change that cannot be read leaves the old keys."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where the file cannot be read now."""
        self._path = path
        self._keys = read_keys(path)
        self._stamp = self._stamp_now()
        self._checked = time.monotonic()

    def find(self, given: str) -> ApiKey | None:
        """The key that ``given`` is, by the file as it was at most half a second ago."""
        return self._current().find(given)

    def _current(self) -> ApiKeys:
        now = time.monotonic()
        if now - self._checked > _RECHECK_SECONDS:
            self._checked = now
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            self._keys = read_keys(self._path)
            log.info("keys file %s: read again, %d keys", self._path, len(self._keys.keys))
        except UserError as error:
            log.error("%s; the keys of before stay", error)

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            status = self._path.stat()
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino


class Access:
    """ASGI middleware. ``public`` are the paths that need no key; others need ``scope``, or what `SCOPES` says."""

    def __init__(self, app: ASGIApp, keys: KeyFile, public: Collection[str], scope: str) -> None:
        self.app = app
        self._keys = keys
        self._public = public
        self._scope = scope
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in self._public:
            await self.app(scope, receive, send)
            return
        try:
            self._require(scope["path"], Headers(scope=scope))
        except RequestError as refused:
            await _refuse(refused, scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _require(self, path: str, headers: Headers) -> None:
        """Raise `RequestError`: 401 without a key that is known, 403 without the scope, 429 for too many requests."""
        given = _credentials(headers)
        if given is None:
            raise RequestError(401, "this needs an API key; send it as 'Authorization: Bearer KEY'", _CHALLENGE)
        key = self._keys.find(given)
        if key is None:
            raise RequestError(401, "the API key is not one of this service; ask its operator for one", _CHALLENGE)
        if exchange := current():
            exchange.key = key.name
        needed = SCOPES.get(path, self._scope)
        if needed not in key.scopes:
            raise RequestError(403, f"the API key {key.name!r} may not do this: it lacks the scope {needed!r}")
        if wait := self._rates.wait(key):
            sentence = f"the API key {key.name!r} has used up its {key.per_minute:g} requests a minute; try again later"
            raise RequestError(429, sentence, {"Retry-After": str(max(1, math.ceil(wait)))})


def _credentials(headers: Headers) -> str | None:
    """The key as it was sent: ``Authorization`` as Bearer or as Basic's password, or ``X-API-Key``."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    match kind.lower():
        case "bearer":
            return value.strip()
        case "basic" if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            # A browser sends these by itself, so a page of somebody else must not be what makes it ask.
            return _password(value)
    return headers.get("x-api-key")


def _password(value: str) -> str | None:
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


async def _refuse(refused: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": refused.sentence})
        return
    await error_answer(refused.status, refused.sentence, refused.headers)(scope, receive, send)


def public_paths(app: FastAPI) -> frozenset[str]:
    """The paths whose routes are tagged "health": a probe has no key."""
    return frozenset(
        route.path for route in app.routes if "health" in getattr(route, "tags", ()) and hasattr(route, "path")
    )


def require_keys(app: FastAPI, path: Path, scope: str = "predict") -> None:
    """Put the keys of the file ``path`` in front of all routes that ``app`` has; UserError where it cannot be read."""
    app.add_middleware(Access, keys=KeyFile(path), public=public_paths(app), scope=scope)
    _document(app)


def _document(app: FastAPI) -> None:
    """Say in the OpenAPI document that its routes need a key."""

    def change(schema: dict[str, Any]) -> None:
        public = public_paths(app)
        schema.setdefault("components", {})["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "basic": {"type": "http", "scheme": "basic", "description": "The key as the password, under any name."},
        }
        for path, operations in schema["paths"].items():
            if path not in public:
                for operation in operations.values():
                    operation["security"] = [{"bearer": []}, {"header": []}, {"basic": []}]
                    own = operation["responses"]
                    operation["responses"] = {**error_schema(own, 401, 403, 429), **own}

    amend(app, change)
