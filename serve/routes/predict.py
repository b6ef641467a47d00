"""The native dialect: one picture to ``POST /predict``, as its bytes or in a form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fastapi import FastAPI, Request
from starlette.responses import Response

from serve.answers import PREDICT_BODY, TASKS
from serve.body import check_media_type, unpack
from serve.caller import TIMEOUT_PARAMETER
from serve.direct import post
from serve.negotiation import DRAWN, JSON, MASK, choose_answer
from serve.options import PredictOptions, query_of
from serve.rendering import render
from serve.service import Service
from toolkit.results import Result


def add(app: FastAPI, service: Service) -> None:
    """Add ``/predict``."""
    task = TASKS[service.model.spec.task]

    async def predict(request: Request) -> Response:
        try:
            return await predict_on(service, request)
        finally:
            service.room.coming.leave(request.scope)

    post(
        app,
        "/predict",
        predict,
        responses=task.responses(),
        openapi_extra={**PREDICT_BODY, "parameters": [*query_of(service.model.spec).parameters(), TIMEOUT_PARAMETER]},
        summary=task.summary,
        description=task.description,
        tags=["prediction"],
    )


async def predict_on(
    service: Service, request: Request, name: str | None = None, version: str | None = None
) -> Response:
    """Answer a request to the model of that name and version, or to the default one."""
    # Everything that can be refused without the body is refused before it is read.
    with service.admitted(name, version) as served:
        caller = service.caller(request)
        served.require_room(1, caller.left)
        options = query_of(served.model.spec).read(request.query_params.multi_items())
        media_type = _media_type(request, options)
        explain = options.explain and media_type != JSON  # a heat map is there to be drawn
        served.check_options(options.explain, options.overrides)
        check_media_type(request)
        async with service.bodies.of(request) as body:
            service.room.coming.leave(request.scope)
            upload = partial(unpack, body, request.headers.get("content-type", ""))
            finish = partial(_finish, media_type=media_type, options=options)
            content, timing = await served.result(upload, caller, finish, explain=explain, options=options.overrides)
    return Response(content, media_type=media_type, headers=_headers(timing))


def _media_type(request: Request, options: PredictOptions) -> str:
    offered = MASK if options.picture == "mask" else DRAWN
    return choose_answer(", ".join(request.headers.getlist("accept")), offered)


def _finish(result: Result, media_type: str, options: PredictOptions) -> tuple[bytes, Mapping[str, float]]:
    return render(result, media_type, options), result.timing


def _headers(timing: Mapping[str, float]) -> dict[str, str]:
    stages = ", ".join(f"{stage};dur={spent:.3f}" for stage, spent in timing.items())
    return {"Server-Timing": stages, "Vary": "Accept", "X-Content-Type-Options": "nosniff"}
