"""A result as the bytes of an answer: JSON, the picture with the result drawn in, or a mask."""

from __future__ import annotations

import json
from typing import Any

from serve.errors import RequestError
from serve.negotiation import JSON
from serve.options import PredictOptions
from toolkit import images
from toolkit.errors import UserError
from toolkit.results import Result, SegmentationResult


def render(result: Result, media_type: str, options: PredictOptions) -> bytes:
    """Return the answer in the form that was asked for; `RequestError` 406 where the picture cannot have it."""
    if media_type == JSON:
        return json.dumps(_fields(result, options)).encode()
    try:
        return _picture(result, media_type, options)
    except UserError as error:  # JPEG ends at 65500 pixels a side
        raise RequestError(406, f"{result.source}: {error}; ask for another type in the Accept header") from error


def _fields(result: Result, options: PredictOptions) -> dict[str, Any]:
    if isinstance(result, SegmentationResult):
        return result.to_dict(masks=options.masks)
    return result.to_dict()


def _picture(result: Result, media_type: str, options: PredictOptions) -> bytes:
    if options.picture == "mask" and isinstance(result, SegmentationResult):
        return result.mask_png()
    return images.encode(result.draw(), "." + media_type.partition("/")[2])
