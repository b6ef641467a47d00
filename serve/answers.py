"""The answers' shapes, for the OpenAPI document; a test holds them equal to what the routes really send."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from serve.body import FORM_FIELD


class ErrorAnswer(BaseModel):
    """Every answer that is not 2xx."""

    error: str = Field(description="One sentence: what is wrong and what to do.")


class HealthAnswer(BaseModel):
    """A healthy state."""

    status: str


class DetectionAnswer(BaseModel):
    """A `DetectionResult`, with the names that Python has."""

    source: str = Field(description="Where the picture came from.")
    image_size: tuple[int, int] = Field(description="Height and width of the picture in pixels, turned upright.")
    class_names: list[str] = Field(description="All classes of the bundle; `class_ids` point into it.")
    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        description="N boxes [left, top, right, bottom] in pixels of the picture, highest score first."
    )
    scores: list[float] = Field(description="N scores from 0 to 1.")
    class_ids: list[int] = Field(description="N positions in `class_names`.")
    labels: list[str] = Field(description="N class names.")
    timing: dict[str, float] = Field(description="Milliseconds in decode, preprocess, network and postprocess.")


class Thresholds(BaseModel):
    """What the bundle uses where a request does not say otherwise."""

    score_threshold: float
    iou_threshold: float
    max_detections: int


class MetadataAnswer(BaseModel):
    """What is served here."""

    name: str
    version: str
    task: str
    labels: list[str]
    input_size: tuple[int, int] = Field(description="Height and width of the network's input in pixels.")
    postprocessing: Thresholds
    licence: str = Field(description="Licence of the weights and of the data behind them.")
    intended_use: str
    not_for: str
    metrics: dict[str, Any] | None = Field(description="What was measured, or null.")
    toolkit_version: str
    device: str


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` entry of a route that may answer these error statuses."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses}


_MEANING = {
    400: "The body is not one readable picture",
    404: "There is nothing at this path",
    406: "No type in the Accept header can be served",
    408: "The body came too slowly",
    413: "The body has too many bytes, or the picture too many pixels",
    415: "The Content-Type or Content-Encoding is not one of a picture",
    422: "A query parameter is unknown or out of range",
    429: "Busy: come back after the seconds in Retry-After",
    500: "A fault of the service; the log has it under the answer's X-Request-Id",
    503: "Starting, draining or unfit; the error says which",
}
_BINARY = {"type": "string", "format": "binary"}
_DRAWN = {"schema": _BINARY}
_TIMING = {
    "Server-Timing": {
        "description": "decode, preprocess, network and postprocess in milliseconds",
        "schema": {"type": "string"},
    }
}

PREDICT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": DetectionAnswer,
        "description": "The detections, or the picture with them drawn in, as the Accept header asks",
        "headers": _TIMING,
        "content": {"image/jpeg": _DRAWN, "image/png": _DRAWN},
    },
    **errors(400, 406, 408, 413, 415, 422, 429, 500, 503),
}
PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "description": f"One picture: its bytes, or a form with the field `{FORM_FIELD}`.",
        "content": {
            "image/jpeg": {"schema": _BINARY},
            "image/png": {"schema": _BINARY},
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "required": [FORM_FIELD], "properties": {FORM_FIELD: _BINARY}}
            },
        },
    }
}
