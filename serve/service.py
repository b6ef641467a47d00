"""What stands behind the routes: the models, the threads they run in, and whether they may be asked now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from starlette.requests import Request

from serve.body import BodyBudget
from serve.caller import Caller
from serve.errors import RequestError
from serve.exchange import current
from serve.observer import Observer
from serve.pool import BoundedPool
from serve.remote import RemotePictures
from serve.served import Served
from serve.settings import Settings
from toolkit.errors import UserError, suggest
from toolkit.inference import Model, check_golden

log = logging.getLogger("serve")

# Asked again after this many seconds, a service that starts or drains has usually changed.
_RETRY = {"Retry-After": "2"}
_STARTING = "the start-up check is still running"
_SHOWN_FAULTS = 3


class Service:
    """The model, its threads and its state. All methods are called on the event loop."""

    def __init__(self, model: Model, settings: Settings, observer: Observer | None = None) -> None:
        self.settings = settings
        self.observer = observer or Observer()
        self.pool = BoundedPool(settings.runs, settings.waiting)
        self.bodies = BodyBudget(settings.max_body_bytes, settings.held_bytes, settings.body_seconds)
        self.default = Served(model, self.pool, settings.max_pixels, self.observer)
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
        return not self.why_not_ready

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
        try:
            faults = await self.pool.run(partial(_first_answers, self.model))
        except UserError as error:
            faults = [str(error)]
        except Exception:
            log.exception("the start-up check could not be run")
            faults = ["it could not be run, the log has the reason"]
        if faults:
            self.failed = True
            self.why_not_ready = f"the start-up check failed: {'; '.join(faults[:_SHOWN_FAULTS])}"
        elif self.why_not_ready == _STARTING:
            self.why_not_ready = ""
        self.checked.set()

    def drain(self) -> None:
        """Take no more pictures; those inside are answered."""
        if not self.failed:
            self.why_not_ready = "the service is shutting down"

    def require_ready(self) -> None:
        """Raise `RequestError` 503 while pictures are not taken."""
        if self.why_not_ready:
            raise RequestError(503, self.why_not_ready, {} if self.failed else _RETRY)

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


def _first_answers(model: Model) -> list[str]:
    """What is wrong with the model's first answers. The grey picture is for bundles without golden ones: it makes
    kernels and buffers, so that the first client does not wait for them."""
    height, width = model.spec.preprocessing.input_size
    model.run_batch([np.full((height, width, 3), 127, np.uint8)])[0].to_dict()
    return check_golden(model)
