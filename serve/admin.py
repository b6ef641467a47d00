"""The admin API: load a bundle beside the served ones, swap, go back, unload. Off by default, and on a port of its own,
so that no client of the service can reach it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.responses import JSONResponse, Response

from serve.access import require_keys
from serve.answers import ErrorAnswer
from serve.envelope import Ended, Envelope
from serve.errors import EXPECTED, RequestError, as_request_error, error_answer
from serve.service import Service
from serve.shelf import Shelf
from toolkit.errors import UserError

_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorAnswer, "description": "Refused; what was served is served on"}
}


def create_admin_app(service: Service, shelf: Shelf) -> FastAPI:
    """The application that changes what ``service`` serves; bundles come from ``shelf`` only.

    Where the service has keys, this needs one with the scope "admin".
    """
    app = FastAPI(
        title="Models of this service", docs_url=None, redoc_url=None, dependencies=[Depends(_require_no_page)]
    )
    app.state.error_forms = {}
    for expected in (*EXPECTED, UserError):
        app.add_exception_handler(expected, _answer_error)

    @app.get("/models", summary="What is served, and what lies ready to be loaded")
    async def models() -> JSONResponse:
        return JSONResponse({"served": service.listing(), "bundles": await asyncio.to_thread(shelf.names)})

    @app.post("/models/{bundle}/load", responses=_REFUSED, summary="Load a bundle; it replaces the model of its name")
    async def load(bundle: str) -> JSONResponse:
        served = await service.replace(lambda: shelf.load(bundle))
        return JSONResponse({"name": served.model.name, "version": served.model.spec.version})

    @app.post("/models/{name}/rollback", responses=_REFUSED, summary="Serve again what the last load replaced")
    async def rollback(name: str) -> JSONResponse:
        served = await service.roll_back(name)
        return JSONResponse({"name": served.model.name, "version": served.model.spec.version})

    @app.post("/models/{name}/unload", responses=_REFUSED, summary="Serve a model no more")
    async def unload(name: str) -> JSONResponse:
        await service.unload(name)
        return JSONResponse({"served": service.listing()})

    if service.settings.keys:
        require_keys(app, service.settings.keys, "admin")
    app.add_middleware(Envelope, ended=Ended([]))
    return app


def _require_no_page(request: Request) -> None:
    """A web page that this machine's browser shows reaches this port too, and may send a POST to it."""
    if "origin" in request.headers:
        raise RequestError(403, "the admin API is not for web pages; ask it from a command line")


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, UserError):
        return error_answer(409, str(error))
    refusal = as_request_error(request, error)
    return error_answer(refusal.status, refusal.sentence, refusal.headers)
