"""What stands behind the routes: the models, the threads they run in, and whether they may be asked now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from serve.body import BodyBudget
from serve.caller import Caller
from serve.errors import RequestError, engine_down
from serve.exchange import current
from serve.observer import Observer
from serve.remote import RemotePictures
from serve.room import Room
from serve.served import Served
from serve.settings import Settings
from serve.warmup import faults
from serve.workers import Workers
from toolkit.errors import suggest
from toolkit.inference import Model

log = logging.getLogger("serve")

# Asked again after this many seconds, a service that starts or drains has usually changed.
_RETRY = {"Retry-After": "2"}
_STARTING = "the start-up check is still running"
_SHOWN_FAULTS = 3
_REVIVE_SECONDS = 1.0


class Service:
    """The model, its threads and its state. All methods are called on the event loop."""

    def __init__(self, model: Model, settings: Settings, observer: Observer | None = None) -> None:
        self.settings = settings
        self.observer = observer or Observer()
        self.workers = Workers(settings.runs)
        self.room = Room(settings.runs, settings.waiting)
        self.bodies = BodyBudget(settings.max_body_bytes, settings.held_bytes, settings.body_seconds)
        self.default = Served(model, self.workers, self.room, settings, self.observer)
        self.remote = RemotePictures(settings.picture_hosts, settings.max_body_bytes)
        self.why_not_ready = _STARTING
        self.failed = False
        self.checked = asyncio.Event()
        self.active = 0

    @property
    def model(self) -> Model:
        """The model that is asked where a request names none."""
        return self.default.model

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return not self.why_not_ready and not self.default.down

    def find(self, name: str | None = None, version: str | None = None) -> Served:
        """The model of that name and version, by look-up only; `RequestError` 404 for one that is not served."""
        served = self.default
        if name not in (None, served.model.name):
            known = [served.model.name]
            raise RequestError(
                404, f"no model {name!r} is served here{suggest(name, known)}; served: {', '.join(known)}"
            )
        if version not in (None, served.model.spec.version):
            raise RequestError(
                404, f"model {served.model.name} is served in version {served.model.spec.version}, not {version!r}"
            )
        return served

    def caller(self, request: Request) -> Caller:
        """Who waits behind ``request``, and until when."""
        return Caller.of(request, self.settings.timeout_seconds)

    async def check(self) -> None:
        """Warm the model and ask it the bundle's golden pictures; only then is the service ready."""
        found = await asyncio.to_thread(_open, self.default)
        if found:
            self.failed = True
            self.why_not_ready = f"the start-up check failed: {'; '.join(found[:_SHOWN_FAULTS])}"
        elif self.why_not_ready == _STARTING:
            self.why_not_ready = ""
        self.checked.set()

    async def tend(self) -> None:
        """Try engines that are down again, until this is cancelled."""
        while True:
            await asyncio.sleep(_REVIVE_SECONDS)
            if self.default.down and await self.default.revive():
                log.warning("the engine of %s works again", self.model.name)

    def close(self) -> None:
        """Start nothing more."""
        self.workers.close()

    def drain(self) -> None:
        """Take no more pictures; those inside are answered."""
        if not self.failed:
            self.why_not_ready = "the service is shutting down"

    def require_ready(self) -> None:
        """Raise `RequestError` 503 while pictures are not taken."""
        if self.why_not_ready:
            raise RequestError(503, self.why_not_ready, {} if self.failed else _RETRY)
        if self.default.down:
            raise engine_down()

    @contextmanager
    def admitted(self, name: str | None = None, version: str | None = None) -> Iterator[Served]:
        """Let a request in, from its first byte to its answer, and give the model that it asks; draining waits for it.

        Raises `RequestError` before anything is read: 503 not ready, 404 no such model, 429 no room.
        """
        self.require_ready()
        served = self.find(name, version)
        if exchange := current():
            exchange.model = served.model.name
        served.require_room()
        self.active += 1
        try:
            yield served
        finally:
            self.active -= 1


def _open(served: Served) -> list[str]:
    """Check a model's first answers and let it take work; what is wrong with them otherwise."""
    found = faults(served.model)
    if not found:
        served.warm()
    return found
