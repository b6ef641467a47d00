"""What the mask operators share: masks as bytes, and the run lengths of COCO as a list or a compressed string.

Run lengths go down the columns, background first. The string is that of the COCO API: see `_compress` and `_expand`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops._check import describe
from ops._kernel import kernel

RLE = dict[str, Any]

MOST_PIXELS = 2**32 - 1  # COCO holds a run in 32 bits

_BAD_CHARACTER, _CUT_OFF, _TOO_LONG, _NEGATIVE, _WRONG_SUM = -1, -2, -3, -4, -5
_FAULTS = {
    _BAD_CHARACTER: "a character outside '0' to 'o'",
    _CUT_OFF: "a last number that is cut off",
    _TOO_LONG: "a number of more than 7 characters",
    _NEGATIVE: "a negative run",
    _WRONG_SUM: "runs of another sum",
}


class Runs(NamedTuple):
    """Checked run lengths (uint32 [K], background first, their sum is the number of pixels) of one mask."""

    counts: NDArray[np.uint32]
    height: int
    width: int


@kernel("uint8[::1](Array(uint32, 1, 'C', readonly=True))")
def _compress(counts):  # type: ignore[no-untyped-def]
    """Write each number (from the fourth on, its difference to the one two before) in groups of 5 bits, lowest first.

    A group is one character from '0' on; bit 5 says that more follow, bit 4 of the last group is the sign.
    """
    text = np.empty(7 * counts.size, np.uint8)  # 32 bits and a sign are 7 groups
    length = 0
    for i in range(counts.size):
        number = np.int64(counts[i])
        if i > 2:
            number -= np.int64(counts[i - 2])
        more = True
        while more:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            text[length] = 48 + (group | 32 if more else group)
            length += 1
    return text[:length]


@kernel("int64(Array(uint8, 1, 'C', readonly=True), int64, uint32[::1])")
def _expand(text, pixels, counts):  # type: ignore[no-untyped-def]
    """Undo `_compress`; return how many counts were written, or one of the faults."""
    found, total, number, bits = 0, np.int64(0), np.int64(0), 0
    for character in text:
        group = np.int64(character) - 48
        if group < 0 or group > 63:
            return _BAD_CHARACTER
        if bits == 35:
            return _TOO_LONG
        number |= (group & 31) << bits
        bits += 5
        if group & 32:
            continue
        if group & 16:
            number |= np.int64(-1) << bits
        if found > 2:
            number += np.int64(counts[found - 2])
        if number < 0:
            return _NEGATIVE
        total += number
        if total > pixels:  # now, so that a run always fits into 32 bits
            return _WRONG_SUM
        counts[found] = number
        found += 1
        number, bits = np.int64(0), 0
    if bits:
        return _CUT_OFF
    return found if total == pixels else _WRONG_SUM


def make_rle(counts: NDArray[np.uint32], height: int, width: int) -> RLE:
    """Return COCO's dict; ``counts`` as a str, so that it can go into JSON as it is."""
    return {"size": [height, width], "counts": _compress(counts).tobytes().decode("ascii")}


def read_runs(rle: Any, name: str) -> Runs:
    """Return the checked run lengths of a dict whose ``counts`` are a str, bytes, or a list of whole numbers.

    Raises ``TypeError`` for what is no such dict and ``ValueError`` for a damaged one.
    """
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise TypeError(f'{name}: expected a dict with "size" and "counts", got {describe(rle)}')
    height, width = _size(rle["size"], name)
    counts = rle["counts"]
    text = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    if isinstance(text, bytes | bytearray):
        runs = np.empty(len(text), np.uint32)
        found = _expand(np.frombuffer(text, np.uint8), height * width, runs)
    else:
        runs = _whole_numbers(counts, name)
        found = len(runs)
        if found and runs.min() < 0:
            found = _NEGATIVE
        elif (found and runs.max() > height * width) or int(runs.sum()) != height * width:
            found = _WRONG_SUM
    if found < 0:
        raise ValueError(
            f"{name}: expected runs that fill {height} x {width} = {height * width} pixels,"
            f" got {_FAULTS[found]} in counts {describe(counts)}"
        )
    return Runs(runs[:found].astype(np.uint32, copy=False), height, width)


def _size(size: Any, name: str) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        height = width = -1
    if min(height, width) < 0 or height * width > MOST_PIXELS:
        raise ValueError(
            f"{name}: expected a size [height, width] in whole numbers, at most {MOST_PIXELS} pixels, got {size!r}"
        )
    return height, width


def _whole_numbers(counts: Any, name: str) -> NDArray[Any]:
    """The uncompressed form; anything but a row of integers is a ``TypeError``."""
    try:
        array = np.asarray(counts) if isinstance(counts, list | tuple | np.ndarray) else None
    except ValueError:  # a list of lists of unequal lengths
        array = None
    if array is None or array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name}: expected counts as a str, bytes, or a list of whole numbers, got {describe(counts)}")
    return array if array.size else np.empty(0, np.int64)


def read_all(rles: Any, name: str) -> list[Runs]:
    """Read a sequence of RLEs; the error names the one at fault."""
    if isinstance(rles, Mapping | str | bytes) or not hasattr(rles, "__len__"):
        raise TypeError(f"{name}: expected a list of RLEs, got {describe(rles)}; put a single one into a list")
    return [read_runs(rle, f"{name}[{i}]") for i, rle in enumerate(rles)]
