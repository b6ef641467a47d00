"""How often each true class was predicted as each class: what accuracy, IoU and Dice of whole data sets come from."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import describe
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
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


# Cells that a block counts for itself before it adds to those of all: 44 classes.
_SHARED = 2048


def _twin(truth, predicted, classes, ignore, skips, cells, wrong):  # type: ignore[no-untyped-def]
    """Count into ``cells`` [C * C]; note in ``wrong`` the first pair of a wrong truth, and of a wrong prediction."""
    block = cuda.shared.array(_SHARED, np.int32)
    spread = cells.size <= _SHARED
    if spread:
        for i in range(cuda.threadIdx.x, cells.size, cuda.blockDim.x):
            block[i] = 0
        cuda.syncthreads()
    cell, count = np.int64(0), np.int32(0)  # of the pairs just seen: masks are mostly runs
    for i in range(cuda.grid(1), truth.size, cuda.gridsize(1)):
        t, p = np.int64(truth[i]), np.int64(predicted[i])
        if skips and t == ignore:
            continue
        if not 0 <= t < classes:
            cuda.atomic.min(wrong, 0, i)
        elif not 0 <= p < classes:
            cuda.atomic.min(wrong, 1, i)
        else:
            if t * classes + p != cell:
                _add(block, cells, spread, cell, count)
                cell, count = t * classes + p, np.int32(0)
            count += np.int32(1)
    _add(block, cells, spread, cell, count)
    if spread:
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, cells.size, cuda.blockDim.x):
            cuda.atomic.add(cells, i, np.int64(block[i]))


@_compiled
def _add(block, cells, spread, cell, count):  # type: ignore[no-untyped-def]
    if spread:
        cuda.atomic.add(block, cell, count)
    else:
        cuda.atomic.add(cells, cell, np.int64(count))


_TWINS = {
    dtype: cuda_kernel(
        f"void(Array({dtype}, 1, 'C', readonly=True), Array({dtype}, 1, 'C', readonly=True),"
        " int64, int64, boolean, int64[::1], int64[::1])",
        block=256,
        label=dtype,
    )(_twin)
    for dtype in ("uint8", "int32", "int64")
}
# Threads that fill a large card, each with many pairs: adding up among them is what costs.
_MOST_THREADS = 2**18


def _on_device(memory: DeviceMemory, truth: Any, predicted: Any, classes: int, skips: bool, skipped: int) -> Any:
    a, b = memory.any_array(truth, "truth", tuple(_TWINS)), memory.any_array(predicted, "predicted", tuple(_TWINS))
    _check_shapes(a, b)
    if a.dtype != b.dtype:
        raise TypeError(f"predicted: expected {a.dtype} as truth has, got {b.dtype}; convert one of them")
    cells, wrong = memory.full(classes * classes, np.int64, 0), memory.full(2, np.int64, a.size)
    flat = a.reshape(a.size), b.reshape(b.size)
    threads = min(a.size, _MOST_THREADS)
    memory.launch(_TWINS[a.dtype.name], threads, *flat, classes, skipped, skips, cells, wrong)
    for name, array, first in zip(("truth", "predicted"), flat, memory.numbers(wrong), strict=True):
        if first < a.size:
            value = memory.numbers(array[first : first + 1])[0]
            raise ValueError(_unknown(name, classes, skipped if skips else None, value))
    return cells.reshape(classes, classes)


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


def _unknown(name: str, classes: int, ignore: int | None, value: int) -> str:
    also = "" if ignore is None or name != "truth" else f" (or {ignore}, which is not counted)"
    return f"{name}: expected class ids 0..{classes - 1}{also}, got {value}"


def _refuse(truth: NDArray[Any], predicted: NDArray[Any], classes: int, ignore: int | None) -> NoReturn:
    """Raise the ``ValueError`` that names the first value which is no class."""
    counted = np.ones(truth.shape, bool) if ignore is None else np.asarray(truth != ignore)
    wrong = truth[counted & ((truth < 0) | (truth >= classes))]
    if wrong.size:
        raise ValueError(_unknown("truth", classes, ignore, wrong.flat[0]))
    wrong = predicted[counted & ((predicted < 0) | (predicted >= classes))]
    raise ValueError(_unknown("predicted", classes, ignore, wrong.flat[0]))


def _check_shapes(truth: Any, predicted: Any) -> None:
    if tuple(truth.shape) != tuple(predicted.shape):
        raise ValueError(
            f"expected equal shapes, got truth {tuple(truth.shape)} and predicted {tuple(predicted.shape)}"
        )


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
    brought to int64 first. Takes device arrays too, both uint8, int32 or int64.
    """
    classes = _whole(num_classes, "num_classes")
    if not 1 <= classes <= 65000:  # the cells are numbered in 32 bits
        raise ValueError(f"num_classes: expected 1 to 65000, got {num_classes!r}")
    skips, skipped = ignore is not None, 0 if ignore is None else _whole(ignore, "ignore")
    memory = memory_of(truth=truth, predicted=predicted)
    if memory.on_device:
        return _on_device(memory, truth, predicted, classes, skips, skipped)  # type: ignore[no-any-return]
    a, b = _class_ids(truth, "truth"), _class_ids(predicted, "predicted")
    _check_shapes(a, b)
    counters = np.zeros((4 if classes <= _SPREAD else 1, (classes + 2) * (classes + 1)), np.int64)
    if a.dtype == b.dtype == np.uint8:
        _count_bytes(_flat(a, np.uint8), _flat(b, np.uint8), classes, skipped, skips, counters)
    else:
        _count_integers(_flat(a, np.int64), _flat(b, np.int64), classes, skipped, skips, counters)
    cells = counters.sum(axis=0).reshape(classes + 2, classes + 1)
    if cells[classes].any() or cells[:classes, classes].any():
        _refuse(a, b, classes, ignore)
    return np.ascontiguousarray(cells[:classes, :classes])
