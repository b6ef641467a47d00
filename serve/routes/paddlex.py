"""PaddleX 3's basic serving: its routes, fields and envelope, so that its clients only change the address.

Source: the API references in PaddleX 3's pipeline tutorials for object detection, image classification and semantic
segmentation. Only the route of the bundle's task is served, the size of the network's input is the bundle's (there is
no targetSize), and a field that is not known is refused where PaddleX drops it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response

from serve.body import Upload
from serve.caller import TIMEOUT_PARAMETER
from serve.errors import RequestError
from serve.exchange import current
from serve.json_fields import JsonBody, from_base64, read_fields
from serve.negotiation import JSON
from serve.service import Service
from toolkit import images
from toolkit.bundle_spec import BundleSpec, DetectionSpec
from toolkit.errors import UserError
from toolkit.results import ClassificationResult, DetectionResult, Result, SegmentationResult

_TAGS: list[Any] = ["paddlex"]
_PICTURE = "image"  # the field, and the source that an error names


class _Question(JsonBody):
    """What the requests of all tasks share; ``visualize`` (default: true) asks for the drawn picture."""

    image: str
    visualize: bool | None = None


class _DetectionQuestion(_Question):
    threshold: JsonValue = None


class _ClassificationQuestion(_Question):
    topk: int | None = Field(default=None, ge=1)


class _SegmentationQuestion(_Question):
    pass


@dataclass(frozen=True)
class _Operation:
    """One of PaddleX's pipelines: its route, its question as options of the bundle, and a result in its fields."""

    path: str
    question: type[_Question]
    options: Callable[[Any, BundleSpec], Mapping[str, Any]]
    shown: Callable[[Any, Any, BundleSpec], Result]
    fields: Callable[[Any], bytes]


class PaddleXHealth(BaseModel):
    """PaddleX's answer to a health check, and the shape of its errors."""

    logId: str = Field(description="The request's id.")  # noqa: N815
    errorCode: int = Field(description="0, or the HTTP status of an error.")  # noqa: N815
    errorMsg: str = Field(description="One sentence.")  # noqa: N815


def error_form(status: int, sentence: str, request_id: str) -> dict[str, Any]:
    """An error as PaddleX tells it."""
    return {"logId": request_id, "errorCode": status, "errorMsg": sentence}


def add(app: FastAPI, service: Service) -> None:
    """Add ``/health`` and a route for each task."""

    @app.get("/health", responses=_errors(503), summary="Whether pictures are taken", tags=[*_TAGS, "health"])
    async def health() -> PaddleXHealth:
        service.require_ready()
        return PaddleXHealth(**error_form(0, "Healthy", _log_id()))

    app.state.error_forms["/health"] = error_form
    for task, operation in _OPERATIONS.items():
        app.state.error_forms[operation.path] = error_form
        _add_operation(app, service, task, operation)


def _add_operation(app: FastAPI, service: Service, task: str, operation: _Operation) -> None:
    async def infer(request: Request) -> Response:
        with service.admitted() as served:
            caller, spec = service.caller(request), served.model.spec
            if spec.task != task:
                mine = _OPERATIONS[spec.task].path
                raise RequestError(404, f"{spec.name} is a {spec.task} model and no {task} model; use POST {mine}")
            async with service.bodies.of(request) as body:
                asked = await served.work(partial(read_fields, body, operation.question), caller, len(body))
                named = asked.image.startswith(("http://", "https://"))
                given = await service.remote.fetch(asked.image) if named else partial(_upload, asked.image)
                content = await served.result(
                    given,
                    caller,
                    partial(_answer, operation, asked, spec, _log_id()),
                    options=operation.options(asked, spec),
                )
        return Response(content, media_type=JSON)

    app.post(
        operation.path,
        response_model=None,
        responses={
            200: {"description": "The result in PaddleX's envelope", "content": {JSON: {"schema": {"type": "object"}}}},
            **_errors(400, 404, 408, 413, 415, 422, 429, 500, 502, 503, 504),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": operation.question.model_json_schema()}}},
            "parameters": [TIMEOUT_PARAMETER],
        },
        summary=f"PaddleX 3's {operation.path[1:].replace('-', ' ')}",
        tags=_TAGS,
    )(infer)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": PaddleXHealth, "description": "An error in PaddleX's envelope"} for status in statuses}


def _log_id() -> str:
    exchange = current()
    return exchange.request_id if exchange else ""


def _upload(image: str) -> Upload:
    return Upload(from_base64(image, _PICTURE), _PICTURE)


