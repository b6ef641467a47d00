"""What may be predicted on: paths, folders, patterns, videos, bytes, arrays and PIL images, turned into pictures that
are decoded when their turn comes. Decoding itself is ``toolkit.images``.
"""

from __future__ import annotations

import glob
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolkit import images
from toolkit.ct.read import is_series
from toolkit.errors import PictureError, UserError, suggest
from toolkit.images import RGB

Input: TypeAlias = str | Path | bytes | bytearray | memoryview | NDArray[Any] | Image.Image
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv")
_INPUT_TYPES = (str, Path, bytes, bytearray, memoryview, np.ndarray, Image.Image)
_EXPECTED = "a path, a folder, a pattern such as 'album/*.jpg', encoded bytes, a NumPy array or a PIL image"


class Picture:
    """One picture that is decoded on demand. Calling it gives its RGB uint8 [H, W, 3].

    The pixels are kept until ``release``; a call after that decodes once more and keeps nothing, so results can be
    collected by the hundred thousand and still be drawn.
    """

    def __init__(self, source: str, content: Input | None, reread: Callable[[], RGB] | None = None) -> None:
        self.source = source
        self.milliseconds = 0.0
        self._content = content
        self._reread = reread
        self._image: RGB | None = None

    def __call__(self) -> RGB:
        if self._image is not None:
            return self._image
        return self._load(images.MAX_PIXELS)

    def decode(self, max_pixels: int = images.MAX_PIXELS) -> Picture:
        """Decode now and note the milliseconds; PictureError when it is no usable picture. Returns itself."""
        started = time.perf_counter()
        self._image = self._load(max_pixels)
        self.milliseconds += (time.perf_counter() - started) * 1e3
        return self

    def release(self) -> None:
        """Let go of the pixels that can be had again."""
        self._image = None
        if self._reread is not None:
            self._content = None

    def _load(self, max_pixels: int) -> RGB:
        if self._content is None and self._reread is not None:
            return self._reread()
        return images.decode(self._content, max_pixels=max_pixels, name=self.source)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Series:
    """A CT series among the inputs: one volume, one report."""

    path: str

    @property
    def source(self) -> str:
        """The path as given."""
        return self.path


def series_of(content: object) -> Series | None:
    """The CT series that a path is: a NIfTI or DICOM file, a zip, or a folder with DICOM files and no pictures."""
    if not isinstance(content, (str, Path)):
        return None
    # A folder of pictures may be large: it is left as soon as one is seen, and only others are opened.
    if os.path.isdir(content) and any(True for _ in _walk(str(content))):
        return None
    return Series(str(content)) if is_series(content) else None


def single_picture(content: Input, name: str | None = None) -> Picture:
    """The one picture that ``content`` is; a folder, pattern or video is a UserError."""
    _check_one(content)
    if isinstance(content, (str, Path)) and (not os.path.isfile(content) or is_video(content)):
        raise UserError(f"{content} is not one picture; use model.predict for folders, patterns and videos")
    return Picture(name or _name_of(content), content)


def check_inputs(inputs: Input | Iterable[Input]) -> None:
    """Raise the UserError of a wrong path before any work starts. What an iterator will bring cannot be looked at."""
    if isinstance(inputs, _INPUT_TYPES):
        _check_one(inputs)
    elif isinstance(inputs, (dict, set)) or not isinstance(inputs, Iterable):
        raise UserError(f"cannot predict on {type(inputs).__name__}; expected {_EXPECTED}, or a list of these")
    elif isinstance(inputs, (list, tuple)):
        for item in inputs:
            _check_one(item)


def _check_one(item: object) -> None:
    if not isinstance(item, _INPUT_TYPES):
        raise UserError(f"cannot predict on {type(item).__name__}; expected {_EXPECTED}")
    if isinstance(item, (str, Path)):
        _check_path(item)


def _check_path(path: str | Path) -> None:
    """Raise a UserError unless there is a file, a folder with pictures, or a pattern that matches something."""
    if os.path.isdir(path):
        if not any(True for _ in _walk(str(path))) and not is_series(path):
            raise UserError(f"{path}: no pictures in this folder or below ({', '.join(images.PICTURE_SUFFIXES)})")
    elif not os.path.exists(path):
        if not _is_pattern(path):
            raise UserError(f"no file or folder called {str(path)!r}{_nearest(Path(path))}")
        if not any(os.path.isfile(match) for match in glob.iglob(str(path), recursive=True)):
            raise UserError(f"no file matches the pattern {str(path)!r}")


