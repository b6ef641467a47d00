"""Decoding against Pillow as the independent reference, and one clear sentence for everything that is no picture."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from toolkit import images
from toolkit.errors import PictureError, PictureTooLarge, UserError

HEIGHT, WIDTH = 37, 53


def picture(mode: str = "RGB") -> Image.Image:
    """A picture with detail that tells every corner, channel and level apart."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    channels = [x * 4, y * 6, (x + y) * 2, 255 - x * 2 - y * 3]
    if mode == "I;16":
        return Image.fromarray((x * 1000 + y * 300).astype(np.uint16))
    count = {"L": 1, "LA": 2, "RGBA": 4, "CMYK": 4}.get(mode, 3)
    array = np.stack(channels[:count], axis=2).clip(0, 255).astype(np.uint8)
    if mode in ("1", "P"):
        return Image.fromarray(array).convert(mode)
    if mode in ("L", "LA", "CMYK"):
        return Image.merge(mode, [Image.fromarray(array[..., i]) for i in range(count)])
    return Image.fromarray(array)


def encoded(image: Image.Image, suffix: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, suffix, **options)
    return stream.getvalue()


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = encoded(picture(), "PNG")
JPEG = encoded(picture(), "JPEG", quality=95)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 60}),
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 80, "progressive": True}),
        ("JPEG", {"quality": 90, "subsampling": "4:4:4"}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_as_pillow_decodes_them(suffix: str, options: dict[str, object], mode: str) -> None:
    data = encoded(picture(mode), suffix, **options)
    truth = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    found = images.decode(data)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (np.uint8, (HEIGHT, WIDTH, 3), True)
    # Both are libjpeg-turbo; other builds may round the inverse transform otherwise.
    assert np.abs(found.astype(int) - truth).max() <= (2 if suffix == "JPEG" else 0)
    assert images.read_size(data) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("P", "PNG"), ("1", "PNG"), ("P", "GIF"), ("P", "BMP"), ("1", "TIFF"), ("CMYK", "TIFF"), ("CMYK", "JPEG")],
)
def test_palettes_one_bit_and_cmyk_have_the_right_colours(mode: str, suffix: str) -> None:
    data = encoded(picture(mode), suffix)
    truth = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(images.decode(data), truth)


@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(suffix: str) -> None:
    source = picture("RGBA")
    found = images.decode(encoded(source, suffix, **({"lossless": True, "exact": True} if suffix == "WEBP" else {})))
    levels = np.asarray(source).astype(float)
    truth = levels[..., :3] * levels[..., 3:] / 255 + 255 - levels[..., 3:]
    assert np.abs(found - truth).max() <= 0.5


@pytest.mark.parametrize("colour", [0, 200])
def test_a_transparent_palette_colour_becomes_white(colour: int) -> None:
    source = Image.new("P", (4, 3), 1)
    source.putpalette([10, 20, 30, colour, 60, 70])
    source.putpixel((0, 0), 0)
    for suffix in ("PNG", "GIF"):
        found = images.decode(encoded(source, suffix, transparency=0))
        assert found[0, 0].tolist() == [255, 255, 255]
        assert found[1, 1].tolist() == [colour, 60, 70]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_are_scaled_by_257(channels: int, suffix: str) -> None:
    levels = np.random.default_rng(1).integers(0, 65536, (9, 11, channels), np.uint16)
    levels[0, :3] = [[0], [65535], [257]]
    if channels == 4:
        levels[..., 3] = 65535
    stored = cv2.imencode(suffix, levels)[1].tobytes()  # OpenCV stores blue first
    truth = np.round(levels[..., 2::-1] / 257.0) if channels > 1 else np.round(levels / 257.0).repeat(3, axis=2)
    assert np.array_equal(images.decode(stored), truth)


