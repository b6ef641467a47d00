"""Finds near-duplicates: copies of one picture that were rescaled, recompressed, retouched or mirrored, and bursts.

A cut-out of a picture, and one turned by its pixels, is not found.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from toolkit import images
from toolkit.data.scan import in_threads
from toolkit.data.table import Progress

# Measured on 1350 photographs of faces and 2171 of single objects on a plain ground, every pair looked at: 17 and 18
# pairs are found, 17 and 17 of them show one scene; the hash alone finds 25 and 4325. Of ten pairs known before, nine
# are found (distance 0 to 2, likeness 0.95 to 1.00); in the tenth, of a burst, the head has turned (3, 0.42). Unlike
# objects reach a likeness of 0.56, and bottle necks seen from above one of 0.70.
DISTANCE = 8
LIKENESS = 0.6

SIDE = 32  # of the thumbnail, in pixels
_ROWS, _COLUMNS = 8, 9  # of the hash: eight differences in each of eight rows
_WINDOW = 5  # what is even over so many pixels of the thumbnail (the ground, its shading) does not count
_BLOCK, _CHUNK = 1024, 20_000  # pictures, and pairs, that are compared at a time

Grey: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """Positions of two alike pictures; Hamming distance of their hashes (of 64 bits), and likeness up to 1."""

    first: int
    second: int
    distance: int
    likeness: float
    mirrored: bool


def find_duplicates(
    paths: Sequence[Path],
    *,
    distance: int = DISTANCE,
    likeness: float = LIKENESS,
    progress: Progress | None = None,
) -> list[Pair]:
    """Pairs of near-duplicates among ``paths``, enough to link all that belong together.

    Two pictures that earlier pairs link already are not paired again, so N pictures have at most N - 1 pairs. Raises
    ``PictureError`` for a file that is no picture.
    """
    return compare(thumbnails(paths, progress), distance, likeness, progress)


def find_identical(paths: Sequence[Path], progress: Progress | None = None) -> list[tuple[int, int]]:
    """Positions of files with the same bytes, the first of them before each other."""
    first: dict[str, int] = {}
    pairs = []
    for index, digest in enumerate(in_threads(_digest, paths, "hashing files", progress)):
        if first.setdefault(digest, index) != index:
            pairs.append((first[digest], index))
    return pairs


def _digest(path: Path) -> str:
    return hashlib.sha256(images.read_bytes(path)).hexdigest()


def thumbnails(paths: Sequence[Path], progress: Progress | None = None) -> Grey:
    """The pictures shrunk to uint8 [N,32,32] grey levels, whatever their shape; decoded in threads."""
    small = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    for index, found in enumerate(in_threads(thumbnail, paths, "shrinking pictures", progress)):
        small[index] = found
    return small


def thumbnail(path: Path) -> Grey:
    """One upright picture as uint8 [32,32]: the mean grey level of each of 32 x 32 equal cells."""
    picture = _decode_small(path)
    cells = _cell_means(picture.astype(np.float64), SIDE)
    return np.rint(_cell_means(cells.T, SIDE).T).astype(np.uint8)


def compare(small: Grey, distance: int, likeness: float, progress: Progress | None = None) -> list[Pair]:
    """The pairs among thumbnails uint8 [N,32,32], see `find_duplicates`; time grows with N squared (10 000: 3 s)."""
    seen = small, small[:, :, ::-1]
    signs = [_hash_signs(picture) for picture in seen]
    details = [_detail(picture) for picture in seen]
    group = np.arange(len(small))  # the lowest position in each picture's group
    pairs: list[Pair] = []
    for start in range(0, len(small), _BLOCK):
        for mirrored in (False, True):
            for first, second, apart in _candidates(signs[0], signs[mirrored], start, distance):
                apart, first, second = (kept[group[first] != group[second]] for kept in (apart, first, second))
                alike = np.einsum("ij,ij->i", details[0][first], details[mirrored][second])
                for k in np.flatnonzero(alike >= likeness).tolist():
                    one, other = int(first[k]), int(second[k])
                    low, high = sorted((int(group[one]), int(group[other])))
                    if low != high:
                        group[group == high] = low
                        pairs.append(Pair(one, other, int(apart[k]), float(alike[k]), mirrored))
        if progress:
            progress("comparing pictures", min(start + _BLOCK, len(small)), len(small))
    return pairs


def linked(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """int64 [count]: for each of ``count`` things the lowest one that ``pairs`` link it to, over others too."""
    parent = list(range(count))

    def root(thing: int) -> int:
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(thing) for thing in range(count)], np.int64)


def _decode_small(path: Path) -> Grey:
    """Grey levels [h,w], upright; a JPEG at a size near the thumbnail's, which takes a third of the time."""
    data = images.read_bytes(path)
    try:
        if data.startswith(b"\xff\xd8\xff"):
            image: Image.Image = JpegImageFile(io.BytesIO(data))
            image.draft("L", (2 * SIDE, 2 * SIDE))
            return np.asarray(ImageOps.exif_transpose(image).convert("L"))
    except (OSError, SyntaxError, ValueError):  # damaged in its middle: OpenCV mends what Pillow refuses
        pass
    image = Image.fromarray(images.decode(data, name=str(path))).convert("L")
    return np.asarray(image.reduce(max(1, min(image.size) // (2 * SIDE))))


def _cell_means(values: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Means over ``cells`` equal parts of the first axis, parts of a value counted by their share: [n,...] to
    [cells,...]."""
    count = len(values)
    sums = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    edges = np.arange(cells + 1) * count / cells
    whole = np.minimum(edges.astype(np.int64), count - 1)
    share = (edges - whole).reshape(-1, *[1] * (values.ndim - 1))
    upto = sums[whole] * (1 - share) + sums[whole + 1] * share
    means: NDArray[np.float64] = np.diff(upto, axis=0) * cells / count
    return means


def _hash_signs(small: Grey) -> NDArray[np.float32]:
    """The 64 bits of each picture's difference hash as -1 and 1, float32 [N,64], so that a matrix product compares.

    A bit says whether the grey level rises to the right, between the cells of a grid of 8 x 9. Source: N. Krawetz,
    "Kind of Like That" (2013).
    """
    rows = small.reshape(len(small), _ROWS, SIDE // _ROWS, SIDE).mean(axis=2)
    cells = np.moveaxis(_cell_means(np.moveaxis(rows, 2, 0), _COLUMNS), 0, 2)
    rising = np.diff(cells, axis=2) > 0
    return np.where(rising, np.float32(1), np.float32(-1)).reshape(len(small), -1)


def _detail(small: Grey) -> NDArray[np.float32]:
    """Each thumbnail less the mean around each pixel, of length 1: float32 [N,784]; a picture without any detail is 0.

    The dot product of two, their likeness, is 1 for copies whatever their brightness and contrast. Two plain grounds
    with the same shading have the same hash, but nothing in common here.
    """
    around = np.lib.stride_tricks.sliding_window_view(small.astype(np.float32), _WINDOW, axis=1).mean(axis=-1)
    around = np.lib.stride_tricks.sliding_window_view(around, _WINDOW, axis=2).mean(axis=-1)
    edge = _WINDOW // 2
    detail = (small[:, edge:-edge, edge:-edge] - around).reshape(len(small), -1)
    length = np.linalg.norm(detail, axis=1, keepdims=True)
    directions: NDArray[np.float32] = np.divide(detail, length, out=np.zeros_like(detail), where=length > 1e-3)
    return directions


def _candidates(
    signs: NDArray[np.float32], others: NDArray[np.float32], start: int, distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs first < second whose hashes are near, first from the block at ``start``, with their distances; in parts."""
    block = signs[start : start + _BLOCK]
    apart = (signs.shape[1] - block @ others[start:].T) / 2
    first, second = np.nonzero(np.triu(apart <= distance, 1))
    for part in range(0, len(first), _CHUNK):
        one, other = first[part : part + _CHUNK], second[part : part + _CHUNK]
        yield one + start, other + start, apart[one, other].astype(np.int64)
