"""Several models in one service: which there are, and each by its name and version under ``/models``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from serve.answers import ANY_METADATA, PREDICT_BODY, ModelLine, any_task_responses, errors
from serve.caller import TIMEOUT_PARAMETER
from serve.options import query_of
from serve.routes.descriptions import metadata_answer, page_answer
from serve.routes.predict import predict_on
from serve.service import Service

_TAGS: list[Any] = ["models"]


def add(app: FastAPI, service: Service) -> None:
    """Add ``/models`` and what is under it."""

    @app.get("/models", response_model=list[ModelLine], summary="All models that are served", tags=_TAGS)
    async def models() -> Response:
        return JSONResponse(service.listing())

    @app.get(
        "/models/{name}/page",
        response_model=None,
        responses={200: {"content": {"text/html": {}}}, **errors(404)},
        openapi_extra={"parameters": _parameters("name")},
        summary="A page to drop a picture on, of one model",
        tags=_TAGS,
    )
    async def page(request: Request) -> Response:
        model = service.find(**request.path_params).model
        return page_answer(service, model, root="../../", metadata=f"../{quote(model.name, safe='')}")

    _add_model(app, service, "/models/{name}", ("name",))
    _add_model(app, service, "/models/{name}/versions/{version}", ("name", "version"))


def _add_model(app: FastAPI, service: Service, path: str, names: tuple[str, ...]) -> None:
    parameters = _parameters(*names)

    async def describe(request: Request) -> Response:
        return metadata_answer(service.find(**request.path_params).model)

    async def predict(request: Request) -> Response:
        return await predict_on(service, request, **request.path_params)

    app.get(
        path,
        response_model=ANY_METADATA,
        responses=errors(404),
        openapi_extra={"parameters": parameters},
        summary="What a model is",
        tags=_TAGS,
    )(describe)
    app.post(
        f"{path}/predict",
        response_model=None,
        responses={**any_task_responses(), **errors(404)},
        openapi_extra={**PREDICT_BODY, "parameters": [*parameters, *_options(service), TIMEOUT_PARAMETER]},
        summary="Ask a model by its name",
        description="What it takes and answers follows from its task, as at `/predict`.",
        tags=_TAGS,
    )(predict)


def _parameters(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _options(service: Service) -> list[dict[str, Any]]:
    """The query parameters of all models that are served at the start; a model takes those of its task."""
    found = {each["name"]: each for served in service.registry for each in query_of(served.model.spec).parameters()}
    return list(found.values())
