"""Decodes every picture of a data set once, on all cores, before anything is built on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toolkit import images
from toolkit.data.table import Progress
from toolkit.errors import PictureError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Scanned:
    """What one file holds: (height, width) after EXIF orientation, and the SHA-256 of its bytes; or what is wrong."""

    size: tuple[int, int] = (0, 0)
    digest: str = ""
    fault: str = ""


def scan_picture(path: Path) -> Scanned:
    """Decode the whole picture; a broken one is a sentence in ``fault``, no exception."""
    name = str(path)
    try:
        data = images.read_bytes(path, name)
        height, width = images.decode(data, name=name).shape[:2]
    except PictureError as error:
        return Scanned(fault=str(error).removeprefix(f"{name}: "))
    return Scanned((height, width), hashlib.sha256(data).hexdigest())


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], label: str, progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, in order; OpenCV, Pillow and hashlib let go of the interpreter's lock."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for done, result in enumerate(pool.map(work, items), 1):
            yield result
            if progress:
                progress(label, done, len(items))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt need not wait for the rest


def scan_pictures(paths: Sequence[Path], progress: Progress | None = None) -> list[Scanned]:
    """Scan in threads; one result per path, in order."""
    return list(in_threads(scan_picture, paths, "checking pictures", progress))
