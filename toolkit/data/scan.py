"""Decodes every picture of a data set once, on all cores, before anything is built on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from toolkit import images
from toolkit.data.table import Progress
from toolkit.errors import PictureError


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


def scan_pictures(paths: Sequence[Path], progress: Progress | None = None) -> list[Scanned]:
    """Scan in threads (OpenCV and hashlib let go of the interpreter's lock); one result per path, in order."""
    results: list[Scanned] = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for result in pool.map(scan_picture, paths):
            results.append(result)
            if progress:
                progress("checking pictures", len(results), len(paths))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt need not wait for the rest
    return results
