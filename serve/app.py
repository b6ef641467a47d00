"""The ASGI application: its routes and limits. What it computes runs in a bounded pool, never on the event loop.

It is one process with one model; many of them stand behind a load balancer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, JSONResponse, Response

import toolkit
from serve.answers import PREDICT_BODY, TASKS, HealthAnswer, errors
from serve.body import BodyBudget, check_media_type
from serve.envelope import Envelope
from serve.errors import EXPECTED, RequestError, as_request_error, error_answer
from serve.negotiation import DRAWN, MASK, choose_answer
from serve.options import PredictQuery, repeated_sentence
from serve.page import page_for
from serve.pool import BoundedPool
from serve.service import Answer, Service
from toolkit.bundle_spec import ClassificationSpec
from toolkit.images import MAX_PIXELS
from toolkit.inference import Model
from toolkit.inference.engine import usable_cores

MAX_BODY_BYTES = 32 * 2**20
WAITING = 32
BODY_SECONDS = 60.0
# More runs at once than this only share the same caches and memory; each gets several cores instead.
MOST_WORKERS = 4
# Nothing on the page comes from elsewhere, and nobody may frame it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def default_workers() -> int:
    """Predictions that run at once, unless said otherwise: one a usable core, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, usable_cores())


def create_app(
    model: Model,
    *,
    workers: int | None = None,
    waiting: int = WAITING,
    max_body_bytes: int = MAX_BODY_BYTES,
    max_pixels: int = MAX_PIXELS,
    max_held_bytes: int | None = None,
    body_seconds: float = BODY_SECONDS,
) -> FastAPI:
    """Return the service over ``model``; its `Service` is at ``app.state.service``.

    ``workers`` predictions run at once (default: `default_workers`), ``waiting`` more wait, the rest get 429. A body
    over ``max_body_bytes`` or a picture over ``max_pixels`` gets 413, a body slower than ``body_seconds`` 408. All
    bodies together hold at most ``max_held_bytes`` (default: eight of the longest). The bundle's golden pictures are
    checked when the application starts; until then, and if it fails, `/health/ready` and `/predict` answer 503.
    """
    bodies = BodyBudget(max_body_bytes, max_held_bytes or 8 * max_body_bytes, body_seconds)
    service = Service(model, BoundedPool(workers or default_workers(), waiting), bodies, max_pixels)
    query = PredictQuery(model.spec)
    # The interactive pages of FastAPI load their scripts from a content network: none without the Internet.
    app = FastAPI(
        title=f"{model.name} {model.spec.task} service",
        version=model.spec.version,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = service
    app.add_middleware(Envelope)
    for expected in EXPECTED:
        app.add_exception_handler(expected, partial(_answer_error, query))
    _add_predict(app, service, query)
    _add_health(app, service)
    _add_descriptions(app, model)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    check = asyncio.create_task(service.check())
    yield
    service.drain()
    await check
    service.pool.close()


async def _answer_error(query: PredictQuery, request: Request, error: Exception) -> Response:
    refusal = as_request_error(request, error, query)
    return error_answer(refusal.status, refusal.sentence, refusal.headers)


def _add_predict(app: FastAPI, service: Service, query: PredictQuery) -> None:
    async def predict(request: Request, given: BaseModel) -> Response:
        # Everything that can be refused without the body is refused before it is read.
        service.require_ready()
        service.require_room()
        if sentence := repeated_sentence(name for name, _ in request.query_params.multi_items()):
            raise RequestError(422, sentence)
        options = query.options(given)
        service.require_evidence(options)
        check_media_type(request)
        offered = MASK if options.picture == "mask" else DRAWN
        media_type = choose_answer(", ".join(request.headers.getlist("accept")), offered)
        with service.admitted():
            body = await service.bodies.read(request)
            try:
                content_type = request.headers.get("content-type", "")
                answer = await service.predict(body, content_type, media_type, options)
            finally:
                service.bodies.release(body)
        return _response(answer)

    # FastAPI reads the parameters from the annotation, and only the bundle's task says which they are.
    predict.__annotations__["given"] = Annotated[query.model, Query()]
    task = TASKS[service.model.spec.task]
    app.post(
        "/predict",
        response_model=None,
        responses=task.responses(),
        openapi_extra=PREDICT_BODY,
        summary=task.summary,
        description=task.description,
        tags=["prediction"],
    )(predict)


def _response(answer: Answer) -> Response:
    timing = ", ".join(f"{stage};dur={spent:.3f}" for stage, spent in answer.timing.items())
    headers = {"Server-Timing": timing, "Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    return Response(answer.content, media_type=answer.media_type, headers=headers)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health/live", summary="Whether the event loop turns", tags=["health"])
    async def live() -> HealthAnswer:
        return HealthAnswer(status="live")

    @app.get("/health/ready", responses=errors(503), summary="Whether pictures are taken", tags=["health"])
    async def ready() -> HealthAnswer:
        service.require_ready()
        return HealthAnswer(status="ready")


def _add_descriptions(app: FastAPI, model: Model) -> None:
    task = TASKS[model.spec.task]
    description = JSONResponse(task.metadata(**_metadata(model)).model_dump(mode="json"))
    page = HTMLResponse(page_for(model.spec.task), headers=_PAGE_HEADERS)

    @app.get("/metadata", response_model=task.metadata, summary="What is served", tags=["descriptions"])
    async def describe() -> Response:
        return description

    @app.get("/", response_class=HTMLResponse, summary="A page to drop a picture on", tags=["descriptions"])
    async def show_page() -> Response:
        return page


def _metadata(model: Model) -> dict[str, Any]:
    """The fields of `MetadataAnswer` and of the task's own."""
    spec = model.spec
    fields: dict[str, Any] = {
        "name": spec.name,
        "version": spec.version,
        "task": spec.task,
        "labels": list(spec.labels),
        "input_size": spec.preprocessing.input_size,
        "postprocessing": spec.postprocessing,
        "licence": spec.licence,
        "intended_use": spec.intended_use,
        "not_for": spec.not_for,
        "metrics": model.bundle.read_json("metrics.json") if "metrics.json" in spec.files else None,
        "toolkit_version": toolkit.__version__,
        "device": model.device,
    }
    if isinstance(spec, ClassificationSpec):
        fields["explain"] = spec.network.map_output is not None
    return fields
