"""Mask PNGs are read by their numbers: checked against PNGs that are put together here, byte by byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolkit.data.mask_files import lay_over, read_mask, read_png
from toolkit.data.table import MaskSample
from toolkit.errors import PictureError

GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    numbers: NDArray[np.integer],
    bits: int = 8,
    colour: int = GREY,
    more: bytes = b"",
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG whose raw samples [H,W] or [H,W,C] are ``numbers``, by the specification, without Pillow and OpenCV."""
    height, width = numbers.shape[:2]
    rows = b""
    for row in numbers.reshape(height, -1):
        packed = np.packbits(np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - bits :])
        rows += b"\0" + packed.tobytes()
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", *(size or (width, height)), bits, colour, 0, 0, 0))
        + (chunk(b"PLTE", bytes(v for n in range(2**bits) for v in (9, 255 - n, n))) if colour == PALETTE else b"")
        + more
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_numbers_come_as_they_were_written(tmp_path: Path, bits: int, colour: int) -> None:
    numbers = np.random.default_rng(bits).integers(0, 2**bits, (7, 13))
    (tmp_path / "a.png").write_bytes(png(numbers, bits, colour))
    found = read_png(tmp_path / "a.png", "a")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, numbers)


def test_transparency_of_a_palette_changes_nothing(tmp_path: Path) -> None:
    numbers = np.arange(12).reshape(3, 4)
    (tmp_path / "a.png").write_bytes(png(numbers, 4, PALETTE, chunk(b"tRNS", bytes([0, 128, 255, 7]))))
    np.testing.assert_array_equal(read_png(tmp_path / "a.png", "a"), numbers)


def test_what_pillow_writes(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 5, (20, 30)).astype(np.uint8)
    picture = Image.fromarray(numbers)
    picture.putpalette([5] * 15)  # a palette of one colour: only the numbers tell the classes
    picture.save(tmp_path / "p.png")
    Image.fromarray(numbers > 2).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_png(tmp_path / "p.png", "p"), numbers)
    np.testing.assert_array_equal(read_png(tmp_path / "b.png", "b"), numbers > 2)


NUMBERS = np.zeros((4, 6), np.uint8)
EXPECTED = "expected a PNG of 8-bit grey, palette or 1-bit pixels"


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NUMBERS).save(path, exif=exif)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda path: Image.new("RGB", (6, 4)).save(path), f"has colour pixels; {EXPECTED}, whose numbers are classes"),
        (lambda path: Image.new("RGBA", (6, 4)).save(path), "has colour with alpha pixels; expected"),
        (lambda path: path.write_bytes(png(np.zeros((4, 6, 2), int), 8, GREY_ALPHA)), "has grey with alpha pixels"),
        (lambda path: path.write_bytes(png(NUMBERS, 16)), "has 16-bit pixels; expected"),
        (lambda path: path.write_bytes(png(np.zeros((4, 6, 3), int), 16, RGB)), "has colour pixels"),
        (lambda path: Image.fromarray(NUMBERS).save(path, format="JPEG"), "is not a PNG (starts with b'\\xff\\xd8"),
        (lambda path: path.write_bytes(png(NUMBERS)[:50]), "the PNG is truncated or damaged"),
        # A sound stream of too few rows; Pillow takes the others for zeros.
        (lambda path: path.write_bytes(png(NUMBERS[:2], size=(6, 4))), "the PNG is truncated or damaged"),
        (lambda path: path.write_bytes(png(NUMBERS)[:20]), "the picture's header is damaged ("),
        (lambda path: path.write_bytes(b""), "is empty (0 bytes)"),
        (lambda path: path.unlink(missing_ok=True), "no such file"),
        (turned, "has an EXIF orientation; save the mask upright, as the picture is seen"),
        (
            lambda path: path.write_bytes(png(NUMBERS, size=(8000, 8000))),
            "8000x8000 is over 50 megapixels",
        ),
    ],
)
def test_faults(tmp_path: Path, content: Callable[[Path], object], sentence: str) -> None:
    content(tmp_path / "a.png")
    with pytest.raises(PictureError) as caught:
        read_png(tmp_path / "a.png", "the mask")
    assert str(caught.value).startswith(f"the mask: {sentence}")


@pytest.mark.parametrize("colour", [GREY, PALETTE])
def test_damage_anywhere_changes_no_number(tmp_path: Path, colour: int) -> None:
    """A byte changed, or the end cut off, at any place of a small PNG: read as it was, or refused in a sentence."""
    numbers = np.random.default_rng(1).integers(0, 4, (8, 9))
    exif = b"II*\0" + struct.pack("<IHI", 8, 0, 0)
    data = png(numbers, 2, colour, chunk(b"tRNS", b"\0\1") + chunk(b"eXIf", exif))
    path, outcomes = tmp_path / "a.png", set()
    for place in range(len(data)):
        for broken in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            path.write_bytes(broken)
            try:
                outcomes.add(np.array_equal(read_png(path, "a"), numbers))
            except PictureError as error:
                outcomes.add(str(error)[:3])
    assert outcomes == {True, "a: "}


def sample(folder: Path, **masks: tuple[NDArray[np.uint8], int | None]) -> MaskSample:
    for name, (numbers, _) in masks.items():
        (folder / f"{name}.png").write_bytes(png(numbers))
    return MaskSample(
        path=folder / "x.jpg",
        name="x.jpg",
        size=(2, 3),
        split="train",
        group="",
        masks=tuple((folder / f"{name}.png", class_id) for name, (_, class_id) in masks.items()),
        pixels=np.zeros(3, np.int64),
    )


def test_class_ids(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    np.testing.assert_array_equal(read_mask(sample(tmp_path, a=(numbers, None))), numbers)


def test_a_mask_for_each_class(tmp_path: Path) -> None:
    first = np.array([[255, 255, 0], [1, 0, 0]], np.uint8)
    second = np.array([[0, 128, 1], [0, 0, 0]], np.uint8)
    np.testing.assert_array_equal(read_mask(sample(tmp_path, a=(first, 2), b=(second, 1))), [[2, 1, 1], [2, 0, 0]])
    np.testing.assert_array_equal(read_mask(sample(tmp_path)), np.zeros((2, 3)))


def test_layers_are_not_changed() -> None:
    layer = np.array([[1, 0]], np.uint8)
    lay_over([(layer, None), (np.array([[0, 1]], np.uint8), 2)], (1, 2))
    assert layer.tolist() == [[1, 0]]


def test_a_mask_that_changed_since_the_check(tmp_path: Path) -> None:
    changed = sample(tmp_path, a=(np.zeros((3, 3), np.uint8), None))
    with pytest.raises(PictureError, match="has another size than when the data was checked"):
        read_mask(changed)
