"""What stands behind the routes: the models, the threads they run in, and whether they may be asked now."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request

from serve.allocation import trim
from serve.body import BodyBudget
from serve.caller import Caller
from serve.errors import RequestError, engine_down
from serve.exchange import current
from serve.observer import Observer
from serve.registry import Registry
from serve.remote import RemotePictures
from serve.room import Room
from serve.served import Served
from serve.settings import Settings
from serve.warmup import faults
from serve.workers import Workers
from toolkit.errors import UserError
from toolkit.inference import Model

log = logging.getLogger("serve")

# Asked again after this many seconds, a service that starts or drains has usually changed.
_RETRY = {"Retry-After": "2"}
_STARTING = "the start-up check is still running"
_ENDING = "the service is shutting down"
_SHOWN_FAULTS = 3
_REVIVE_SECONDS = 1.0
_TRIM_EVERY = 10
_DRAIN_SECONDS = 0.05


class Service:
    """The models, their threads and their state. All methods are called on the event loop."""

    def __init__(self, models: Sequence[Model], settings: Settings, observer: Observer | None = None) -> None:
        """Raises UserError where two of ``models`` have one name and version."""
        self.settings = settings
        self.observer = observer or Observer()
        self.workers = Workers(settings.runs)
        self.room = Room(settings.runs, settings.waiting)
        self.bodies = BodyBudget(settings.max_body_bytes, settings.held_bytes, settings.body_seconds)
        self.registry = Registry()
        for model in models:
            self.registry.add(self._served(model))
        self.remote = RemotePictures(settings.picture_hosts, settings.max_body_bytes)
        self.why_not_ready = _STARTING
        self.failed = False
        self.checked = asyncio.Event()
        self.active = 0
        self._changing = asyncio.Lock()
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def default(self) -> Served:
        """The model that is asked where a request names none."""
        return self.registry.default

    @property
    def model(self) -> Model:
        """The model behind `default`."""
        return self.default.model

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return not self.why_not_ready and not any(served.down for served in self.registry)

    def find(self, name: str | None = None, version: str | None = None) -> Served:
        """The model of that name and version, by look-up only; `RequestError` 404 for one that is not served."""
        return self.registry.find(name, version)

    def listing(self) -> list[dict[str, Any]]:
        """What is served, in short: every version of every model, and whether it is the one asked by its name alone."""
        return [
            {
                "name": served.model.name,
                "version": served.model.spec.version,
                "task": served.model.spec.task,
                "current": self.find(served.model.name) is served,
                "ready": not self.why_not_ready and not served.down,
            }
            for served in self.registry
        ]

    def caller(self, request: Request) -> Caller:
        """Who waits behind ``request``, and until when."""
        return Caller.of(request, self.settings.timeout_seconds)

    async def check(self) -> None:
        """Warm the models and ask them their bundles' golden pictures; only then is the service ready."""
        found = []
        for served in list(self.registry):
            several = f"{served.model.name} {served.model.spec.version}: " if len(list(self.registry)) > 1 else ""
            found += [several + fault for fault in await asyncio.to_thread(_open, served)]
        if found:
            self.failed = True
            self.why_not_ready = f"the start-up check failed: {_shown(found)}"
        elif self.why_not_ready == _STARTING:
            self.why_not_ready = ""
        self.checked.set()

    async def replace(self, load: Callable[[], Model]) -> Served:
        """Load a model beside the served ones, warm and check it, and only then serve it in place of its name's.

        Requests that are inside are answered by the model that they came to; no request meets a gap. UserError where
        the model cannot be loaded, answers wrongly, or may not take the name: then nothing has changed.
        """
        async with self._changing:
            return await self._swap(self._served(await asyncio.to_thread(load)))

    async def roll_back(self, name: str) -> Served:
        """Serve again what the last `replace` of that name replaced, checked anew; UserError where there is nothing."""
        async with self._changing:
            return await self._swap(self.registry.way_back(name))

    async def unload(self, name: str) -> None:
        """Serve a model no more, in no version; UserError for the last one."""
        async with self._changing:
            for served in self.registry.remove(name):
                self._retire(served)

    async def tend(self) -> None:
        """Try engines that are down again, and give free memory back, until this is cancelled."""
        for second in itertools.count(1):
            await asyncio.sleep(_REVIVE_SECONDS)
            if second % _TRIM_EVERY == 0:
                for served in list(self.registry):
                    served.model.give_back()
                await asyncio.to_thread(trim)
            for served in list(self.registry):
                if served.down and await served.revive():
                    log.warning("the engine of %s works again", served.model.name)

    def close(self) -> None:
        """Start nothing more."""
        self.workers.close()

    def drain(self) -> None:
        """Take no more pictures; those inside are answered."""
        if not self.failed:
            self.why_not_ready = _ENDING

    def require_ready(self) -> None:
        """Raise `RequestError` 503 while pictures are not taken, or an engine is down."""
        self._require_open()
        if not self.ready:
            raise engine_down()

    def _require_open(self) -> None:
        if self.why_not_ready:
            headers = {} if self.failed else _RETRY
            if self.why_not_ready == _ENDING:  # whoever comes again shall meet another replica
                headers = {**headers, "Connection": "close"}
            raise RequestError(503, self.why_not_ready, headers)

    @contextmanager
    def admitted(self, name: str | None = None, version: str | None = None) -> Iterator[Served]:
        """Let a request in, from its first byte to its answer, and give the model that it asks; draining waits for it.

        Raises `RequestError` before anything is read: 503 not ready, 404 no such model, 429 no room.
        """
        self._require_open()
        served = self.find(name, version)
        if exchange := current():
            exchange.model = served.model.name
        served.require_room()
        self.active += 1
        served.active += 1
        try:
            yield served
        finally:
            self.active -= 1
            served.active -= 1

    def _served(self, model: Model) -> Served:
        return Served(model, self.workers, self.room, self.settings, self.observer)

    async def _swap(self, served: Served) -> Served:
        self.registry.check_swap(served)
        found = await asyncio.to_thread(_open, served)
        if found:
            raise UserError(f"bundle {served.model.bundle.path} is not served, its check failed: {_shown(found)}")
        old = self.registry.swap(served)
        log.info("%s %s is served now", served.model.name, served.model.spec.version)
        if old is not None:
            self._retire(old)
        return served

    def _retire(self, old: Served) -> None:
        """Let it answer what it holds, and then take its work no more; deadlines see to it that this ends."""

        async def drain() -> None:
            while old.active:
                await asyncio.sleep(_DRAIN_SECONDS)
            old.retire()

        task = asyncio.create_task(drain())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


def _shown(faults: Sequence[str]) -> str:
    return "; ".join(faults[:_SHOWN_FAULTS])


def _open(served: Served) -> list[str]:
    """Check a model's first answers and let it take work; what is wrong with them otherwise."""
    found = faults(served.model)
    if not found:
        served.warm()
    return found