def test_16_bit_grey_through_pillow() -> None:
    source = picture("I;16")
    truth = np.round(np.asarray(source) / 257.0)[..., None].repeat(3, axis=2)
    assert np.array_equal(images.decode(source), truth)
    assert np.array_equal(images.decode(encoded(source, "PNG")), truth)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(suffix: str, orientation: int) -> None:
    data = encoded(picture(), suffix, exif=with_orientation(orientation), quality=95)
    truth = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert np.abs(images.decode(data).astype(int) - truth).max() <= (2 if suffix == "JPEG" else 0)
    assert np.abs(images.decode(Image.open(io.BytesIO(data))).astype(int) - truth).max() <= 2
    assert images.read_size(data) == truth.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_16_bit_tiff(orientation: int) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (9, 11, 3), np.uint16) * 257
    data = bytearray(cv2.imencode(".tiff", levels[..., ::-1])[1].tobytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, entry)[0] == 284:  # the planar configuration may be left out
            struct.pack_into("<HHIHH", data, entry, 274, 3, 1, orientation, 0)
    plain = Image.fromarray((levels // 257).astype(np.uint8))
    plain.getexif()[0x0112] = orientation
    truth = np.asarray(ImageOps.exif_transpose(plain))
    assert np.array_equal(images.decode(bytes(data)), truth)
    assert images.read_size(bytes(data)) == truth.shape[:2]


def test_exif_after_the_pixels_of_a_png() -> None:
    exif = with_orientation(6).tobytes().removeprefix(b"Exif\0\0")
    data = PNG[:-12] + chunk(b"eXIf", exif) + PNG[-12:]
    assert np.array_equal(images.decode(data), np.rot90(np.asarray(picture()), -1))
    assert images.read_size(data) == (WIDTH, HEIGHT)


def test_unreadable_exif_is_no_orientation() -> None:
    data = encoded(picture(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff")
    assert np.array_equal(images.decode(data), np.asarray(picture()))


def test_sources_agree(tmp_path: Path) -> None:
    truth = np.asarray(picture())
    path = tmp_path / "口罩 1.jpg"  # the content decides, not the suffix
    path.write_bytes(PNG)
    sources = [path, str(path), PNG, bytearray(PNG), memoryview(PNG), truth, picture(), Image.open(path)]
    assert all(np.array_equal(images.decode(source), truth) for source in sources)


def test_several_frames_give_the_first() -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    for suffix in ("GIF", "TIFF", "WEBP", "PNG"):
        options = {"lossless": True} if suffix == "WEBP" else {}
        data = encoded(frames[0], suffix, save_all=True, append_images=frames[1:], **options)
        assert images.decode(data)[3, 3].tolist() == [255, 0, 0], suffix


@pytest.mark.parametrize(
    ("array", "truth"),
    [
        (np.full((2, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 1), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 3), [1, 2, 3], np.uint8), [1, 2, 3]),
        (np.full((2, 3, 4), [9, 9, 9, 0], np.uint8), [255, 255, 255]),
        (np.full((2, 3, 4), [0, 100, 255, 128], np.uint8), [127, 177, 255]),
        (np.full((2, 3, 3), [0, 65535, 128], np.uint16), [0, 255, 0]),
        (np.full((2, 3), 129, np.uint16), [1, 1, 1]),
    ],
)
def test_arrays(array: np.ndarray, truth: list[int]) -> None:
    found = images.decode(array)
    assert (found.dtype, found.shape, found[1, 2].tolist()) == (np.uint8, (2, 3, 3), truth)


def test_an_rgb_array_is_not_copied_and_a_view_becomes_contiguous() -> None:
    array = np.zeros((4, 5, 3), np.uint8)
    assert images.decode(array) is array
    assert images.decode(array[:, ::2]).flags.c_contiguous


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"", "picture: is empty (0 bytes); expected a picture"),
        (b"no picture, just text", "picture: is not a picture (starts with b'no pictu'); expected JPEG, PNG"),
        (JPEG[:-200], "picture: the JPEG is truncated (no end mark in"),
        (JPEG[:-2], "picture: the JPEG is truncated"),
        (JPEG[:60], "picture: the picture's header is damaged"),
        (PNG[: len(PNG) // 2], "picture: the PNG is truncated (no end chunk in"),
        (PNG[:20], "picture: the picture's header is damaged"),
        (encoded(picture(), "BMP")[:2000], "picture: the picture is truncated or damaged"),
        (encoded(picture(), "TIFF")[:2000], "picture: the picture"),
        (encoded(picture(), "WEBP")[:100], "picture: the picture"),
        (encoded(picture("P"), "GIF")[:900], "picture: the picture is truncated or damaged"),
        (np.zeros((4, 4, 3)), "array: expected grey levels as uint8 (0-255) or uint16, found float64"),
        (np.zeros((4, 4), bool), "array: expected grey levels as uint8 (0-255) or uint16, found bool"),
        (np.zeros((3, 40, 50), np.uint8), "found [3, 40, 50]; move the channels last"),
        (np.zeros((1, 4, 4, 3), np.uint8), "expected a shape [H,W], [H,W,3] or [H,W,4], found [1, 4, 4, 3]"),
        (np.zeros((0, 4, 3), np.uint8), "array: expected a shape [H,W], [H,W,3] or [H,W,4], found [0, 4, 3]"),
        (np.zeros((4, 4, 2), np.uint8), "array: expected a shape"),
        (Image.new("F", (4, 4)), "PIL image: has 32-bit grey levels; expected 8 or 16 bits per channel"),
        ([1, 2], "picture: expected a path, encoded bytes, a NumPy array or a PIL image, found list"),
    ],
)
def test_what_is_no_picture(source: object, sentence: str) -> None:
    with pytest.raises(PictureError) as caught:
        images.decode(source)  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_jpeg_cut_inside_is_found_in_spite_of_a_thumbnails_end_mark() -> None:
    thumbnail = encoded(picture(), "JPEG")
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = JPEG[:2] + segment + JPEG[2:]
    assert images.decode(whole).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(PictureError, match="the JPEG is truncated"):
        images.decode(whole[: -len(JPEG) // 3])


def test_damaged_png_data() -> None:
    damaged = bytearray(PNG)
    damaged[len(PNG) // 2] ^= 255
    with pytest.raises(PictureError, match="the picture's data is damaged"):
        images.decode(bytes(damaged))


def test_files_that_are_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello, hello")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    table = {
        "empty.jpg": "is empty (0 bytes); expected a picture",
        "text.jpg": "is not a picture (starts with b'hello, h'); expected JPEG, PNG, BMP, WebP, TIFF or GIF",
        "folder.jpg": "is a folder; expected a picture file",
        "missing.jpg": "no such file",
        "pipe.jpg": "is not a regular file; expected a picture file",
        "nul\0.jpg": "cannot be read (",
    }
    for name, sentence in table.items():
        for function in (images.decode, images.read_size):
            with pytest.raises(PictureError) as caught:
                function(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name}: {sentence}")
    with pytest.raises(PictureError, match=r"^given name: no such file$"):
        images.decode(tmp_path / "missing.jpg", name="given name")


def test_a_picture_too_large_is_refused_from_its_header() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0))
    huge = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own limit must not speak
        with pytest.raises(PictureTooLarge) as caught:
            images.decode(huge, name="x.png")
    assert str(caught.value) == (
        "x.png: 20000x20000 is 400 megapixels, over the limit of 50; make the picture smaller or raise max_pixels"
    )
    assert images.read_size(huge) == (20000, 20000)


@pytest.mark.parametrize("source", [PNG, JPEG, encoded(picture(), "TIFF"), picture(), np.asarray(picture())])
def test_max_pixels(source: bytes | Image.Image | np.ndarray) -> None:
    assert images.decode(source, max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(PictureTooLarge, match=r"53x37 is 0\.001961 megapixels, over the limit of 0\.00196;"):
        images.decode(source, max_pixels=HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("suffix", images.WRITABLE_SUFFIXES)
def test_write_and_read_again(tmp_path: Path, suffix: str) -> None:
    truth = np.asarray(picture())
    images.write(tmp_path / f"a{suffix.upper()}", truth)
    found = images.decode(tmp_path / f"a{suffix.upper()}")
    assert np.abs(found.astype(int) - truth).mean() < (6 if suffix in (".jpg", ".jpeg") else 0.01)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UserError, match=r"'\.jpgg': pictures are written as .*; did you mean '\.jpg'\?"):
        images.write(tmp_path / "a.jpgg", image)
    with pytest.raises(UserError, match=r"missing/a\.png: cannot be written \(No such file or directory\)"):
        images.write(tmp_path / "missing" / "a.png", image)
    with pytest.raises(ValueError, match=r"expected uint8 \[H,W,3\], found float64 \[4, 4\]"):
        images.encode(np.zeros((4, 4)), ".png")  # type: ignore[arg-type]


def test_no_torch() -> None:
    code = "import sys, toolkit.images, toolkit.data.coco, toolkit.data.shapes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
