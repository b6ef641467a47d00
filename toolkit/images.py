"""Reading and writing pictures: whatever comes in leaves as RGB uint8 [H,W,3], by the same rules everywhere.

No resizing and no normalisation: that is preprocessing.

The rules: EXIF orientation is applied once. Grey becomes three equal channels. Alpha, and a palette's or PNG's
transparent colour, is composited on white. 16 bits are scaled by 1/257 and rounded. CMYK and palettes become RGB
without colour management (ICC profiles are ignored). Of several frames or pages the first counts. The content decides
the format, never the suffix. The header's size is checked before anything is decoded. A truncated picture is an error;
a JPEG damaged in its middle comes out as libjpeg mends it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from toolkit.errors import PictureError, PictureTooLarge, UserError, suggest

RGB: TypeAlias = NDArray[np.uint8]
PictureSource: TypeAlias = Path | str | bytes | bytearray | memoryview | NDArray[Any] | Image.Image

MAX_PIXELS = 50_000_000
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
WRITABLE_SUFFIXES = tuple(suffix for suffix in PICTURE_SUFFIXES if suffix != ".gif")

# The plugins are called directly: `Image.open` has a pixel limit of its own (a global, and a warning), and tries
# formats that we do not want from strangers.
_SIGNATURES: tuple[tuple[bytes, Callable[[Any], ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),  # BigTIFF
    (b"MM\0+", TiffImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
)
# What Pillow's decoders raise on damaged files.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_ORIENTATION = 0x0112
_TURNS: dict[int, Callable[[Any], Any]] = {  # EXIF 2.32, tag Orientation
    2: lambda picture: cv2.flip(picture, 1),
    3: lambda picture: cv2.rotate(picture, cv2.ROTATE_180),
    4: lambda picture: cv2.flip(picture, 0),
    5: cv2.transpose,
    6: lambda picture: cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE),
    7: lambda picture: cv2.flip(cv2.transpose(picture), -1),
    8: lambda picture: cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def decode(source: PictureSource, *, max_pixels: int = MAX_PIXELS, name: str | None = None) -> RGB:
    """Decode a path, an encoded picture, an array or a PIL image to contiguous RGB [H,W,3] by the module's rules.

    Arrays are taken as RGB: uint8 or uint16 of shape [H,W], [H,W,1], [H,W,3] or [H,W,4]; uint8 [H,W,3] comes back
    itself, not a copy. ``name`` stands in messages in place of the path. Raises ``PictureTooLarge`` over
    ``max_pixels``, else ``PictureError`` with one sentence that names the picture.
    """
    name = name or _name_of(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels, name)
    if isinstance(source, Image.Image):
        _check_pixels(source.height, source.width, max_pixels, name)
        return _through_pillow(source, name)
    return _from_bytes(_bytes_of(source, name), max_pixels, name)


def read_size(source: Path | str | bytes, *, name: str | None = None) -> tuple[int, int]:
    """(height, width) after EXIF orientation, from the header alone; ``PictureError`` if there is none."""
    name = name or _name_of(source)
    data = _bytes_of(source, name)
    image = _open_header(data, name)
    turned = _orientation(image, data) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def read_bytes(path: Path | str, name: str | None = None) -> bytes:
    """The content of a picture file; ``PictureError`` when it is missing, a folder, empty or unreadable."""
    path, name = Path(path), name or str(path)
    try:
        if path.is_dir():
            raise PictureError(f"{name}: is a folder; expected a picture file")
        if path.exists() and not path.is_file():
            raise PictureError(f"{name}: is not a regular file; expected a picture file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise PictureError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not data:
        raise PictureError(f"{name}: is empty (0 bytes); expected a picture")
    return data


def encode(image: RGB, suffix: str, *, quality: int = 95) -> bytes:
    """Encode RGB uint8 [H,W,3] in the format of ``suffix`` (".jpg", ".png", ...); ``UserError`` for one not known.

    ``quality`` is that of a JPEG, 0 to 100.
    """
    suffix = suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise UserError(f"{suffix!r}: pictures are written as {known}{suggest(suffix, WRITABLE_SUFFIXES)}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 [H,W,3], found {image.dtype} {list(image.shape)}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise UserError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be written as {suffix}")
    return data.tobytes()


def write(path: Path | str, image: RGB) -> None:
    """Write RGB uint8 [H,W,3]; the suffix decides the format; the folder must exist."""
    path = Path(path)
    data = encode(image, path.suffix)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def _name_of(source: object) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "PIL image")
    return "array" if isinstance(source, np.ndarray) else "picture"


def _bytes_of(source: object, name: str) -> bytes:
    if isinstance(source, (str, Path)):
        return read_bytes(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not len(source):
            raise PictureError(f"{name}: is empty (0 bytes); expected a picture")
        return bytes(source)
    raise PictureError(
        f"{name}: expected a path, encoded bytes, a NumPy array or a PIL image, found {type(source).__name__}"
    )


def _check_pixels(height: int, width: int, max_pixels: int, name: str) -> None:
    if height * width > max_pixels:
        raise PictureTooLarge(
            f"{name}: {width}x{height} is {height * width / 1e6:.4g} megapixels, over the limit of "
            f"{max_pixels / 1e6:.4g}; make the picture smaller or raise max_pixels"
        )


def _open_header(data: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header; nothing is decoded yet."""
    for signature, plugin in _SIGNATURES:
        if data.startswith(signature):
            try:
                return plugin(io.BytesIO(data))
            except _DAMAGED as error:
                raise PictureError(f"{name}: the picture's header is damaged ({error})") from None
    known = "JPEG, PNG, BMP, WebP, TIFF or GIF"
    raise PictureError(f"{name}: is not a picture (starts with {data[:8]!r}); expected {known}")


