"""The answers' shapes, for the OpenAPI document; a test holds them equal to what the routes really send.

What differs by task stands in one table at the end, `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field

from serve.body import FORM_FIELD, JsonPicture
from toolkit.bundle_spec import ClassificationPostprocessing, DetectionPostprocessing, SegmentationPostprocessing

# A list and no tuple: many readers of OpenAPI documents do not know the keyword for those, prefixItems.
Size = Annotated[list[int], Field(min_length=2, max_length=2)]


class ErrorAnswer(BaseModel):
    """Every answer that is not 2xx."""

    error: str = Field(description="One sentence: what is wrong and what to do.")


class HealthAnswer(BaseModel):
    """A healthy state."""

    status: str


class ResultAnswer(BaseModel):
    """What the answers of all tasks share, with the names that Python has."""

    source: str = Field(description="Where the picture came from.")
    image_size: Size = Field(description="Height and width of the picture in pixels, turned upright.")
    class_names: list[str] = Field(description="All classes of the bundle; class ids point into it.")
    timing: dict[str, float] = Field(description="Milliseconds in decode, preprocess, network and postprocess.")


class DetectionAnswer(ResultAnswer):
    """A `DetectionResult`."""

    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        description="N boxes [left, top, right, bottom] in pixels of the picture, highest score first."
    )
    scores: list[float] = Field(description="N scores from 0 to 1.")
    class_ids: list[int] = Field(description="N positions in `class_names`.")
    labels: list[str] = Field(description="N class names.")
    decisions: list[str] | None = Field(
        default=None, description="N class names, or 'unsure'; missing of a bundle that always answers."
    )
    abstained: list[bool] | None = Field(default=None, description="N times whether the bundle is unsure.")
    reasons: list[str] | None = Field(default=None, description="N times why, in one sentence, or ''.")
    bins: list[str] | None = Field(default=None, description="N bins, or 'unsure'; missing of a bundle without bins.")


class RankedClass(BaseModel):
    """A class and how likely it is."""

    label: str
    score: float


class ClassificationAnswer(ResultAnswer):
    """A `ClassificationResult`."""

    probabilities: list[float] = Field(description="One from 0 to 1 for each of `class_names`; their sum is 1.")
    label: str = Field(description="The likeliest class.")
    score: float = Field(description="Its probability.")
    class_id: int = Field(description="Its position in `class_names`.")
    top: list[RankedClass] = Field(description="The `top_k` likeliest classes, falling.")
    decision: str | None = Field(
        default=None, description="The likeliest class, or 'unsure'; missing of a bundle that always answers."
    )
    abstained: bool | None = Field(default=None, description="Whether the bundle is unsure.")
    reason: str | None = Field(default=None, description="Why, in one sentence, or ''.")
    bin: str | None = Field(
        default=None, description="The likeliest bin, or 'unsure'; missing of a bundle without bins."
    )
    bin_probabilities: dict[str, float] | None = Field(
        default=None, description="Of each bin, the sum of its classes' probabilities."
    )


class RunLengths(BaseModel):
    """COCO's compressed run lengths, down the columns; pycocotools decodes them."""

    size: Size = Field(description="Height and width of the picture in pixels.")
    counts: str


class ClassMask(BaseModel):
    """Where one class is."""

    class_id: int = Field(description="Position in `class_names`.")
    label: str
    area: int = Field(description="Pixels of the picture.")
    rle: RunLengths


class SegmentationAnswer(ResultAnswer):
    """A `SegmentationResult`, as it comes with `masks=rle`."""

    masks: list[ClassMask] = Field(description="Every class that is there; each pixel belongs to one of them.")


class SegmentationPngAnswer(ResultAnswer):
    """A `SegmentationResult`, as it comes with `masks=png`."""

    mask_png: str = Field(description="Base64 of an 8-bit grey PNG of the picture's size whose values are class ids.")


class MetadataAnswer(BaseModel):
    """What is served here."""

    name: str
    version: str
    task: str
    labels: list[str]
    input_size: Size = Field(
        description="Height and width of the network's input in pixels; the largest, where it takes several."
    )
    licence: str = Field(description="Licence of the weights and of the data behind them.")
    intended_use: str
    not_for: str
    metrics: dict[str, Any] | None = Field(description="What was measured, or null.")
    toolkit_version: str
    device: str
    precision: str = Field(description="What the network computes in: fp32 or int8.")


class ModelLine(BaseModel):
    """One version of a model that is served."""

    name: str
    version: str
    task: str
    current: bool = Field(description="Whether this version is asked where a request names none.")
    ready: bool


_DEFAULTS = Field(description="What the bundle uses where a request does not say otherwise.")


class DetectionMetadata(MetadataAnswer):
    """A detector."""

    postprocessing: DetectionPostprocessing = _DEFAULTS


