"""The ASGI application: put together of the routes in `serve.routes`. What they compute runs in threads of a bounded
number, never on the event loop.

It is one process; many of them stand behind a load balancer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.responses import Response

from serve.access import require_keys
from serve.background.runner import JobRunner, open_runner
from serve.cors import allow_origins
from serve.direct import Direct
from serve.door import Door
from serve.envelope import Ended, Envelope
from serve.errors import EXPECTED, as_request_error, error_answer
from serve.metrics import Metrics
from serve.routes import ROUTES
from serve.service import Service
from serve.settings import Settings
from serve.tracing import Traces
from toolkit.inference import Model


def create_app(model: Model | Sequence[Model], settings: Settings | None = None) -> FastAPI:
    """Return the service over one model or several; its `Service` is at ``app.state.service``.

    The first is the one asked where a request names none.

    The bundle's golden pictures are checked when the application starts; until then, and if it fails,
    `/health/ready` and `/predict` answer 503.
    """
    metrics = Metrics()
    settings = settings or Settings()
    service = Service([model] if isinstance(model, Model) else model, settings, metrics)
    # The interactive pages of FastAPI load their scripts from a content network: none without the Internet.
    app = FastAPI(
        title=f"{service.model.name} {service.model.spec.task} service",
        version=service.model.spec.version,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.error_forms = {}
    app.state.direct = {}
    app.state.metrics = metrics
    app.state.jobs = open_runner(service.model, settings) if settings.jobs else None
    for expected in EXPECTED:
        app.add_exception_handler(expected, _answer_error)
    for add in ROUTES:
        add(app, service)
    # From the inside out: the last one added sees a request first.
    app.add_middleware(Direct, routes=app.state.direct, refused=_answer_error)
    if settings.keys:
        require_keys(app, settings.keys)
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    traces = app.state.traces = Traces.to(settings.traces) if settings.traces else None
    ended = Ended([each.answered for each in (metrics, traces) if each])
    app.add_middleware(Envelope, ended=ended)
    # The layers of keys and of other sites' pages must see each request: they have no short way.
    short = not settings.keys and not settings.cors_origins
    app.state.door = Door(service, app.state.direct, ended) if short else None
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    jobs: JobRunner | None = app.state.jobs
    check = asyncio.create_task(service.check())
    tend = asyncio.create_task(service.tend())
    if jobs is not None:
        await jobs.start()
    yield
    if jobs is not None:
        await jobs.stop()
    service.drain()
    tend.cancel()
    await asyncio.gather(tend, return_exceptions=True)
    await check
    service.close()
    if app.state.traces is not None:
        await asyncio.to_thread(app.state.traces.close)


async def _answer_error(request: Request, error: Exception) -> Response:
    refusal = as_request_error(request, error)
    return error_answer(refusal.status, refusal.sentence, refusal.headers)
