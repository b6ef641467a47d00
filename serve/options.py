"""The query parameters of ``/predict``; each overrides the bundle's postprocessing for one request."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import suggest

_SHARE = "a number from 0 to 1"
_MAX_DETECTIONS = 100_000
_EXPECTED = {
    "score_threshold": _SHARE,
    "iou_threshold": _SHARE,
    "max_detections": f"a whole number from 1 to {_MAX_DETECTIONS}",
}


class PredictOptions(BaseModel):
    """What a request may ask for; a parameter that is not given keeps the bundle's value."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: float | None = Field(None, ge=0, le=1, description="Detections with a lower score are left out.")
    iou_threshold: float | None = Field(
        None, ge=0, le=1, description="Of two boxes of one class that overlap by more than this IoU, the better stays."
    )
    max_detections: int | None = Field(
        None, ge=1, le=_MAX_DETECTIONS, description="At most this many detections, the best ones."
    )


def query_sentence(name: str, value: object) -> str:
    """Say what is wrong with the query parameter ``name`` that came with ``value``."""
    if name not in _EXPECTED:
        return f"query parameter {name!r} is unknown{suggest(name, _EXPECTED)}; known are {', '.join(_EXPECTED)}"
    return f"query parameter {name}: expected {_EXPECTED[name]}, got {value!r}"


def repeated_sentence(names: Iterable[str]) -> str | None:
    """Say which query parameter stands twice, if any: taking either would be a guess."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return f"query parameter {name} stands twice; give it once"
        seen.add(name)
    return None
