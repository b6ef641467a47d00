"""Takes a job's content out of a request, onto disk as it arrives: bounded, hashed, and known by its first bytes."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.requests import Request

from serve.body import arriving, require_announced_length
from serve.errors import RequestError

_PIECE = 2**20
# The length of its header, 348 or 540, in either order of bytes.
_NIFTI = (b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c")


@dataclass(frozen=True)
class Content:
    """What was uploaded: the file, its SHA-256, and its kind."""

    path: Path
    digest: str
    kind: str


async def receive(request: Request, folder: Path, max_bytes: int, seconds: float) -> Content:
    """Write the body into ``folder`` and return what it is; the caller moves the file on.

    Raises `RequestError`: 400 client gone or nothing sent, 408 no byte for ``seconds``, 413 too long, 415 none of
    what `kind_of` knows.
    """
    require_announced_length(request, max_bytes, partial(_too_long, max_bytes))
    path = folder / f"{uuid.uuid4().hex}.upload"
    try:
        with arriving(f"nothing of the body arrived for {seconds:g} seconds"):
            digest = await _write(request, path, max_bytes, seconds)
        return Content(path, digest, kind_of(await asyncio.to_thread(_head, path)))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _write(request: Request, path: Path, max_bytes: int, seconds: float) -> str:
    digest = hashlib.sha256()
    length, piece = 0, bytearray()
    chunks = request.stream()
    with path.open("wb") as file:

        def write() -> None:
            digest.update(piece)
            file.write(piece)

        while True:
            async with asyncio.timeout(seconds):
                chunk = await anext(chunks, None)
            if chunk:
                length += len(chunk)
                if length > max_bytes:
                    raise _too_long(max_bytes)
                piece += chunk
            if chunk is None or len(piece) >= _PIECE:
                await asyncio.to_thread(write)
                piece.clear()
            if chunk is None:
                break
    return digest.hexdigest()


def kind_of(head: bytes) -> str:
    """ "zip", "video", "nifti" or "nifti_gz", by the first bytes of a file.

    `RequestError` 400 for none, 415 for anything else.
    """
    if not head:
        raise RequestError(
            400, "the body is empty; send a zip of pictures or of a DICOM series, a video or a NIfTI file"
        )
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    # ISO media (mp4, mov), RIFF with AVI in it, and Matroska
    if (
        head[4:8] == b"ftyp"
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or head.startswith(b"\x1aE\xdf\xa3")
    ):
        return "video"
    if head.startswith(_NIFTI):
        return "nifti"
    if head.startswith(b"\x1f\x8b"):
        return "nifti_gz"  # or anything else that is packed so: the worker looks
    raise RequestError(
        415, "the body is neither a zip of pictures or of a DICOM series, nor a video (MP4, MOV, AVI or MKV), nor NIfTI"
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _too_long(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body is longer than the {max_bytes / 2**20:g} MiB that a job may have")
