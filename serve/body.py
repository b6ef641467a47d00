"""Takes a picture's bytes out of a request: counted as they arrive, bounded one by one and all together.

Reading runs on the event loop and only appends; inflating runs in a thread, and taking a form apart is work for the
pool.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import Field
from starlette.requests import ClientDisconnect, Request

from serve.errors import RequestError
from serve.forms import read_form
from serve.json_fields import JsonBody, from_base64, read_fields

FORM_FIELD = "file"
UNNAMED = "upload"  # the source of a result whose request gave no file name
_RAW = "image/jpeg, image/png, another image type or application/octet-stream"
_NAME_LENGTH = 255
# A body in more pieces than this is put together as it comes: a million of one byte each would fill the memory.
_PARTS = 16


class BodyBudget:
    """Counts the bytes of all bodies held at this moment, so that many uploads cannot fill the memory together."""

    def __init__(self, max_body_bytes: int, max_held_bytes: int, seconds: float) -> None:
        self.max_body_bytes = max_body_bytes
        self.max_held_bytes = max_held_bytes
        self.seconds = seconds
        self.held = 0

    def of(self, request: Request) -> _Held:
        """An asynchronous context: `read` the body, and `release` it when the context ends."""
        return _Held(self, request)

    async def read(self, request: Request) -> bytes:
        """Return the body, inflated where its Content-Encoding says so, and count it until `release`.

        Raises `RequestError`: 400 client gone or body damaged, 408 too slow, 413 too long as it came or inflated,
        415 unknown Content-Encoding, 429 no memory left for it.
        """
        encoding = content_encoding(request)
        require_announced_length(request, self.max_body_bytes, self._too_long)
        parts: list[bytes | bytearray] = []
        try:
            with arriving(f"the body did not arrive within {self.seconds:g} seconds"):
                async with asyncio.timeout(self.seconds):
                    await self._fill(parts, request)
        except BaseException:
            self.give_back(sum(map(len, parts)))
            raise
        body = b"".join(parts)  # a lone one is taken as it is
        return await self._inflated(body, encoding) if encoding else body

    def release(self, body: bytes) -> None:
        """Give back what `read` counted; the caller drops the body."""
        self.give_back(len(body))

    def hold(self, count: int) -> None:
        """Count ``count`` bytes that did not come as a body until `give_back`; `RequestError` 429 where none fit."""
        if self.held + count > self.max_held_bytes:
            raise RequestError(429, "the service holds too many uploads now; try again", {"Retry-After": "1"})
        self.held += count

    def give_back(self, count: int) -> None:
        """Undo `hold`."""
        self.held -= count

    async def _fill(self, parts: list[bytes | bytearray], request: Request) -> None:
        length, more = 0, True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            length += len(chunk)
            if length > self.max_body_bytes:
                raise self._too_long()
            self.hold(len(chunk))
            if len(parts) < _PARTS:
                parts.append(chunk if len(parts) < _PARTS - 1 else bytearray(chunk))
            else:
                parts[-1] += chunk

    async def _inflated(self, body: bytes, encoding: str) -> bytes:
        """The plain body in place of the compressed one; while it is made, the longest that it may be is counted."""
        try:
            self.hold(self.max_body_bytes)
            try:
                plain = await asyncio.to_thread(inflate, body, encoding, self.max_body_bytes)
            finally:
                self.give_back(self.max_body_bytes)
        finally:
            self.release(body)
        self.held += len(plain)
        return plain

    def _too_long(self) -> RequestError:
        return RequestError(413, f"the body is longer than the {_mebibytes(self.max_body_bytes)} this service accepts")


class _Held:
    """A body that is read, and counted while the context lasts."""

    def __init__(self, budget: BodyBudget, request: Request) -> None:
        self._budget, self._request = budget, request
        self._body = b""

    async def __aenter__(self) -> bytes:
        self._body = await self._budget.read(self._request)
        return self._body

    async def __aexit__(self, *error: object) -> None:
        self._budget.release(self._body)
        self._body = b""


def require_announced_length(request: Request, max_bytes: int, too_long: Callable[[], RequestError]) -> None:
    """Raise ``too_long()`` where the request itself says so, before anything is read."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_long()