class ClassificationMetadata(MetadataAnswer):
    """A classifier."""

    postprocessing: ClassificationPostprocessing = _DEFAULTS
    explain: bool = Field(description="Whether `explain=true` can draw where the evidence lies.")


class SegmentationMetadata(MetadataAnswer):
    """A segmentation network."""

    postprocessing: SegmentationPostprocessing = _DEFAULTS


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` entry of a route that may answer these error statuses."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses}


def error_schema(own: Mapping[str, Any], *statuses: int) -> dict[str, Any]:
    """The same for a document that FastAPI has made already, in the form that the route's ``own`` errors have."""
    plain = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}}}
    content = next((each["content"] for status, each in own.items() if status[0] in "45"), plain)
    return {str(status): {"description": _MEANING[status], "content": content} for status in statuses}


_MEANING = {
    400: "The body is not one readable picture",
    401: "No API key came, or one that is not known here",
    403: "The API key lacks the scope for this",
    404: "There is nothing at this path",
    406: "No type in the Accept header can be served",
    408: "The body came too slowly",
    409: "The job is not in a state for this",
    413: "The body has too many bytes, or the picture too many pixels",
    415: "The Content-Type or Content-Encoding is none that is read here",
    422: "A query parameter is unknown, out of range, or nothing that this bundle can do",
    429: "Busy: come back after the seconds in Retry-After",
    500: "A fault of the service; the log has it under the answer's X-Request-Id",
    504: "The deadline of the request passed before an answer was there",
    502: "The host that a URL names did not give the picture",
    503: "Starting, draining or unfit; the error says which",
}
_BINARY = {"type": "string", "format": "binary"}
_TIMING = {
    "Server-Timing": {
        "description": "decode, preprocess, network and postprocess in milliseconds",
        "schema": {"type": "string"},
    }
}


@dataclass(frozen=True)
class TaskAnswers:
    """What the OpenAPI document says of one task.

    ``summary`` is what `/predict` does, ``answer`` its JSON; ``drawn`` is what a picture shows that it answers where
    the Accept header asks for one, ``png`` what more a PNG may be.
    """

    summary: str
    answer: Any
    metadata: type[MetadataAnswer]
    drawn: str
    png: str = ""

    @property
    def description(self) -> str:
        """What `/predict` answers, in a few sentences."""
        return (
            "Answers JSON, or a picture where the Accept header prefers `image/jpeg` or `image/png`: "
            f"{self.drawn}{self.png}. The query parameters hold for this request alone."
        )

    def responses(self) -> dict[int | str, dict[str, Any]]:
        """The ``responses`` entry of `/predict`."""
        shown = {
            "image/jpeg": {"schema": {**_BINARY, "description": self.drawn}},
            "image/png": {"schema": {**_BINARY, "description": self.drawn + self.png}},
        }
        answered = {
            "model": self.answer,
            "description": "The answer as JSON or as a picture, as the Accept header asks",
            "headers": _TIMING,
            "content": shown,
        }
        return {200: answered, **errors(400, 406, 408, 413, 415, 422, 429, 500, 503, 504)}


TASKS = {
    "detection": TaskAnswers(
        summary="Find objects in one picture",
        answer=DetectionAnswer,
        metadata=DetectionMetadata,
        drawn="the given picture with the detections drawn in",
    ),
    "classification": TaskAnswers(
        summary="Say what one picture shows",
        answer=ClassificationAnswer,
        metadata=ClassificationMetadata,
        drawn="the given picture with the likeliest classes and, with `explain=true`, the heat map of the evidence",
    ),
    "segmentation": TaskAnswers(
        summary="Say what each pixel of one picture is",
        answer=SegmentationAnswer | SegmentationPngAnswer,
        metadata=SegmentationMetadata,
        drawn="the given picture with the classes tinted, outlined and named",
        png="; with `picture=mask` the mask alone, 8-bit grey whose values are the class ids",
    ),
}

ANY_METADATA = DetectionMetadata | ClassificationMetadata | SegmentationMetadata


def any_task_responses() -> dict[int | str, dict[str, Any]]:
    """The ``responses`` entry of a route that predicts with a model of any task."""
    model = DetectionAnswer | ClassificationAnswer | SegmentationAnswer | SegmentationPngAnswer
    responses = TASKS["detection"].responses()
    shown = {kind: {"schema": {**_BINARY, "description": "as at `/predict`"}} for kind in ("image/jpeg", "image/png")}
    return {**responses, 200: {**responses[200], "model": model, "content": shown}}


PREDICT_BODY = {
    "requestBody": {
        "required": True,
        "description": f"One picture: its bytes, a form with the field `{FORM_FIELD}`, or JSON with it in base64.",
        "content": {
            "image/jpeg": {"schema": _BINARY},
            "image/png": {"schema": _BINARY},
            "image/*": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "required": [FORM_FIELD], "properties": {FORM_FIELD: _BINARY}}
            },
            "application/json": {"schema": JsonPicture.model_json_schema()},
        },
    }
}
