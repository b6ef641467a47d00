"""Class logits to the mask of a picture, at the picture's own size: bilinear interpolation and argmax in one pass.

No interpolated logits are ever stored: a row is interpolated where the winner may change, and filled where it cannot.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import position_of
from ops._check import height_and_width
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel, lone_caller
from ops.letterbox import Placement

# Multiply-add may contract, but NaN must compare as NaN.
_compiled = njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")


@_compiled
def _positions(scale, offset, size, count):  # type: ignore[no-untyped-def]
    first, weight = np.empty(count, np.int64), np.empty(count, np.float32)
    for x in range(count):
        first[x], weight[x] = position_of(x, scale, offset, size)
    return first, weight


@_compiled
def _edges(first):  # type: ignore[no-untyped-def]
    """Where the pixels of each cell between two logits begin, from the first pixel's cell to the last one's."""
    edge = np.empty(first[-1] - first[0] + 2, np.int64)
    x = 0
    for cell in range(edge.size):
        while x < first.size and first[x] - first[0] < cell:
            x += 1
        edge[cell] = x
    return edge


@_compiled
def _blend_rows(logits, above, weight, left, values, best, winner):  # type: ignore[no-untyped-def]
    """Interpolate between two rows of logits, every class, and note which class wins at each column.

    ``values`` [C, n + 1] and ``winner`` [n + 1] repeat their last column, the right neighbour of the last cell. With
    one plane of logits, ``values`` has a first plane of zeros for class 0.
    """
    below, columns = min(above + 1, logits.shape[1] - 1), best.size
    single = values.shape[0] - logits.shape[0]
    values[:single] = 0.0
    best[:] = 0.0 if single else -np.inf
    winner[:] = 0
    for plane in range(logits.shape[0]):
        upper, lower = logits[plane, above, left : left + columns], logits[plane, below, left : left + columns]
        row, class_id = values[plane + single], np.int32(plane + single)
        for i in range(columns):
            value = upper[i] + weight * (lower[i] - upper[i])
            row[i] = value
            better = value > best[i]
            best[i] = value if better else best[i]
            winner[i] = class_id if better else winner[i]
        row[columns] = row[columns - 1]
    winner[columns] = winner[columns - 1]


@_compiled
def _rivals(values, cell, a, b, rivals):  # type: ignore[no-untyped-def]
    """Which classes may win between a column that ``a`` wins and the next one, that ``b`` wins; how many.

    The best value is never below the crossing of a and b, so a class that lies below it on both sides is out.
    """
    a0, a1 = np.float64(values[a, cell]), np.float64(values[a, cell + 1])
    lead = a0 - values[b, cell]
    change = lead + (values[b, cell + 1] - a1)
    # A hair lower, as the interpolated values are rounded to float32. Where NaN is about, nobody is out.
    least = a0 + lead / change * (a1 - a0) - 1e-6 * max(abs(a0), abs(a1)) if change > 0 else -np.inf
    count = 0
    for c in range(values.shape[0]):
        rivals[count] = c
        count += not (values[c, cell] < least and values[c, cell + 1] < least)
    return count


@_compiled
def _write_row(values, winner, rivals, edge, weight, row):  # type: ignore[no-untyped-def]
    """A class that wins at two neighbouring columns wins between them too, as all values change linearly."""
    cells = edge.size - 1
    cell = 0
    while cell < cells:
        end = cell
        while end < cells and winner[end + 1] == winner[cell]:
            end += 1
        row[edge[cell] : edge[end]] = winner[cell]
        if end < cells:
            count = _rivals(values, end, winner[end], winner[end + 1], rivals)
            for x in range(edge[end], edge[end + 1]):
                best, best_class = np.float32(-np.inf), 0
                for k in range(count):
                    c = rivals[k]
                    value = values[c, end] + weight[x] * (values[c, end + 1] - values[c, end])
                    if value > best:
                        best, best_class = value, c
                row[x] = best_class
        cell = end + 1


@_compiled
def _rows(logits, begin, end, first_y, weight_y, first_x, weight_x, out):  # type: ignore[no-untyped-def]
    """Write the rows ``begin`` to ``end`` of the mask."""
    left = first_x[0]
    columns = min(first_x[-1] + 2, logits.shape[2]) - left
    classes = max(logits.shape[0], 2)
    values, rivals = np.empty((classes, columns + 1), np.float32), np.empty(classes + 1, np.int64)
    best, winner = np.empty(columns, np.float32), np.empty(columns + 1, np.int32)
    edge = _edges(first_x)
    for y in range(begin, end):
        _blend_rows(logits, first_y[y], weight_y[y], left, values, best, winner)
        _write_row(values, winner, rivals, edge, weight_x, out[y])


_SIGNATURE = "void(Array(float32, 3, 'C', readonly=True), float64, float64, float64, float64, uint8[:,::1])"


@kernel(_SIGNATURE)
def _serial(logits, scale_y, offset_y, scale_x, offset_x, out):  # type: ignore[no-untyped-def]
    first_y, weight_y = _positions(scale_y, offset_y, logits.shape[1], out.shape[0])
    first_x, weight_x = _positions(scale_x, offset_x, logits.shape[2], out.shape[1])
    _rows(logits, 0, out.shape[0], first_y, weight_y, first_x, weight_x, out)


@kernel(_SIGNATURE, parallel=True)
def _parallel(logits, scale_y, offset_y, scale_x, offset_x, out):  # type: ignore[no-untyped-def]
    first_y, weight_y = _positions(scale_y, offset_y, logits.shape[1], out.shape[0])
    first_x, weight_x = _positions(scale_x, offset_x, logits.shape[2], out.shape[1])
    chunk = 32
    for part in prange((out.shape[0] + chunk - 1) // chunk):
        _rows(logits, part * chunk, min(out.shape[0], (part + 1) * chunk), first_y, weight_y, first_x, weight_x, out)


@cuda_kernel(_SIGNATURE, block=(32, 8))
def _twin(logits, scale_y, offset_y, scale_x, offset_x, out):  # type: ignore[no-untyped-def]
    """One thread a pixel; blends rows first, as the kernels for the CPU."""
    single = 1 if logits.shape[0] == 1 else 0
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for y in range(from_y, out.shape[0], step_y):
        above, weight_y = position_of(y, scale_y, offset_y, logits.shape[1])
        below = min(above + 1, logits.shape[1] - 1)
        for x in range(from_x, out.shape[1], step_x):
            left, weight_x = position_of(x, scale_x, offset_x, logits.shape[2])
            right = min(left + 1, logits.shape[2] - 1)
            best, winner = np.float32(0.0 if single else -np.inf), 0
            for plane in range(logits.shape[0]):
                upper = logits[plane, above, left]
                p = upper + weight_y * (logits[plane, below, left] - upper)
                upper = logits[plane, above, right]
                q = upper + weight_y * (logits[plane, below, right] - upper)
                value = p + weight_x * (q - p)
                if value > best:
                    best, winner = value, plane + single
            out[y, x] = winner


# Logits blended and pixels written: as many steps as the pixels from which on `letterbox` calls its threads.
_PARALLEL_STEPS = 4_000_000


def _axis(size: int, inputs: int, scale: float, offset: float) -> tuple[float, float]:
    """Compose picture -> input -> logits along one axis: ``logits = scale * picture + offset``, corners at 0."""
    return scale * size / inputs, offset * size / inputs


def _checked_placement(placement: Placement | None, inputs: tuple[int, int], image_size: tuple[int, int]) -> Placement:
    if placement is None:
        return Placement(inputs[0] / image_size[0], inputs[1] / image_size[1], 0, 0)
    if not all(map(math.isfinite, placement)) or min(placement[:2]) <= 0:
        raise ValueError(f"placement: expected finite numbers, the scales positive, got {placement!r}")
    return placement


def argmax_resize(
    logits: Any,
    image_size: tuple[int, int],
    *,
    input_size: tuple[int, int] | None = None,
    placement: Placement | None = None,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Turn the class logits of a picture into its mask of class ids, at the picture's own size.

    Args:
        logits: float32 [C, h, w], C from 1 to 256, finite, spread evenly over the network's input. One plane is the
            logit of class 1 against class 0: 1 where it is above 0.
        image_size: (height, width) of the picture.
        input_size: (height, width) of the network's input, in the pixels that ``placement`` speaks of; (h, w) if not
            given.
        placement: where `letterbox` or `resize_normalize` put the picture; if not given, it fills the input.
        out: uint8 [H, W] to write into.

    Returns:
        uint8 [H, W]: the class of the largest logit at each pixel's centre; equal logits: the lower class. A NaN
        never wins; class 0 stands where nothing does.

    Logits are interpolated bilinearly, centres at half coordinates, the border's repeated, as torch's ``interpolate``
    does without ``align_corners``. Cost: C * w steps per row of the mask, and C more for each change of class in it.
    Takes device arrays too (C steps per pixel); where two logits are equal but for rounding, the devices may differ.
    """
    memory = memory_of(logits=logits, out=out)
    planes = memory.array(logits, "logits", np.float32, ("C", "h", "w"))
    if 0 in planes.shape or planes.shape[0] > 256:
        raise ValueError(f"logits: expected 1 to 256 classes and at least one pixel, got shape {planes.shape}")
    classes, rows, columns = planes.shape
    height, width = height_and_width(image_size, "image_size")
    inputs = (rows, columns) if input_size is None else height_and_width(input_size, "input_size")
    scale_y, scale_x, top, left = _checked_placement(placement, inputs, (height, width))
    target: NDArray[np.uint8] = memory.output(out, np.uint8, (height, width))
    axes = *_axis(rows, inputs[0], scale_y, top), *_axis(columns, inputs[1], scale_x, left)
    if memory.on_device:
        memory.launch(_twin, (width, height), planes, *axes, target)
    else:
        large = height * (width + classes * columns) > _PARALLEL_STEPS
        (_parallel if large and lone_caller() else _serial)(planes, *axes, target)
    return target
