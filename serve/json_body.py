"""Reads JSON from strangers: bounded in depth and in the number of its values before anything is built of it.

Work for the pool, not for the event loop. What the values mean is for the dialect that asked.
"""

from __future__ import annotations

import json
import re
from typing import Any

from serve.errors import RequestError

MAX_DEPTH = 32
# A picture of 1024 x 1024 as a list of numbers has three million. `{},` makes 72 bytes of each 3 (CPython 3.11): a body
# of 32 MiB without this bound would take 800 MB.
MAX_VALUES = 4_000_000

# Possessive, so that a string of a million escapes takes no memory to read; its end may be missing, so that no text is
# gone through twice.
_STRING_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_STRING = re.compile(_STRING_TEXT, re.DOTALL)
# Whole strings and what stands between them, so many that the regular expression does the work, not a loop.
_STRETCH = re.compile(rb'(?:[^"]++|' + _STRING_TEXT + rb"){1,10000}+", re.DOTALL)
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))


def read_json(data: bytes | bytearray, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> Any:
    """Return what the JSON text ``data`` (UTF-8) holds.

    Raises `RequestError`: 413 over ``max_depth`` lists and objects in each other or over ``max_values`` values, 400 for
    text that is no JSON, also for the numbers NaN and Infinity, which JSON does not have.
    """
    _require_modest(data, max_depth, max_values)
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except ValueError as error:  # also for bytes that are not UTF-8
        raise RequestError(400, f"the body is not valid JSON: {error}") from error


def _require_modest(data: bytes | bytearray, max_depth: int, max_values: int) -> None:
    """The bounds, counted in the text itself: a bracket or comma outside strings is where a value begins or ends."""
    depth, values = 0, 1
    for stretch in _STRETCH.finditer(data):
        structure = _STRING.sub(b"", stretch[0]).translate(None, _NO_STRUCTURE)
        values += structure.count(b",") + structure.count(b"[") + structure.count(b"{")
        if values > max_values:
            raise RequestError(413, f"the JSON has more than {max_values} values, which is as many as are read")
        for sign in structure.replace(b",", b""):
            depth += 1 if sign in b"[{" else -1
            if depth > max_depth:
                raise RequestError(413, f"the JSON has more than {max_depth} lists or objects in each other")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")
