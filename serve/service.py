"""What stands behind the routes: one model, the pool it runs in, and whether it may be asked now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from serve.body import BodyBudget, unpack
from serve.errors import RequestError
from serve.negotiation import JSON
from serve.options import PredictOptions
from serve.pool import BoundedPool, PoolFullError
from serve.rendering import render
from toolkit.errors import UserError
from toolkit.inference import Model, check_golden

log = logging.getLogger("serve")

# Asked again after this many seconds, a service that starts or drains has usually changed.
_RETRY = {"Retry-After": "2"}
_STARTING = "the start-up check is still running"
_SHOWN_FAULTS = 3


@dataclass(frozen=True)
class Answer:
    """A finished answer: nothing is left to compute for the event loop."""

    content: bytes
    media_type: str
    timing: Mapping[str, float]


class Service:
    """The model, its pool and its state. All methods are called on the event loop; only `_predict` runs elsewhere."""

    def __init__(self, model: Model, pool: BoundedPool, bodies: BodyBudget, max_pixels: int) -> None:
        self.model = model
        self.pool = pool
        self.bodies = bodies
        self.max_pixels = max_pixels
        self.why_not_ready = _STARTING
        self.failed = False
        self.checked = asyncio.Event()
        self.active = 0

    @property
    def ready(self) -> bool:
        """Whether pictures are taken."""
        return not self.why_not_ready

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

    def require_evidence(self, options: PredictOptions) -> None:
        """Raise `RequestError` 422 where a heat map is asked for and the bundle cannot draw one."""
        try:
            self.model.task.wanted(self.model.spec, options.explain)
        except UserError as error:
            raise RequestError(422, f"query parameter {error}") from error

    def require_room(self) -> None:
        """Raise `RequestError` 429 while no more pictures fit."""
        try:
            self.pool.require_room()
        except PoolFullError as full:
            raise _busy(full) from full

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request that has been let in, from its first byte to its answer: draining waits for it."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def predict(self, body: bytearray, content_type: str, media_type: str, options: PredictOptions) -> Answer:
        """Turn a body into an answer, in the pool."""
        try:
            return await self.pool.run(partial(self._predict, body, content_type, media_type, options))
        except PoolFullError as full:
            raise _busy(full) from full

    def _predict(self, body: bytearray, content_type: str, media_type: str, options: PredictOptions) -> Answer:
        upload = unpack(body, content_type)
        picture = self.model.decode(upload.data, name=upload.name, max_pixels=self.max_pixels)
        explain = options.explain and media_type != JSON  # a heat map is there to be drawn
        result = self.model.run_batch([picture], explain=explain, **options.overrides)[0]
        return Answer(render(result, media_type, options), media_type, result.timing)


def _first_answers(model: Model) -> list[str]:
    """What is wrong with the model's first answers. The grey picture is for bundles without golden ones: it makes
    kernels and buffers, so that the first client does not wait for them."""
    height, width = model.spec.preprocessing.input_size
    model.run_batch([np.full((height, width, 3), 127, np.uint8)])[0].to_dict()
    return check_golden(model)


def _busy(full: PoolFullError) -> RequestError:
    return RequestError(429, "the service is busy; try again later", {"Retry-After": str(full.retry_after)})