def _from_bytes(data: bytes, max_pixels: int, name: str) -> RGB:
    image = _open_header(data, name)
    _check_pixels(image.height, image.width, max_pixels, name)
    if isinstance(image, JpegImageFile):
        # OpenCV and libjpeg fill what is missing with grey. Pillow stops at the start of scan; the end mark cannot
        # occur in the compressed data that follows. It is looked for from the end, where it stands.
        if data.rfind(b"\xff\xd9", cast(io.BytesIO, image.fp).tell()) < 0:
            raise PictureError(f"{name}: the JPEG is truncated (no end mark in {len(data)} bytes)")
        if image.mode in ("L", "RGB"):
            return _turn(_through_opencv(data, cv2.IMREAD_COLOR_RGB, name), _orientation(image, data))
    if isinstance(image, PngImageFile):
        if data.rfind(b"IEND") < 0:
            raise PictureError(f"{name}: the PNG is truncated (no end chunk in {len(data)} bytes)")
        if not image.has_transparency_data and not _has_16_bits(image):
            return _turn(_through_opencv(data, cv2.IMREAD_COLOR_RGB, name), _orientation(image, data))
    if _has_16_bits(image) and image.mode != "I;16":
        # Pillow would drop the low byte of 16-bit colour.
        array = _through_opencv(data, cv2.IMREAD_UNCHANGED, name)
        array = cv2.cvtColor(array, cv2.COLOR_BGR2RGB if array.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
        return _turn(_from_array(array, max_pixels, name), _orientation(image, data))
    return _through_pillow(image, name)


def _has_16_bits(image: ImageFile.ImageFile) -> bool:
    if isinstance(image, TiffImageFile):
        return 16 in tuple(image.tag_v2.get(258, ()))  # BitsPerSample
    return isinstance(image, PngImageFile) and ";16" in str(image.tile[0].args)


def _through_opencv(data: bytes, flags: int, name: str) -> NDArray[Any]:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PictureError(f"{name}: cannot be decoded ({error.err})") from None
    if picture is None:
        raise PictureError(f"{name}: the picture's data is damaged and cannot be decoded")
    return picture


def _through_pillow(image: Image.Image, name: str) -> RGB:
    try:
        image.load()
        if image.mode.startswith("I;16"):
            array = np.asarray(image).astype(np.uint16)
        elif image.mode in ("I", "F"):
            raise PictureError(f"{name}: has 32-bit grey levels; expected 8 or 16 bits per channel")
        else:
            array = np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    except _DAMAGED as error:
        raise PictureError(f"{name}: the picture is truncated or damaged ({error})") from None
    return _turn(_from_array(array, array.size, name), _orientation(image, b""))


def _orientation(image: Image.Image, data: bytes) -> int:
    """The EXIF orientation 1-8; 1 where there is none that can be read."""
    if isinstance(image, TiffImageFile):
        return 1  # Pillow and OpenCV both turn a TIFF while decoding it, OpenCV also when told not to
    late = isinstance(image, PngImageFile) and "exif" not in image.info and b"eXIf" in data  # it may follow the pixels
    try:
        if late:
            image.load()
        tagged = late or image.info.keys() & {"exif", "xmp"}
        return int(image.getexif().get(_ORIENTATION, 1)) if tagged else 1
    except _DAMAGED:
        return 1


def _turn(picture: Any, orientation: int) -> RGB:
    turn = _TURNS.get(orientation)
    return cast(RGB, turn(picture) if turn else picture)


def _from_array(array: NDArray[Any], max_pixels: int, name: str) -> RGB:
    if array.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{name}: expected grey levels as uint8 (0-255) or uint16, found {array.dtype}")
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or array.size == 0:
        hint = "; move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise PictureError(f"{name}: expected a shape [H,W], [H,W,3] or [H,W,4], found {list(array.shape)}{hint}")
    _check_pixels(array.shape[0], array.shape[1], max_pixels, name)
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return _on_white(array) if channels == 4 else np.ascontiguousarray(array)


def _on_white(array: NDArray[np.uint8]) -> RGB:
    alpha = array[..., 3:].astype(np.uint16)
    # At most 255 * 255 + 127: fits 16 bits.
    return ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