@contextmanager
def arriving(late: str) -> Iterator[None]:
    """Say as a `RequestError` why a body that is read inside stops to arrive: 408 ``late``, or 400 client gone."""
    try:
        yield
    except TimeoutError as error:
        raise RequestError(408, late) from error
    except ClientDisconnect as error:
        raise RequestError(400, "the connection ended before the whole body had arrived") from error


# zlib's window bits for each coding of RFC 9110, section 8.4.1.
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def content_encoding(request: Request) -> str:
    """The coding that the body is in, "" for none; `RequestError` 415 for one that `inflate` does not know."""
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if encoding in ("", "identity"):
        return ""
    if encoding not in _WINDOW_BITS:
        raise RequestError(
            415, f"Content-Encoding {encoding!r} is not supported; send the body as it is, or as gzip or deflate"
        )
    return encoding


def inflate(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """``data``, compressed as "gzip" or "deflate" (a zlib stream), as plain bytes, never more than ``max_bytes``.

    Raises `RequestError`: 413 beyond ``max_bytes``, which are all that is ever inflated; 400 for a damaged, cut or
    continued stream. A second member of a gzip is refused: a body of a million empty ones would be a long job.
    """
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = stream.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise RequestError(
            400, f"the body is not {encoding}, as its Content-Encoding says, or it is damaged"
        ) from error
    if len(plain) > max_bytes:
        raise RequestError(413, f"the body, inflated, is longer than the {_mebibytes(max_bytes)} this service accepts")
    if not stream.eof:
        raise RequestError(400, f"the body is cut off: its {encoding} stream has no end")
    if stream.unused_data:
        raise RequestError(400, f"the body goes on after the end of its {encoding} stream; send one stream")
    return plain


# curl --data-binary and Python's urllib call every body a form unless they are told otherwise.
_RAW_KINDS = ("", "application/octet-stream", "application/x-www-form-urlencoded")


def check_media_type(request: Request) -> None:
    """Raise `RequestError` 415 for a Content-Type that cannot hold a picture; none at all is taken for a picture."""
    kind = media_type(request.headers.get("content-type", ""))
    if kind in (*_RAW_KINDS, "multipart/form-data", "application/json") or kind.startswith("image/"):
        return
    raise RequestError(
        415,
        f"Content-Type {kind!r} is not a picture; send the picture's bytes as {_RAW}, "
        f"as multipart/form-data in the field {FORM_FIELD!r}, or in base64 as application/json in the field 'image'",
    )


def media_type(content_type: str) -> str:
    """The type that a Content-Type header names, in lower case and without its parameters."""
    return content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Upload:
    """The encoded picture, and the file name that the client gave it."""

    data: bytes
    name: str

    def checked(self) -> Upload:
        """Itself; `RequestError` 400 where there is nothing in it."""
        if not self.data:
            raise RequestError(400, f"{self.name}: is empty (0 bytes); send the bytes of a picture file")
        return self


class JsonPicture(JsonBody):
    """A picture in JSON: its bytes in base64, and what the answer shall call it."""

    image: str
    name: str = Field(default=UNNAMED, min_length=1, max_length=_NAME_LENGTH)


def unpack(body: bytes, content_type: str) -> Upload:
    """Return the one picture in ``body``: the picture itself, a form or JSON; `RequestError` 4xx otherwise."""
    match media_type(content_type):
        case "multipart/form-data":
            uploads = unpack_all(body, content_type)
            if len(uploads) != 1:
                raise RequestError(
                    400, f"the form has {len(uploads)} pictures; send one a request, or all of them to /predict/batch"
                )
            upload = uploads[0]
        case "application/json":
            asked = read_fields(body, JsonPicture)
            upload = Upload(from_base64(asked.image, "image"), asked.name)
        case _:
            upload = Upload(body, UNNAMED)
    return upload.checked()


def unpack_all(body: bytes, content_type: str) -> list[Upload]:
    """Return the pictures of a form, in their order; `RequestError` 400 for anything beside them."""
    parts = read_form(body, content_type)
    others = sorted({repr(part.name) if part.name else "without a name" for part in parts if part.name != FORM_FIELD})
    if others:
        raise RequestError(
            400,
            f"the form has a field {', '.join(others)}; the picture goes in the field {FORM_FIELD!r}, "
            "options in the query",
        )
    return [Upload(bytes(part.data), part.filename[-_NAME_LENGTH:] or UNNAMED) for part in parts]


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:g} MiB"
