"""How often each true class was predicted as each class: what accuracy, IoU and Dice of whole data sets come from."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import describe
from ops._kernel import kernel

_compiled = njit(nogil=True, cache=True)

# Codes of so many pairs at a time stay in the first-level cache; masks are mostly runs longer than the second.
_BLOCK, _RUN = 2048, 32
# Counters of up to so many classes are held four times.
_SPREAD = 256


@_compiled
def _encode(truth, predicted, classes, ignore, skips, codes):  # type: ignore[no-untyped-def]
    """Number the cell that each pair falls in. Row ``classes`` is for a wrong truth, the row after it for an ignored
    one, column ``classes`` for a wrong prediction.
    """
    wrong, ignored, width = np.uint32(classes), np.uint32(classes + 1), np.uint32(classes + 1)
    for i in range(truth.size):
        t, p = truth[i], predicted[i]
        row = np.uint32(t) if 0 <= t < classes else wrong
        column = np.uint32(p) if 0 <= p < classes else wrong
        row = ignored if skips and t == ignore else row
        codes[i] = row * width + column


# Unsigned and 64 bits wide, or numba looks at every index for a negative one.
_0, _1, _2, _3, _4 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_LENGTH = np.uint64(_RUN)


@_compiled
def _tally(codes, count, counters):  # type: ignore[no-untyped-def]
    """Count the first ``count`` codes. A run of one code is counted at once; of others, neighbours go to different
    counters, as adding to a number just written has to wait for it.
    """
    flat = counters.reshape(counters.size)
    step = np.uint64(counters.shape[1]) if counters.shape[0] == 4 else _0
    whole = np.uint64(count - count % _RUN)
    for start in range(_0, whole, _LENGTH):
        code, different = codes[start], np.uint32(0)
        for i in range(_LENGTH):
            different |= codes[start + i] ^ code
        if different == 0:
            flat[np.uint64(code)] += _RUN
            continue
        for i in range(start, start + _LENGTH, _4):
            flat[np.uint64(codes[i])] += 1
            flat[np.uint64(codes[i + _1]) + step] += 1
            flat[np.uint64(codes[i + _2]) + step * _2] += 1
            flat[np.uint64(codes[i + _3]) + step * _3] += 1
    for i in range(whole, np.uint64(count)):
        flat[np.uint64(codes[i])] += 1


@_compiled
def _count(truth, predicted, classes, ignore, skips, counters):  # type: ignore[no-untyped-def]
    codes = np.empty(_BLOCK, np.uint32)
    for start in range(0, truth.size, _BLOCK):
        end = min(start + _BLOCK, truth.size)
        _encode(truth[start:end], predicted[start:end], classes, ignore, skips, codes)
        _tally(codes, end - start, counters)


_SIGNATURE = "void(Array({0}, 1, 'C', readonly=True), Array({0}, 1, 'C', readonly=True), {1})"
_REST = "int64, int64, boolean, int64[:,::1]"


@kernel(_SIGNATURE.format("uint8", _REST))
def _count_bytes(truth, predicted, classes, ignore, skips, counters):  # type: ignore[no-untyped-def]
    _count(truth, predicted, classes, ignore, skips, counters)


@kernel(_SIGNATURE.format("int64", _REST))
def _count_integers(truth, predicted, classes, ignore, skips, counters):  # type: ignore[no-untyped-def]
    _count(truth, predicted, classes, ignore, skips, counters)


def _class_ids(value: Any, name: str) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected an array of integers, got {describe(array)}; convert it with .astype")
    return array


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, (int, np.integer)) or not -(2**63) <= value < 2**63:
        raise TypeError(f"{name}: expected a whole number of 64 bits, got {describe(value)}")
    return int(value)


def _flat(array: NDArray[Any], dtype: type) -> NDArray[Any]:
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:  # what int64 does not hold must not become negative
        array = np.minimum(array, np.iinfo(np.int64).max)
    return np.ascontiguousarray(array, dtype).reshape(-1)


def _refuse(truth: NDArray[Any], predicted: NDArray[Any], classes: int, ignore: int | None) -> NoReturn:
    """Raise the ``ValueError`` that names the first value which is no class."""
    counted = np.ones(truth.shape, bool) if ignore is None else np.asarray(truth != ignore)
    wanted = f"class ids 0..{classes - 1}"
    wrong = truth[counted & ((truth < 0) | (truth >= classes))]
    if wrong.size:
        also = "" if ignore is None else f" (or {ignore}, which is not counted)"
        raise ValueError(f"truth: expected {wanted}{also}, got {wrong.flat[0]}")
    wrong = predicted[counted & ((predicted < 0) | (predicted >= classes))]
    raise ValueError(f"predicted: expected {wanted}, got {wrong.flat[0]}")


def confusion_matrix(truth: Any, predicted: Any, num_classes: int, *, ignore: int | None = None) -> NDArray[np.int64]:
    """Count the pairs of true and predicted class.

    Args:
        truth: integers of any shape, 0..C-1 or ``ignore``.
        predicted: integers of the same shape, 0..C-1.
        num_classes: C, up to 65000.
        ignore: where the truth has this value nothing is counted, whatever was predicted there.

    Returns:
        int64 [C, C]: rows are the truth, columns the prediction; matrices of several pictures add up.

    Raises ``ValueError`` with the value when one lies outside. Two uint8 arrays are read as they are; others are
    brought to int64 first.
    """
    a, b = _class_ids(truth, "truth"), _class_ids(predicted, "predicted")
    if a.shape != b.shape:
        raise ValueError(f"expected equal shapes, got truth {a.shape} and predicted {b.shape}")
    classes = _whole(num_classes, "num_classes")
    if not 1 <= classes <= 65000:  # the cells are numbered in 32 bits
        raise ValueError(f"num_classes: expected 1 to 65000, got {num_classes!r}")
    counters = np.zeros((4 if classes <= _SPREAD else 1, (classes + 2) * (classes + 1)), np.int64)
    skips, skipped = ignore is not None, 0 if ignore is None else _whole(ignore, "ignore")
    if a.dtype == b.dtype == np.uint8:
        _count_bytes(_flat(a, np.uint8), _flat(b, np.uint8), classes, skipped, skips, counters)
    else:
        _count_integers(_flat(a, np.int64), _flat(b, np.int64), classes, skipped, skips, counters)
    cells = counters.sum(axis=0).reshape(classes + 2, classes + 1)
    if cells[classes].any() or cells[:classes, classes].any():
        _refuse(a, b, classes, ignore)
    return np.ascontiguousarray(cells[:classes, :classes])