def expand(inputs: Input | Iterable[Input]) -> Iterator[Picture | Series]:
    """Every picture of ``inputs`` in order, not yet decoded (a video's frames are), and every CT series.

    A folder gives its pictures, by suffix, it and its subfolders sorted by name; hidden files and videos in it are
    passed over. A pattern gives the files that match, sorted. A video gives its frames. A wrong path is a UserError.
    """
    if isinstance(inputs, _INPUT_TYPES):
        yield from _expand_one(inputs, "")
        return
    for index, item in enumerate(inputs):
        yield from _expand_one(item, f"[{index}]")


def decode_ahead(
    pictures: Iterable[Picture], max_pixels: int, workers: int, depth: int
) -> Iterator[tuple[Picture, Future[Picture]]]:
    """Decode in ``workers`` threads, at most ``depth`` pictures ahead of the reader, in the order given."""
    pending: deque[tuple[Picture, Future[Picture]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for picture in pictures:
                pending.append((picture, pool.submit(picture.decode, max_pixels)))
                if len(pending) > depth:
                    yield pending.popleft()
            while pending:
                yield pending.popleft()
        finally:
            for _, future in pending:
                future.cancel()


def is_video(path: str | Path) -> bool:
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def frame_count(path: str | Path) -> int:
    """How many frames a video's header says it has; 0 where it does not know or cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def _expand_one(item: object, position: str) -> Iterator[Picture | Series]:
    _check_one(item)
    if series := series_of(item):
        yield series
        return
    if not isinstance(item, (str, Path)):
        yield Picture(_name_of(item, position), item)  # type: ignore[arg-type]  # checked above
        return
    for path in _files(item):
        if is_video(path):
            yield from _frames(path)
        else:
            yield Picture(path, path)


def _files(path: str | Path) -> Iterable[str]:
    if os.path.isdir(path):
        return _walk(str(path))
    if os.path.exists(path):
        return [str(path)]
    return sorted(match for match in glob.iglob(str(path), recursive=True) if os.path.isfile(match))


def _walk(folder: str) -> Iterator[str]:
    """A folder's own pictures first, then its subfolders', each sorted by name. Links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in images.PICTURE_SUFFIXES:
                yield os.path.join(root, name)


def _frames(path: str) -> Iterator[Picture]:
    """A video's frames. One that cannot be opened becomes a picture that fails when decoded, so a batch goes on."""
    capture = cv2.VideoCapture(path)
    try:
        for index in count():
            started = time.perf_counter()
            done, frame = capture.read()
            if not done:
                break
            picture = Picture(f"{path}#frame{index}", _to_rgb(frame), partial(_read_frame, path, index))
            picture.milliseconds = (time.perf_counter() - started) * 1e3
            yield picture
        if index == 0:
            yield Picture(path, None, partial(_read_frame, path, 0))
    finally:
        capture.release()


def _read_frame(path: str, index: int) -> RGB:
    """Frame ``index`` by walking there: seeking lands on another frame in some formats."""
    capture = cv2.VideoCapture(path)
    try:
        walked = all(capture.grab() for _ in range(index + 1))
        done, frame = capture.retrieve() if walked else (False, None)
    finally:
        capture.release()
    if not done or frame is None:
        raise PictureError(f"{path}: cannot be read as a video (frame {index})")
    return _to_rgb(frame)


def _to_rgb(frame: Any) -> RGB:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)


def _name_of(content: object, position: str = "") -> str:
    if isinstance(content, (str, Path)):
        return str(content)
    if isinstance(content, Image.Image):
        return str(getattr(content, "filename", "") or f"image{position}")
    return f"array{position}" if isinstance(content, np.ndarray) else f"bytes{position}"


def _is_pattern(path: str | Path) -> bool:
    return any(character in str(path) for character in "*?[")


def _nearest(path: Path) -> str:
    """A suggestion from the names beside the missing one; only so many are looked at."""
    try:
        with os.scandir(path.parent) as entries:
            return suggest(path.name, [entry.name for entry in islice(entries, 2000)])
    except OSError:
        return ""
