"""What is served here: its metadata, and the page to drop a picture on."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse, JSONResponse, Response

import toolkit
from serve.answers import TASKS
from serve.page import page_for
from serve.service import Service
from toolkit.bundle_spec import ClassificationSpec
from toolkit.inference import Model

# Nothing on the page comes from elsewhere, and nobody may frame it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def add(app: FastAPI, service: Service) -> None:
    """Add ``/metadata`` and the page at ``/``."""
    task = TASKS[service.model.spec.task]

    @app.get("/metadata", response_model=task.metadata, summary="What is served", tags=["descriptions"])
    async def describe() -> Response:
        return metadata_answer(service.model)

    @app.get("/", response_class=HTMLResponse, summary="A page to drop a picture on", tags=["descriptions"])
    async def show_page() -> Response:
        return page_answer(service, service.model)


def page_answer(service: Service, model: Model, **addresses: str) -> Response:
    """The page of a model; ``addresses`` as in `page_for`."""
    page = page_for(model.spec.task, keyed=bool(service.settings.keys), **addresses)
    return HTMLResponse(page, headers=_PAGE_HEADERS)


def metadata_answer(model: Model) -> Response:
    """What a model is, as JSON."""
    return JSONResponse(TASKS[model.spec.task].metadata(**metadata(model)).model_dump(mode="json"))


def metadata(model: Model) -> dict[str, Any]:
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
        "precision": model.precision,
    }
    if isinstance(spec, ClassificationSpec):
        fields["explain"] = spec.network.map_output is not None
    return fields
