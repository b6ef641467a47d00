"""Pictures made to hurt: few bytes that ask for much memory, many frames, and what a picture says of its owner."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import live
from peak_memory import rises_less_than
from PIL import Image, PngImagePlugin
from tiny_bundle import WARM, flat_png

from serve import create_app
from toolkit.inference import load

SECRET = b"canary-51.5007N"


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[httpx.Client]:
    with live(create_app(load(tiny_bundle, "cpu", threads=1))) as client:
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF"):  # what each decoder keeps for good is no part of a rise
            assert client.post("/predict", content=saved(kind)).status_code == 200
        yield client


def saved(kind: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, WARM).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*between: bytes, size: tuple[int, int] = (64, 64), idat: bytes | None = None) -> bytes:
    """A PNG with more chunks between its header and its pixels."""
    plain = flat_png(WARM)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    pixels = plain[plain.index(b"IDAT") - 4 :] if idat is None else chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    return plain[:8] + header + b"".join(between) + pixels


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def huge_jpeg() -> bytes:
    return patched(saved("JPEG", (50, 60)), struct.pack(">HH", 60, 50), struct.pack(">HH", 65000, 65000))


def huge_gif() -> bytes:
    small = saved("GIF", (50, 60))
    return small[:6] + struct.pack("<HH", 65000, 65000) + small[10:]


def huge_bmp() -> bytes:
    return patched(saved("BMP", (50, 60)), struct.pack("<ii", 50, 60), struct.pack("<ii", 60000, 60000))


def huge_tiff() -> bytes:
    """Width and height stand in the directory as tags 256 and 257, each one LONG."""
    data = saved("TIFF", (50, 60))
    for tag, old in ((256, 50), (257, 60)):
        data = patched(data, struct.pack("<HHII", tag, 4, 1, old), struct.pack("<HHII", tag, 4, 1, 60000))
    return data


def huge_webp() -> bytes:
    """An extended WebP whose canvas is 16000 x 16000."""
    payload = saved("WEBP", lossless=True)[12:]
    extended = struct.pack("<4sI", b"VP8X", 10) + bytes(4) + (15999).to_bytes(3, "little") * 2
    body = b"WEBP" + extended + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


HUGE = {
    "png": png(size=(20000, 20000), idat=zlib.compress(bytes(1000))),
    "jpeg": huge_jpeg(),
    "gif": huge_gif(),
    "bmp": huge_bmp(),
    "tiff": huge_tiff(),
}


@pytest.mark.parametrize("kind", HUGE)
def test_the_header_s_pixels_are_counted_before_anything_is_decoded(client: httpx.Client, kind: str) -> None:
    with rises_less_than(50):  # decoded, each would take over a gigabyte
        answer = client.post("/predict", content=HUGE[kind])
    assert (answer.status_code, "over the limit of 50" in answer.json()["error"]) == (413, True), answer.text


def test_a_webp_whose_canvas_is_not_its_picture_s(client: httpx.Client) -> None:
    with rises_less_than(50):
        answer = client.post("/predict", content=huge_webp())
    assert answer.status_code in (400, 413), answer.text


def many_frames(kind: str, count: int) -> bytes:
    """Frames of one colour each, the first of them warm: seven megabytes decoded, few in the file."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (1500, 1500), (*WARM[:2], WARM[2] + 8 * index)) for index in range(count)]
    options: dict[str, Any] = {"TIFF": {"compression": "tiff_deflate"}, "WEBP": {"lossless": True}}.get(kind, {})
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_of_many_frames_only_the_first_costs_anything(client: httpx.Client, kind: str) -> None:
    data = many_frames(kind, 20)
    assert Image.open(io.BytesIO(data)).n_frames == 20  # type: ignore[attr-defined]
    assert len(data) < 2_000_000
    with rises_less_than(60):
        answer = client.post("/predict", content=data)
    assert (answer.status_code, answer.json()["labels"]) == (200, ["warm"])
    assert answer.json()["image_size"] == [1500, 1500]


ZEROS = bytes(60 * 10**6)
BOMBS = {
    "text": png(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(ZEROS))),
    "international text": png(chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(ZEROS))),
    "colour profile": png(chunk(b"iCCP", b"profile\0\0" + zlib.compress(ZEROS))),
    "many texts": png(*[chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(900_000)))] * 200),
    "pixels": png(idat=zlib.compress(ZEROS)),
}


@pytest.mark.parametrize("where", BOMBS)
def test_what_is_packed_inside_a_picture_is_bounded_too(client: httpx.Client, where: str) -> None:
    assert len(BOMBS[where]) < 300_000
    with rises_less_than(50):
        answer = client.post("/predict", content=BOMBS[where])
    assert answer.status_code in (200, 400), answer.text


def tell_tale(kind: str) -> bytes:
    """A picture that says where and with what it was taken, in every way that its format has."""
    exif = Image.Exif()
    exif[0x010F] = SECRET.decode()  # the maker
    exif.get_ifd(0x8825)[1] = SECRET.decode()  # the place
    options: dict[str, Any] = {"exif": exif, "icc_profile": SECRET * 20}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", SECRET.decode())
        info.add_itxt("XML:com.adobe.xmp", SECRET.decode())
        options["pnginfo"] = info
    if kind == "JPEG":
        options |= {"comment": SECRET, "xmp": SECRET}
    return saved(kind, (128, 96), **options)


@pytest.mark.parametrize("accept", ["image/png", "image/jpeg", "application/json"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_a_picture_says_of_its_owner_is_not_in_the_answer(client: httpx.Client, kind: str, accept: str) -> None:
    given = tell_tale(kind)
    assert Image.open(io.BytesIO(given)).getexif()[0x010F] == SECRET.decode()
    answer = client.post("/predict", content=given, headers={"Accept": accept})
    assert answer.headers["content-type"] == accept
    assert SECRET not in answer.content
    if accept != "application/json":
        shown = Image.open(io.BytesIO(answer.content))
        assert not shown.getexif()
        assert not shown.info.keys() & {"exif", "xmp", "icc_profile", "comment", "Comment", "XML:com.adobe.xmp"}


@pytest.mark.parametrize("accept", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_comes_back_upright_and_says_nothing_of_turning(
    client: httpx.Client, accept: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    given = saved("JPEG", (128, 96), exif=exif, quality=95)
    answer = client.post("/predict?score_threshold=1", content=given, headers={"Accept": accept})
    shown = Image.open(io.BytesIO(answer.content))
    assert shown.size == ((96, 128) if orientation >= 5 else (128, 96))
    assert 0x0112 not in shown.getexif()
