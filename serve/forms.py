"""Takes forms apart (multipart/form-data, RFC 7578): each field's name, file name and bytes. Work for the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from serve.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# The bound keeps a form of a million empty parts from being collected, and a batch from taking all for itself.
MAX_PARTS = 64
_MAX_HEADERS = 16
_MAX_HEADER_LENGTH = 8192


@dataclass
class Part:
    """One field of a form; ``name`` is None where it has none."""

    name: str | None = None
    filename: str = ""
    data: bytearray = field(default_factory=bytearray)


def read_form(body: bytes | bytearray, content_type: str) -> list[Part]:
    """Return the fields of a form in their order; `RequestError` 400 for one that cannot be read or has too many."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise RequestError(400, "the Content-Type multipart/form-data names no boundary; let the HTTP client set it")
    collector = _Collector()
    try:
        parser = python_multipart.MultipartParser(boundary, collector.callbacks())
        parser.write(bytes(body))
    except FormParserError as error:
        raise RequestError(400, "the form cannot be read; send it as multipart/form-data (RFC 7578)") from error
    if not collector.complete:
        raise RequestError(400, "the form is cut off: its closing boundary is missing")
    return collector.parts


class _Collector:
    """Gathers the parts that python_multipart announces piece by piece."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._header = ""
        self._value = ""
        self._headers = 0

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._text("_header"),
            "on_header_value": self._text("_value"),
            "on_header_end": self._header_end,
            "on_part_data": lambda data, start, end: self.parts[-1].data.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise RequestError(400, f"the form has more than {MAX_PARTS} fields; send fewer pictures at once")
        self.parts.append(Part())
        self._headers = 0

    def _text(self, attribute: str) -> Callable[[bytes, int, int], None]:
        def append(data: bytes, start: int, end: int) -> None:
            text = getattr(self, attribute) + data[start:end].decode("latin-1")
            if len(text) > _MAX_HEADER_LENGTH or self._headers == _MAX_HEADERS:
                raise RequestError(400, "the form has too many or too long headers; let the HTTP client write it")
            setattr(self, attribute, text)

        return append

    def _header_end(self) -> None:
        if self._header.lower() == "content-disposition":
            options = parse_options_header(self._value)[1]
            part = self.parts[-1]
            part.name = options[b"name"].decode("utf-8", "replace") if b"name" in options else None
            part.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self._header = self._value = ""
        self._headers += 1

    def _end(self) -> None:
        self.complete = True
