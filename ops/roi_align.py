"""RoIAlign: what feature maps hold under boxes, averaged into a small grid, and the gradient on the way back.

Averages of bilinear samples are separable: a box becomes two small matrices, one of weights along y and one along x,
and every channel is pooled by those. No sample is ever interpolated alone, and gradients are gathered, not scattered.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._check import height_and_width, whole_number
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller

# More samples than this along one axis of a bin are as good as none: each weighs less than float32 holds of the sum.
_MOST_SAMPLES = 2.0**31


@njit(nogil=True, cache=True)
def _bins(begin, end, scale, aligned, bins, sampling_ratio):  # type: ignore[no-untyped-def]
    """Along one axis of a box: where the first bin begins, how long a bin is, and its samples."""
    offset = 0.5 if aligned else 0.0
    start = begin * scale - offset
    extent = end * scale - offset - start
    if not aligned and extent < 1.0:
        extent = 1.0
    length = extent / bins
    samples = np.int64(sampling_ratio)
    if sampling_ratio == 0:
        samples = np.int64(math.ceil(min(max(length, 0.0), _MOST_SAMPLES)))
    return start, length, samples


@njit(nogil=True, cache=True)
def _reached(start, step, samples, size):  # type: ignore[no-untyped-def]
    """The samples that may lie within -1..size, first and last: few, however huge the box."""
    if not step > 0.0:
        return np.int64(0), samples
    first = min(max((-1.0 - start) / step - 2.0, 0.0), np.float64(samples))
    last = min(max((size - start) / step + 2.0, 0.0), np.float64(samples))
    return np.int64(first), np.int64(last)


@njit(nogil=True, cache=True)
def _weigh(start, length, samples, weights):  # type: ignore[no-untyped-def]
    """Write the weight of each feature along one axis of a bin, and return which have one: ``low`` to before ``high``.

    A sample up to one feature beside the map counts as one at its border, one further away as 0.
    """
    size = weights.size
    weights[:] = 0.0
    low, high = size, 0
    step = length / max(samples, 1)
    first, last = _reached(start, step, samples, size)
    for sample in range(first, last):
        at = start + (sample + 0.5) * step
        if at >= -1.0 and at <= size:
            at = min(max(at, 0.0), size - 1.0)
            near = int(at)
            far = min(near + 1, size - 1)
            weights[near] += np.float32((1.0 - (at - near)) / samples)
            weights[far] += np.float32((at - near) / samples)
            low, high = min(low, near), max(high, far + 1)
    return low, high


@njit(nogil=True, cache=True)
def _bin(begin, end, scale, sampling_ratio, aligned, i, weights, spans):  # type: ignore[no-untyped-def]
    """One bin along one axis of a box: its weights, and the features that it reaches."""
    start, length, samples = _bins(np.float64(begin), np.float64(end), scale, aligned, weights.shape[0], sampling_ratio)
    spans[i, 0], spans[i, 1] = _weigh(start + i * length, length, samples, weights[i])


@njit(nogil=True, cache=True)
def _matrices(box, scale, sampling_ratio, aligned, rows, row_spans, columns, column_spans):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        _bin(box[1], box[3], scale, sampling_ratio, aligned, i, rows, row_spans)
    for j in range(columns.shape[0]):
        _bin(box[0], box[2], scale, sampling_ratio, aligned, j, columns, column_spans)


@njit(nogil=True, cache=True)
def _is_finite(box):  # type: ignore[no-untyped-def]
    return math.isfinite(box[0]) and math.isfinite(box[1]) and math.isfinite(box[2]) and math.isfinite(box[3])


@njit(nogil=True, cache=True)
def _room(bins, size):  # type: ignore[no-untyped-def]
    return np.empty((bins, size), np.float32), np.empty((bins, 2), np.int64)


@njit(nogil=True, cache=True)
def _pool(features, box, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    """One box, all channels."""
    rows, row_spans = _room(out.shape[1], features.shape[1])
    columns, column_spans = _room(out.shape[2], features.shape[2])
    _matrices(box, scale, sampling_ratio, aligned, rows, row_spans, columns, column_spans)
    left, right = column_spans[:, 0].min(), column_spans[:, 1].max()
    blended = np.zeros(features.shape[2], np.float32)
    for c in range(out.shape[0]):
        for i in range(out.shape[1]):
            blended[left:right] = 0.0
            for y in range(row_spans[i, 0], row_spans[i, 1]):
                weight, line = rows[i, y], features[c, y]
                for x in range(left, right):
                    blended[x] += weight * line[x]
            for j in range(out.shape[2]):
                total = np.float32(0.0)
                for x in range(column_spans[j, 0], column_spans[j, 1]):
                    total += columns[j, x] * blended[x]
                out[c, i, j] = total


@njit(nogil=True, cache=True)
def _one(features, box, picture, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    if _is_finite(box):
        _pool(features[picture], box, scale, sampling_ratio, aligned, out)
    else:
        out[:] = np.nan


_SETTINGS = "float64, int64, boolean"
_BOXES = "Array(float32, 2, 'C', readonly=True), Array(int64, 1, 'C', readonly=True)"
_SIGNATURE = f"void(Array(float32, 4, 'C', readonly=True), {_BOXES}, {_SETTINGS}, float32[:,:,:,::1])"


@kernel(_SIGNATURE)
def _serial(features, boxes, pictures, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    for k in range(boxes.shape[0]):
        _one(features, boxes[k], pictures[k], scale, sampling_ratio, aligned, out[k])


@kernel(_SIGNATURE, parallel=True)
def _parallel(features, boxes, pictures, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    for k in prange(boxes.shape[0]):
        _one(features, boxes[k], pictures[k], scale, sampling_ratio, aligned, out[k])


@njit(nogil=True, cache=True)
def _channels_back(gradient, boxes, pictures, begin, end, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    """The gradient of the channels ``begin`` to ``end``: box by box, so that the sums have one order."""
    out[:, begin:end] = 0.0
    rows, row_spans = _room(gradient.shape[2], out.shape[2])
    columns, column_spans = _room(gradient.shape[3], out.shape[3])
    spread = np.zeros(out.shape[3], np.float32)
    for k in range(boxes.shape[0]):
        if not _is_finite(boxes[k]):
            continue
        _matrices(boxes[k], scale, sampling_ratio, aligned, rows, row_spans, columns, column_spans)
        left, right = column_spans[:, 0].min(), column_spans[:, 1].max()
        for c in range(begin, end):
            plane = out[pictures[k], c]
            for i in range(rows.shape[0]):
                spread[left:right] = 0.0
                for j in range(columns.shape[0]):
                    for x in range(column_spans[j, 0], column_spans[j, 1]):
                        spread[x] += gradient[k, c, i, j] * columns[j, x]
                for y in range(row_spans[i, 0], row_spans[i, 1]):
                    for x in range(left, right):
                        plane[y, x] += rows[i, y] * spread[x]


@kernel(_SIGNATURE)
def _serial_backward(gradient, boxes, pictures, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    _channels_back(gradient, boxes, pictures, 0, out.shape[1], scale, sampling_ratio, aligned, out)


@kernel(_SIGNATURE, parallel=True)
def _parallel_backward(gradient, boxes, pictures, scale, sampling_ratio, aligned, out):  # type: ignore[no-untyped-def]
    chunk, channels = 8, out.shape[1]
    for part in prange((channels + chunk - 1) // chunk):
        end = min(channels, (part + 1) * chunk)
        _channels_back(gradient, boxes, pictures, part * chunk, end, scale, sampling_ratio, aligned, out)


@cuda_kernel(
    f"void(Array(float32, 2, 'C', readonly=True), {_SETTINGS}, float32[:,:,::1], int64[:,:,::1], float32[:,:,::1],"
    " int64[:,:,::1])"
)
def _matrices_twin(boxes, scale, sampling_ratio, aligned, rows, row_spans, columns, column_spans):  # type: ignore[no-untyped-def]
    bins = rows.shape[1] + columns.shape[1]
    for index in range(cuda.grid(1), boxes.shape[0] * bins, cuda.gridsize(1)):
        k, i = index // bins, index % bins
        j = i - rows.shape[1]
        if _is_finite(boxes[k]) and j < 0:
            _bin(boxes[k, 1], boxes[k, 3], scale, sampling_ratio, aligned, i, rows[k], row_spans[k])
        elif _is_finite(boxes[k]):
            _bin(boxes[k, 0], boxes[k, 2], scale, sampling_ratio, aligned, j, columns[k], column_spans[k])


_MATRICES = "float32[:,:,::1], int64[:,:,::1], float32[:,:,::1], int64[:,:,::1]"
_TWIN = f"void(Array(float32, 4, 'C', readonly=True), {_BOXES}, {_MATRICES}, float32[:,:,:,::1])"


@cuda_kernel(_TWIN)
def _twin(features, boxes, pictures, rows, row_spans, columns, column_spans, out):  # type: ignore[no-untyped-def]
    """One thread a bin of one channel."""
    height, width = out.shape[2], out.shape[3]
    for index in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        j, i = index % width, index // width % height
        c, k = index // (width * height) % out.shape[1], index // (width * height * out.shape[1])
        total = np.float32(0.0)
        if not _is_finite(boxes[k]) or pictures[k] < 0 or pictures[k] >= features.shape[0]:
            total = np.float32(np.nan)
        else:
            for x in range(column_spans[k, j, 0], column_spans[k, j, 1]):
                blended = np.float32(0.0)
                for y in range(row_spans[k, i, 0], row_spans[k, i, 1]):
                    blended += rows[k, i, y] * features[pictures[k], c, y, x]
                total += columns[k, j, x] * blended
        out[k, c, i, j] = total


@cuda_kernel(_TWIN)
def _twin_backward(gradient, boxes, pictures, rows, row_spans, columns, column_spans, out):  # type: ignore[no-untyped-def]
    """One thread a feature, which gathers from the boxes that reach it: nothing is added atomically."""
    height, width = out.shape[2], out.shape[3]
    for index in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        x, y = index % width, index // width % height
        c, n = index // (width * height) % out.shape[1], index // (width * height * out.shape[1])
        total = np.float32(0.0)
        for k in range(boxes.shape[0]):
            if pictures[k] == n and _is_finite(boxes[k]):
                for i in range(rows.shape[1]):
                    if row_spans[k, i, 0] <= y < row_spans[k, i, 1]:
                        spread = np.float32(0.0)
                        for j in range(columns.shape[1]):
                            if column_spans[k, j, 0] <= x < column_spans[k, j, 1]:
                                spread += gradient[k, c, i, j] * columns[k, j, x]
                        total += rows[k, i, y] * spread
        out[n, c, y, x] = total


def _launch(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, twin, values, boxes, pictures, settings, bins, sizes, target
) -> None:
    matrices: list[Any] = []
    for count, size in zip(bins, sizes, strict=True):
        shape = boxes.shape[0], count
        matrices += [memory.empty((*shape, size), np.float32), memory.empty((*shape, 2), np.int64)]
    memory.launch(_matrices_twin, boxes.shape[0] * sum(bins), boxes, *settings, *matrices)
    memory.launch(twin, target.size, values, boxes, pictures, *matrices, target)


# Pooled values; each takes some ten steps, so that fewer take one core less than a team of threads costs.
_PARALLEL_VALUES = 50_000


def _settings(scale: float, sampling_ratio: int, aligned: bool) -> tuple[float, int, bool]:
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale: expected a positive number, got {scale!r}")
    return float(scale), whole_number(sampling_ratio, "sampling_ratio", 0), bool(aligned)  # 0: one that suits


def _of_pictures(memory: Any, pictures: Any, boxes: Any, count: int) -> Any:
    """The picture of each box, checked where that needs no reading of a device's memory."""
    if pictures is None:
        if count != 1:
            raise ValueError(f"pictures: expected the picture of each box, as there are {count} pictures, got None")
        return memory.full(boxes.shape[0], np.int64, 0)
    found = memory.array(pictures, "pictures", np.int64, (boxes.shape[0],))
    if not memory.on_device and found.size and not 0 <= found.min() <= found.max() < count:
        raise ValueError(f"pictures: expected numbers from 0 to {count - 1}, got {found.min()} to {found.max()}")
    return found


