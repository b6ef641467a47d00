"""The fields of a JSON body by a pydantic model, and one sentence for the first that is wrong.

Work for the pool, not for the event loop.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serve.errors import RequestError
from serve.json_body import read_json
from toolkit.errors import suggest

# What a body may hold that carries its picture as one string.
MOST_VALUES = 10_000
_SHOWN = 80


class JsonBody(BaseModel):
    """The base of what is read from JSON: no guessing of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Body = TypeVar("Body", bound=BaseModel)


def read_fields(data: bytes | bytearray, kind: type[Body], max_values: int = MOST_VALUES) -> Body:
    """Return the JSON in ``data`` as a ``kind``; `RequestError` like `read_json`, and 422 for fields that are wrong."""
    try:
        return kind.model_validate(read_json(data, max_values=max_values))
    except ValidationError as error:
        raise _refusal(error, kind) from None


def from_base64(text: str, where: str) -> bytes:
    """The bytes behind base64, which may stand in lines; `RequestError` 400 names the field ``where`` it stood."""
    try:
        return base64.b64decode(text.encode("ascii").translate(None, b" \t\r\n"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise RequestError(400, f"{where}: expected base64, got {_short(text)}") from None


def _refusal(error: ValidationError, kind: type[BaseModel]) -> RequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    where = _path(first["loc"])
    match first["type"]:
        case "missing":
            return RequestError(422, f"{where}: is missing from the JSON body")
        case "extra_forbidden":
            name = str(first["loc"][-1])
            known = [field.alias or key for key, field in kind.model_fields.items()] if len(first["loc"]) == 1 else []
            takes = f"; known are {', '.join(known)}" if known else ""
            return RequestError(422, f"{where}: is unknown{suggest(name, known)}{takes}")
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return RequestError(422, f"{where}: expected {expected}, got {_short(first['input'])}")


def _path(location: tuple[int | str, ...]) -> str:
    """``("inputs", 0, "shape")`` as ``inputs[0].shape``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "the body"


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
