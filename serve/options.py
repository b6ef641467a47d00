"""The query parameters of ``/predict``: what the bundle's task lets a call override, and the form of the answer.

One table for each; which of them a service takes follows from its bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from serve.errors import RequestError
from toolkit.bundle_spec import BundleSpec, Postprocessing
from toolkit.errors import suggest

# The options that a task's postprocessing may have; their types and bounds stand in `toolkit.bundle_spec`.
_OVERRIDES = {
    "score_threshold": "Detections with a lower score are left out.",
    "iou_threshold": "Of two boxes of one class that overlap by more than this IoU, the better stays.",
    "max_detections": "At most this many detections, the best ones.",
    "top_k": "How many of the likeliest classes `top` lists.",
}


@dataclass(frozen=True)
class Parameter:
    """One query parameter: its type with its bounds, its value when it is not given, its values in words, its use."""

    kind: Any
    default: Any
    words: str
    meaning: str


# How an answer is given, by task: each is a field of `PredictOptions`.
_FORMS: dict[str, dict[str, Parameter]] = {
    "classification": {
        "explain": Parameter(
            bool,
            False,
            "true or false",
            "Draw where the evidence for the likeliest class lies, as a heat map; the JSON stays as it is.",
        ),
    },
    "segmentation": {
        "masks": Parameter(
            Literal["rle", "png"],
            "rle",
            "rle or png",
            "The mask in the JSON: `masks` with COCO's run lengths of each class, or `mask_png`, a PNG in base64.",
        ),
        "picture": Parameter(
            Literal["drawn", "mask"],
            "drawn",
            "drawn or mask",
            "Which picture an image type in the Accept header means: the given one with the classes drawn in, or the "
            "mask itself, a grey PNG whose values are the class ids.",
        ),
    },
}


@dataclass(frozen=True)
class PredictOptions:
    """What one request asks for; ``overrides`` are the bundle's options that it replaces."""

    overrides: Mapping[str, Any]
    explain: bool = False
    masks: Literal["rle", "png"] = "rle"
    picture: Literal["drawn", "mask"] = "drawn"


class PredictQuery:
    """The query parameters that bundles of one task take."""

    def __init__(self, task: str, postprocessing: type[Postprocessing]) -> None:
        self._overrides = _overrides(postprocessing)
        self._parameters = {**self._overrides, **_FORMS.get(task, {})}
        fields: dict[str, Any] = {
            name: (each.kind, Field(each.default, description=each.meaning)) for name, each in self._parameters.items()
        }
        self._model: type[BaseModel] = create_model("PredictQuery", __config__=ConfigDict(extra="forbid"), **fields)
        self._plain = self._options({})

    def read(self, items: Sequence[tuple[str, str]]) -> PredictOptions:
        """The options that stand in a query, given as names and values; `RequestError` 422 for one that is wrong."""
        if not items:
            return self._plain
        if sentence := _repeated(name for name, _ in items):
            raise RequestError(422, sentence)
        try:
            return self._options(dict(items))
        except ValidationError as error:
            first = error.errors()[0]
            raise RequestError(422, self._sentence(str(first["loc"][0]), first["input"])) from error

    def _options(self, given: Mapping[str, str]) -> PredictOptions:
        values = dict(self._model.model_validate(given))
        return PredictOptions({name: values.pop(name) for name in self._overrides}, **values)

    def parameters(self) -> list[dict[str, Any]]:
        """The ``parameters`` of an operation in the OpenAPI document."""
        schemas = self._model.model_json_schema()["properties"]
        return [
            {"name": name, "in": "query", "required": False, "description": each.meaning, "schema": schemas[name]}
            for name, each in self._parameters.items()
        ]

    def _sentence(self, name: str, value: object) -> str:
        """Say what is wrong with the query parameter ``name`` that came with ``value``."""
        known = self._parameters
        if name not in known:
            return f"query parameter {name!r} is unknown{suggest(name, known)}; known are {', '.join(known)}"
        return f"query parameter {name}: expected {known[name].words}, got {value!r}"


def query_of(spec: BundleSpec) -> PredictQuery:
    """The query parameters that a bundle takes."""
    return _query_of(spec.task, type(spec.postprocessing))


_query_of = cache(PredictQuery)


def _overrides(kind: type[Postprocessing]) -> dict[str, Parameter]:
    """The options of a task's postprocessing as parameters; one that is not given keeps the bundle's value."""
    parameters = {}
    for name, words in kind.options().items():
        field = kind.model_fields[name]
        bounded = Annotated[(field.annotation, *field.metadata)]  # type: ignore[name-defined]
        parameters[name] = Parameter(bounded | None, None, words, _OVERRIDES[name])
    return parameters


def _repeated(names: Iterable[str]) -> str | None:
    """Say which query parameter stands twice, if any: taking either would be a guess."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return f"query parameter {name} stands twice; give it once"
        seen.add(name)
    return None
