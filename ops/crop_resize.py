"""Cut boxes out of one picture and stretch each to a size: the batch that a classifier takes after a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._arith import clamped
from ops._check import height_and_width
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._half import float_dtype, to_half
from ops._kernel import kernel, lone_caller
from ops.letterbox import _KEPT, _REVERSED, _normalisation, _picture
from ops.resize_normalize import _rows, _taps, _triangle, _window, _window_size


@njit(nogil=True, cache=True)
def _clipped(box, height, width):  # type: ignore[no-untyped-def]
    """(top, left, height, width) of what the picture holds of a box; no area where it is empty, inverted or NaN."""
    x0, x1 = clamped(np.float64(box[0]), 0.0, width), clamped(np.float64(box[2]), 0.0, width)
    y0, y1 = clamped(np.float64(box[1]), 0.0, height), clamped(np.float64(box[3]), 0.0, height)
    if x1 > x0 and y1 > y0:
        return y0, x0, y1 - y0, x1 - x0
    return 0.0, 0.0, 0.0, 0.0


@njit(nogil=True, cache=True)
def _crop(image, box, antialias, order, gain, shift, padding, out):  # type: ignore[no-untyped-def]
    top, left, high, wide = _clipped(box, float(image.shape[0]), float(image.shape[1]))
    if high > 0.0:
        first_y, weight_y = _taps(top, high, out.shape[1], image.shape[0], antialias)
        first_x, weight_x = _taps(left, wide, out.shape[2], image.shape[1], antialias)
        _rows(image, 0, out.shape[1], first_y, weight_y, first_x, weight_x, order, gain, shift, out)
    else:
        for c in range(3):
            out[c] = padding[c]


_SIGNATURE = (
    "void(Array(uint8, 3, 'C', readonly=True), Array(float32, 2, 'C', readonly=True), boolean, int64[::1],"
    " float32[::1], float32[::1], float32[::1], float32[:,:,:,::1])"
)


@kernel(_SIGNATURE)
def _serial(image, boxes, antialias, order, gain, shift, padding, out):  # type: ignore[no-untyped-def]
    for k in range(boxes.shape[0]):
        _crop(image, boxes[k], antialias, order, gain, shift, padding, out[k])


@kernel(_SIGNATURE, parallel=True)
def _parallel(image, boxes, antialias, order, gain, shift, padding, out):  # type: ignore[no-untyped-def]
    for k in prange(boxes.shape[0]):
        _crop(image, boxes[k], antialias, order, gain, shift, padding, out[k])


@cuda_kernel(
    "void(Array(float32, 2, 'C', readonly=True), int64, int64, int64, boolean, int64[:,::1], float32[:,:,::1])",
    block=(32, 4),
)
def _taps_twin(boxes, axis, size, other, antialias, first, weight):  # type: ignore[no-untyped-def]
    """Along one axis (0 is y): the windows of each box; a box without area has the first source pixel -1."""
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    height, width = (other, size) if axis else (size, other)
    for k in range(from_y, boxes.shape[0], step_y):
        top, left, high, wide = _clipped(boxes[k], float(height), float(width))
        start, extent = (left, wide) if axis else (top, high)
        ratio = extent / first.shape[1]
        support = max(ratio, 1.0) if antialias else 1.0
        count = _window_size(ratio, size, antialias)
        for position in range(from_x, first.shape[1], step_x):
            first[k, position] = -1
            if high > 0.0:
                centre = start + (position + 0.5) * ratio
                low, total = _window(centre, support, size, count)
                for j in range(weight.shape[2]):
                    weight[k, position, j] = _triangle(low + j, centre, support) / total if j < count else 0.0
                first[k, position] = low


_TWIN = (
    "void(Array(uint8, 3, 'C', readonly=True), int64[:,::1], float32[:,:,::1], int64[:,::1], float32[:,:,::1],"
    " boolean, UniTuple(float32, 3), UniTuple(float32, 3), UniTuple(float32, 3), {}[:,:,:,::1])"
)


def _twin(image, first_y, weight_y, first_x, weight_x, swap, gain, shift, padding, out):  # type: ignore[no-untyped-def]
    """One thread a pixel of the result, all channels; sums down the columns first, as the kernels for the CPU."""
    from_x, from_y, from_k = cuda.grid(3)
    step_x, step_y, step_k = cuda.gridsize(3)
    for k in range(from_k, out.shape[0], step_k):
        for y in range(from_y, out.shape[2], step_y):
            for x in range(from_x, out.shape[3], step_x):
                if first_x[k, x] < 0:
                    for c in range(3):
                        out[k, c, y, x] = padding[c]
                    continue
                v0 = v1 = v2 = np.float32(0.0)
                for i in range(weight_x.shape[2]):
                    across = weight_x[k, x, i]
                    if across == 0.0:
                        continue
                    u0 = u1 = u2 = np.float32(0.0)
                    for j in range(weight_y.shape[2]):
                        w = weight_y[k, y, j]
                        if w != 0.0:
                            row, column = first_y[k, y] + j, first_x[k, x] + i
                            u0 += w * np.float32(image[row, column, 0])
                            u1 += w * np.float32(image[row, column, 1])
                            u2 += w * np.float32(image[row, column, 2])
                    v0, v1, v2 = v0 + across * u0, v1 + across * u1, v2 + across * u2
                out[k, 0, y, x] = (v2 if swap else v0) * gain[0] + shift[0]
                out[k, 1, y, x] = v1 * gain[1] + shift[1]
                out[k, 2, y, x] = (v0 if swap else v2) * gain[2] + shift[2]


_TWINS = {name: cuda_kernel(_TWIN.format(name), block=(32, 8, 1), label=name)(_twin) for name in ("float32", "float16")}


def _launch(  # type: ignore[no-untyped-def]
    memory: DeviceMemory, picture, rectangles, antialias, swap, gain, shift, padding, target
) -> None:
    count, _, height, width = target.shape
    taps = []
    for axis, length in enumerate((height, width)):
        size, other = picture.shape[axis], picture.shape[1 - axis]
        first = memory.empty((count, length), np.int64)
        # Room for the largest box there can be: their sizes are not known here.
        weight = memory.empty((count, length, _window_size(size / length, size, antialias)), np.float32)
        memory.launch(_taps_twin, (length, count), rectangles, axis, size, other, antialias, first, weight)
        taps += [first, weight]
    colours = map(tuple, (gain, shift, padding))
    memory.launch(_TWINS[target.dtype.name], (width, height, count), picture, *taps, swap, *colours, target)


# Two boxes of an ordinary size are work for two threads.
_PARALLEL_PIXELS = 20_000


def crop_resize(
    image: Any,
    boxes: Any,
    size: tuple[int, int],
    *,
    fill: int = 114,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    swap_channels: bool = False,
    antialias: bool = True,
    dtype: Any = np.float32,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Cut boxes out of a picture and stretch each to ``size``: bilinear resize, normalise, HWC to CHW.

    Args:
        image: uint8 [H, W, 3], any channel order.
        boxes: float32 [N, 4], xyxy in pixels of the picture, whole or fractional.
        size: (height, width) of the results.
        fill: grey level 0..255, normalised like the picture, of the result of a box that has no area in the picture.
        mean, std: per output channel, in grey levels: ``(value - mean) / std``.
        swap_channels: write the channels in reverse order (RGB to BGR).
        antialias: where it shrinks, average as `resize_normalize` does; otherwise always blend the two nearest pixels.
        dtype: float32 or float16.
        out: [N, 3, h, w] of that dtype to write into.

    Returns:
        float32 or float16 [N, 3, h, w], in the order of the boxes.

    A box is clipped to the picture first; what is left is stretched exactly as `resize_normalize` stretches that
    region. One that is empty, inverted, NaN or wholly beside the picture gives ``fill``. Takes device arrays too.
    """
    memory = memory_of(image=image, boxes=boxes, out=out)
    picture = _picture(memory, image, "image")
    rectangles = memory.array(boxes, "boxes", np.float32, ("N", 4))
    height, width = height_and_width(size, "size")
    gain, shift, padding = _normalisation(tuple(mean), tuple(std), fill)
    target: NDArray[Any] = memory.output(out, float_dtype(dtype), (rectangles.shape[0], 3, height, width))
    if memory.on_device:
        colours = bool(swap_channels), gain, shift, padding
        _launch(memory, picture, rectangles, bool(antialias), *colours, target)
        return target
    whole = target if target.dtype == np.float32 else np.empty(target.shape, np.float32)
    order = _REVERSED if swap_channels else _KEPT
    run = _parallel if len(target) > 1 and target.size > 3 * _PARALLEL_PIXELS and lone_caller() else _serial
    run(picture, rectangles, bool(antialias), order, gain, shift, padding, whole)
    if whole is not target:
        to_half(whole.reshape(-1, height, width), target.reshape(-1, height, width))
    return target
