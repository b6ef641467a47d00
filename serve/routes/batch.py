"""The native dialect for many pictures: ``POST /predict/batch`` answers each of a form, or says why not."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field, create_model
from starlette.responses import Response

from serve.answers import TASKS, errors
from serve.body import FORM_FIELD, Upload, media_type, unpack_all
from serve.caller import TIMEOUT_PARAMETER
from serve.errors import RequestError, as_request_error
from serve.forms import MAX_PARTS
from serve.negotiation import JSON
from serve.options import PredictOptions, query_of
from serve.rendering import render
from serve.service import Service
from toolkit.results import Result

log = logging.getLogger("serve")

_FILES = {"type": "array", "maxItems": MAX_PARTS, "items": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "required": [FORM_FIELD], "properties": {FORM_FIELD: _FILES}}}


class FailedPicture(BaseModel):
    """Stands in a batch where a picture could not be answered."""

    source: str = Field(description="Where the picture came from.")
    error: str = Field(description="One sentence: what is wrong and what to do.")
    status: int = Field(description="What `/predict` would have answered for it alone.")


def add(app: FastAPI, service: Service) -> None:
    """Add ``/predict/batch``."""
    spec = service.model.spec
    query = query_of(spec)
    each: Any = TASKS[spec.task].answer | FailedPicture
    shape: Any = (list[each], ...)
    answer = create_model("BatchAnswer", results=shape)

    async def predict_batch(request: Request) -> Response:
        with service.admitted() as served:
            caller = service.caller(request)
            options = query.read(request.query_params.multi_items())
            served.check_options(options.explain, options.overrides)
            content_type = request.headers.get("content-type", "")
            _require_form(content_type)
            async with service.bodies.of(request) as body:
                uploads = await served.work(partial(unpack_all, body, content_type), caller, len(body))
                if not uploads:
                    raise RequestError(400, f"the form has no pictures; send them in the field {FORM_FIELD!r}")
                answers = await served.results(
                    [upload.checked for upload in uploads],
                    caller,
                    partial(_rendered, options=options),
                    options=options.overrides,
                )
        return Response(_joined(request, uploads, answers), media_type=JSON)

    app.post(
        "/predict/batch",
        response_model=None,
        responses={
            200: {"model": answer, "description": "An answer for each picture, in the order of the form"},
            **errors(400, 408, 413, 415, 422, 429, 500, 503, 504),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {"multipart/form-data": _FORM}},
            "parameters": [*query.parameters(), TIMEOUT_PARAMETER],
        },
        summary=f"The same for up to {MAX_PARTS} pictures, each answered or failed alone",
        tags=["prediction"],
    )(predict_batch)


def _require_form(content_type: str) -> None:
    kind = media_type(content_type)
    if kind != "multipart/form-data":
        raise RequestError(
            415,
            f"Content-Type {kind!r} is no form; send the pictures as multipart/form-data in the field {FORM_FIELD!r}",
        )


def _rendered(result: Result, options: PredictOptions) -> bytes:
    return render(result, JSON, options)


def _joined(request: Request, uploads: Sequence[Upload], answers: Sequence[bytes | Exception]) -> bytes:
    parts = [
        _failure(request, upload, answer) if isinstance(answer, Exception) else answer
        for upload, answer in zip(uploads, answers, strict=True)
    ]
    return b'{"results": [%s]}' % b", ".join(parts)


def _failure(request: Request, upload: Upload, error: Exception) -> bytes:
    try:
        refusal = as_request_error(request, error)
    except Exception:
        log.exception("a picture of a batch failed")
        refusal = RequestError(500, f"{upload.name}: the service failed on this picture; its log has the reason")
    failed = FailedPicture(source=upload.name, error=refusal.sentence, status=refusal.status)
    return json.dumps(failed.model_dump()).encode()