def _answer(operation: _Operation, asked: _Question, spec: BundleSpec, log_id: str, result: Result) -> bytes:
    """The whole body, made in a worker thread."""
    shown = operation.shown(result, asked, spec)
    fields = operation.fields(shown)
    drawn = b"" if asked.visualize is False else b', "image": "%s"' % base64.b64encode(_drawn(shown))
    envelope = b'{"logId": %s, "result": {%s%s}, "errorCode": 0, "errorMsg": "Success"}'
    return envelope % (json.dumps(log_id).encode(), fields, drawn)


def _drawn(result: Result) -> bytes:
    try:
        return images.encode(result.draw(), ".jpg")
    except UserError as error:  # JPEG ends at 65500 pixels a side
        raise RequestError(422, f"{result.source}: {error}; send visualize as false") from error


def _as_it_is(result: Result, asked: _Question, spec: BundleSpec) -> Result:
    return result


# Detection: a threshold for all, or one for each class by its id.


def _thresholds(asked: _DetectionQuestion, spec: BundleSpec) -> NDArray[np.float64] | None:
    """One for each class, the bundle's where none is given; None where the bundle's hold for all."""
    assert isinstance(spec, DetectionSpec)
    given = asked.threshold
    if given is None:
        return None
    by_class = given if isinstance(given, dict) else dict.fromkeys(map(str, range(len(spec.labels))), given)
    thresholds = np.full(len(spec.labels), spec.postprocessing.score_threshold)
    for key, value in by_class.items():
        if not (key.isascii() and key.isdecimal() and int(key[:9]) < len(thresholds)):
            raise RequestError(422, f"threshold: expected class ids from 0 to {len(thresholds) - 1}, got {key[:40]!r}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise RequestError(
                422, f"threshold: expected a number from 0 to 1, or one for each class id, got {value!r}"
            )
        thresholds[int(key)] = value
    return thresholds


def _detection_options(asked: _DetectionQuestion, spec: BundleSpec) -> Mapping[str, Any]:
    thresholds = _thresholds(asked, spec)
    return {} if thresholds is None else {"score_threshold": float(thresholds.min())}


def _over_its_threshold(result: DetectionResult, asked: _DetectionQuestion, spec: BundleSpec) -> Result:
    thresholds = _thresholds(asked, spec)
    if thresholds is None:
        return result
    kept = result.scores >= thresholds[result.class_ids].astype(np.float32)
    return replace(result, boxes=result.boxes[kept], scores=result.scores[kept], class_ids=result.class_ids[kept])


def _detected_objects(result: DetectionResult) -> bytes:
    found = result.to_dict()
    keys = {"boxes": "bbox", "class_ids": "categoryId", "labels": "categoryName", "scores": "score"}
    keys |= {"decisions": "decision", "abstained": "abstained", "reasons": "reason"} if "decisions" in found else {}
    keys |= {"bins": "bin"} if "bins" in found else {}
    rows = zip(*(found[ours] for ours in keys), strict=True)
    return b'"detectedObjects": ' + json.dumps([dict(zip(keys.values(), row, strict=True)) for row in rows]).encode()


def _classification_options(asked: _ClassificationQuestion, spec: BundleSpec) -> Mapping[str, Any]:
    return {"top_k": asked.topk}


def _categories(result: ClassificationResult) -> bytes:
    best = np.argsort(-result.probabilities, kind="stable")[: result.top_k].tolist()
    categories = [
        {"id": class_id, "name": result.class_names[class_id], "score": round(float(result.probabilities[class_id]), 6)}
        for class_id in best
    ]
    fields: dict[str, Any] = {"categories": categories}
    if result.abstention is not None:
        fields |= {"decision": result.decision, "abstained": result.abstained, "reason": result.reason}
    if result.bins:
        fields["bin"] = result.bin
    return json.dumps(fields).encode()[1:-1]


def _no_options(asked: _SegmentationQuestion, spec: BundleSpec) -> Mapping[str, Any]:
    return {}


def _label_map(result: SegmentationResult) -> bytes:
    """The class ids row by row. Each takes the same width, so that NumPy writes them: a picture has millions."""
    digits = len(str(int(result.mask.max(initial=0))))
    words = np.array([f"{class_id:>{digits}}," for class_id in range(len(result.class_names))], f"S{digits + 1}")
    items = words[result.mask.ravel()].tobytes()[:-1]
    return b'"labelMap": [%s], "size": %s' % (items, json.dumps(list(result.mask.shape)).encode())


_OPERATIONS: dict[str, _Operation] = {
    "detection": _Operation(
        "/object-detection", _DetectionQuestion, _detection_options, _over_its_threshold, _detected_objects
    ),
    "classification": _Operation(
        "/image-classification", _ClassificationQuestion, _classification_options, _as_it_is, _categories
    ),
    "segmentation": _Operation("/semantic-segmentation", _SegmentationQuestion, _no_options, _as_it_is, _label_map),
}