def roi_align(
    features: Any,
    boxes: Any,
    size: tuple[int, int],
    *,
    pictures: Any = None,
    scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Average what feature maps hold under each box into a grid of ``size``.

    Args:
        features: float32 [N, C, H, W].
        boxes: float32 [K, 4], xyxy, in the unit that ``scale`` turns into features.
        size: (height, width) of the grid.
        pictures: int64 [K], which of the N maps a box is of; may be left out where N is 1.
        scale: features per unit of the boxes: 1 / 16 for pixels on a map of stride 16.
        sampling_ratio: samples along each side of a bin; 0 for as many as it has features, rounded up.
        aligned: a feature's value lies at its middle, at half coordinates, and boxes may be smaller than a feature, as
            in Detectron2; otherwise values lie at whole coordinates and boxes are at least one feature wide.
        out: float32 [K, C, height, width] to write into.

    Returns:
        float32 [K, C, height, width]: the mean of a bin's bilinear samples. One up to a feature beside the map counts
        as at its border, one further away as 0. A box without area has no samples and gives 0 (with ``sampling_ratio``
        0); one that is not finite gives NaN, and so does, on a device, a picture that there is not.

    Cost per box and channel: the features under it, once for each row of the grid. Source: He et al., "Mask R-CNN"
    (2017), section 3. Takes device arrays too, with the same answer to the last bit.
    """
    memory = memory_of(features=features, boxes=boxes, pictures=pictures, out=out)
    maps = memory.array(features, "features", np.float32, ("N", "C", "H", "W"))
    if 0 in maps.shape:
        raise ValueError(f"features: expected at least one picture, channel and feature, got shape {tuple(maps.shape)}")
    rectangles = memory.array(boxes, "boxes", np.float32, ("K", 4))
    where = _of_pictures(memory, pictures, rectangles, maps.shape[0])
    settings = _settings(scale, sampling_ratio, aligned)
    height, width = height_and_width(size, "size")
    target: NDArray[np.float32] = memory.output(out, np.float32, (rectangles.shape[0], maps.shape[1], height, width))
    if memory.on_device:
        _launch(memory, _twin, maps, rectangles, where, settings, (height, width), maps.shape[2:], target)
    else:
        run = _parallel if target.size > _PARALLEL_VALUES and len(target) > 1 and lone_caller() else _serial
        run(maps, rectangles, where, *settings, target)
    return target


def roi_align_backward(
    gradient: Any,
    boxes: Any,
    shape: tuple[int, int, int, int],
    *,
    pictures: Any = None,
    scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the gradient of `roi_align` in its features.

    Args:
        gradient: float32 [K, C, height, width], of its result.
        boxes, pictures, scale, sampling_ratio, aligned: as they were there.
        shape: (N, C, H, W) of the features.
        out: float32 [N, C, H, W] to write into.

    Returns:
        float32 [N, C, H, W]. Boxes that are not finite have no gradient. Every feature gathers from the boxes in their
        order, so that the sums are the same on any number of threads. Takes device arrays too, with the same answer to
        the last bit.
    """
    memory = memory_of(gradient=gradient, boxes=boxes, pictures=pictures, out=out)
    try:
        count, channels, *sizes = sides = tuple(whole_number(side, "shape", 1) for side in shape)
    except (TypeError, ValueError):
        sides = ()
    if len(sides) != 4:
        raise ValueError(f"shape: expected four positive sizes, those of the features, got {shape!r}")
    upstream = memory.array(gradient, "gradient", np.float32, ("K", channels, "h", "w"))
    if 0 in upstream.shape[2:]:
        raise ValueError(f"gradient: expected at least one bin, got shape {tuple(upstream.shape)}")
    rectangles = memory.array(boxes, "boxes", np.float32, (upstream.shape[0], 4))
    where = _of_pictures(memory, pictures, rectangles, count)
    settings = _settings(scale, sampling_ratio, aligned)
    target: NDArray[np.float32] = memory.output(out, np.float32, sides)
    if memory.on_device:
        _launch(memory, _twin_backward, upstream, rectangles, where, settings, upstream.shape[2:], sizes, target)
    else:
        large = upstream.size > _PARALLEL_VALUES and channels > 8
        run = _parallel_backward if large and lone_caller() else _serial_backward
        run(upstream, rectangles, where, *settings, target)
    return target
