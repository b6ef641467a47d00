"""Letterbox: resize a picture keeping its ratio, pad it, normalise it and lay it out for a network, in one pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, Memory, memory_of
from ops._kernel import kernel, lone_caller


class Placement(NamedTuple):
    """Where a picture lies in the network's input: ``x_input = x_picture * scale_x + left``, likewise for y.

    ``top`` and ``left`` are whole (``int``) where a picture was padded; a region's picture begins before the input,
    so they are 0 or below it then and may be fractions.
    """

    scale_y: float
    scale_x: float
    top: float
    left: float


@functools.lru_cache(maxsize=256)
def place(height: int, width: int, size: tuple[int, int], center: bool = False) -> tuple[Placement, int, int]:
    """Return the placement of a ``height`` x ``width`` picture in ``size``, and its resized height and width."""
    ratio = min(size[0] / height, size[1] / width)
    new_height = min(size[0], max(1, round(height * ratio)))
    new_width = min(size[1], max(1, round(width * ratio)))
    top = (size[0] - new_height) // 2 if center else 0
    left = (size[1] - new_width) // 2 if center else 0
    return Placement(new_height / height, new_width / width, top, left), new_height, new_width


@njit(nogil=True, cache=True, inline="always")
def _source(position: int, sizes_ratio: float, size: int) -> Any:
    """The two neighbours of an output pixel's centre and the weight of the second (half-pixel centres, clamped)."""
    centre = (position + 0.5) * sizes_ratio - 0.5
    if centre < 0.0:
        centre = 0.0
    first = int(centre)
    if first > size - 1:
        first = size - 1
    second = min(first + 1, size - 1)
    return first, second, np.float32(centre - first)


@njit(nogil=True, cache=True, fastmath=True)
def _columns(width: int, new_width: int) -> Any:
    first = np.empty(new_width, np.uint64)
    weight = np.empty(new_width, np.float32)
    for x in range(new_width):
        a, _, weight[x] = _source(x, width / new_width, width)
        first[x] = 3 * a
    return first, weight


@njit(nogil=True, cache=True, fastmath=True)
def _row(image, out, y, new_height, top, left, first, weight, order, gain, shift, scaled, blended):  # type: ignore[no-untyped-def]
    """Write one resized row: blend two source rows (contiguous, so it vectorises), then blend columns.

    All channels of a pixel are done at once: six neighbouring loads instead of fifteen scattered ones.
    """
    height, width = image.shape[0], image.shape[1]
    a, b, w = _source(y, height / new_height, height)
    upper, lower = image[a].reshape(width * 3), image[b].reshape(width * 3)
    for i in range(width * 3):
        blended[i] = np.float32(upper[i]) + w * (np.float32(lower[i]) - np.float32(upper[i]))
    if scaled:
        for x in range(width):
            for c in range(3):
                blended[3 * x + c] = blended[3 * x + c] * gain[order[c]] + shift[order[c]]
    for i in range(width * 3, width * 3 + 3):  # the right neighbour of the last column is that column
        blended[i] = blended[i - 3]
    c0, c1, c2 = order[0], order[1], order[2]
    end = left + first.size
    row0, row1, row2 = out[c0, top + y, left:end], out[c1, top + y, left:end], out[c2, top + y, left:end]
    _blend_columns(blended, first, weight, row0, row1, row2)


# Unsigned and 64 bits wide, or numba looks at every index for a negative one and LLVM for an overflow.
_1, _2, _3, _4, _5 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(5)


@njit(nogil=True, cache=True, fastmath=True)
def _blend_columns(blended, first, weight, row0, row1, row2):  # type: ignore[no-untyped-def]
    for x in range(first.size):
        i, t = first[x], weight[x]
        p0, p1, p2 = blended[i], blended[i + _1], blended[i + _2]
        q0, q1, q2 = blended[i + _3], blended[i + _4], blended[i + _5]
        row0[x] = p0 + t * (q0 - p0)
        row1[x] = p1 + t * (q1 - p1)
        row2[x] = p2 + t * (q2 - p2)


@njit(nogil=True, cache=True)
def _pad(out, new_height, new_width, top, left, padding):  # type: ignore[no-untyped-def]
    for channel in range(3):
        plane = out[channel]
        plane[:top] = padding[channel]
        plane[top + new_height :] = padding[channel]
        plane[top : top + new_height, :left] = padding[channel]
        plane[top : top + new_height, left + new_width :] = padding[channel]


_SIGNATURE = (
    "void(Array(uint8, 3, 'C', readonly=True), float32[:,:,::1], int64, int64, int64, int64,"
    " int64[::1], float32[::1], float32[::1], float32[::1], boolean)"
)


@kernel(_SIGNATURE, fastmath=True)
def _serial(image, out, new_height, new_width, top, left, order, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    first, weight = _columns(image.shape[1], new_width)
    blended = np.empty(image.shape[1] * 3 + 3, np.float32)
    if border:
        _pad(out, new_height, new_width, top, left, padding)
    scaled = not (np.all(gain == 1.0) and np.all(shift == 0.0))
    for y in range(new_height):
        _row(image, out, y, new_height, top, left, first, weight, order, gain, shift, scaled, blended)


@kernel(_SIGNATURE, parallel=True, fastmath=True)
def _parallel(image, out, new_height, new_width, top, left, order, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    first, weight = _columns(image.shape[1], new_width)
    if border:
        _pad(out, new_height, new_width, top, left, padding)
    scaled = not (np.all(gain == 1.0) and np.all(shift == 0.0))
    chunk = 16
    for part in prange((new_height + chunk - 1) // chunk):
        blended = np.empty(image.shape[1] * 3 + 3, np.float32)
        for y in range(part * chunk, min(new_height, (part + 1) * chunk)):
            _row(image, out, y, new_height, top, left, first, weight, order, gain, shift, scaled, blended)


@njit(nogil=True, cache=True)
def _fit(image, out, new_height, new_width, top, left, swap, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    """On a GPU: one thread a pixel of the result, all channels; blends in the order of `_row`."""
    height, width = image.shape[0], image.shape[1]
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for y in range(from_y, out.shape[1], step_y):
        a, b, w = _source(y - top, height / new_height, height)
        for x in range(from_x, out.shape[2], step_x):
            if top <= y < top + new_height and left <= x < left + new_width:
                i, j, t = _source(x - left, width / new_width, width)
                for k in range(3):
                    c = 2 - k if swap else k
                    upper, right = np.float32(image[a, i, c]), np.float32(image[a, j, c])
                    p = (upper + w * (np.float32(image[b, i, c]) - upper)) * gain[k] + shift[k]
                    q = (right + w * (np.float32(image[b, j, c]) - right)) * gain[k] + shift[k]
                    out[k, y, x] = p + t * (q - p)
            elif border:
                for k in range(3):
                    out[k, y, x] = padding[k]


_COLOURS = "boolean, UniTuple(float32, 3), UniTuple(float32, 3), UniTuple(float32, 3)"


@cuda_kernel(
    f"void(Array(uint8, 3, 'C', readonly=True), float32[:,:,::1], int64, int64, int64, int64, {_COLOURS}, boolean)",
    block=(32, 8),
)
def _twin(image, out, new_height, new_width, top, left, swap, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    _fit(image, out, new_height, new_width, top, left, swap, gain, shift, padding, border)


# Pictures of one launch: their addresses and sizes go along as its arguments, which hold 4 KiB.
_GROUP = 32


@cuda_kernel(
    f"void(UniTuple(Array(uint8, 3, 'C', readonly=True), {_GROUP}), float32[:,:,:,::1], int64[:,::1], {_COLOURS})",
    block=(32, 8, 1),
)
def _group_twin(images, out, fits, swap, gain, shift, padding):  # type: ignore[no-untyped-def]
    for k in range(cuda.blockIdx.z, out.shape[0], cuda.gridDim.z):
        _fit(images[k], out[k], fits[k, 0], fits[k, 1], fits[k, 2], fits[k, 3], swap, gain, shift, padding, True)


# Pixels read and written. Below it a team of threads costs more than it saves, above all beside another library's
# team: docs/benchmarks.md has the parallel kernel on small pictures beside ONNX Runtime's spinning threads.
_PARALLEL_PIXELS = 4_000_000


@functools.lru_cache(maxsize=64)
def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], fill: int) -> tuple[NDArray[np.float32], ...]:
    """Gain, shift and normalised fill per channel; kept, as making them takes longer than all checks."""
    if not 0 <= fill <= 255:
        raise ValueError(f"fill: expected a grey level from 0 to 255, got {fill!r}")
    finite = len(mean) == len(std) == 3 and all(map(math.isfinite, (*mean, *std)))
    if not finite or min(std) <= 0:
        raise ValueError(f"mean, std: expected three finite numbers each, std positive, got {mean!r} and {std!r}")
    gain = (1.0 / np.asarray(std, np.float64)).astype(np.float32)
    shift = (-np.asarray(mean, np.float64) / np.asarray(std, np.float64)).astype(np.float32)
    return gain, shift, np.float32(fill) * gain + shift


def _picture(memory: Memory, image: Any, name: str) -> Any:
    picture = memory.array(image, name, np.uint8, ("H", "W", 3))
    if 0 in picture.shape:
        raise ValueError(f"{name}: expected at least one pixel, got shape {tuple(picture.shape)}")
    return picture


def _size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = int(size[0]), int(size[1])
    if height < 1 or width < 1:
        raise ValueError(f"size: expected a positive (height, width), got {size!r}")
    return height, width


def letterbox(
    image: Any,
    size: tuple[int, int],
    *,
    fill: int = 114,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    swap_channels: bool = False,
    center: bool = False,
    border: bool = True,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Placement]:
    """Fit a picture into ``size``: bilinear resize keeping the ratio, pad, normalise, HWC to CHW.

    Args:
        image: uint8 [H, W, 3], any channel order.
        size: (height, width) of the result.
        fill: grey level 0..255 of the padding, normalised like the picture.
        mean, std: per output channel, in grey levels: ``(value - mean) / std``.
        swap_channels: write the channels in reverse order (RGB to BGR).
        center: pad on both sides; otherwise right and below only.
        border: False leaves the padding as ``out`` holds it: for a buffer whose last picture had the same size.
        out: float32 [3, h, w] to write into.

    Returns:
        float32 [3, h, w] and the `Placement` that maps picture coordinates to input coordinates.

    Pixel centres lie at half coordinates, as in OpenCV's ``INTER_LINEAR``; the result is not rounded to whole grey
    levels and stays within 1 of it. Cost: one read of the picture rows that are used and one write of the result.
    Takes device arrays too.
    """
    memory = memory_of(image=image, out=out)
    picture = _picture(memory, image, "image")
    height, width = _size(size)
    gain, shift, padding = _normalisation(tuple(mean), tuple(std), fill)
    if out is None and not border:
        raise ValueError("border: False needs out, a buffer that holds the padding already")
    target: NDArray[np.float32] = memory.output(out, np.float32, (3, height, width))
    placement, new_height, new_width = place(picture.shape[0], picture.shape[1], (height, width), center)
    if memory.on_device:
        memory.launch(
            _twin, (width, height), picture, target, new_height, new_width, placement.top, placement.left,
            bool(swap_channels), tuple(gain), tuple(shift), tuple(padding), bool(border),
        )  # fmt: skip
        return target, placement
    order = _REVERSED if swap_channels else _KEPT
    large = picture.shape[0] * picture.shape[1] + height * width > _PARALLEL_PIXELS
    run = _parallel if large and lone_caller() else _serial
    run(
        picture, target, new_height, new_width, placement.top, placement.left,
        order, gain, shift, padding, border,
    )  # fmt: skip
    return target, placement


def letterbox_batch(
    images: Sequence[Any],
    size: tuple[int, int],
    *,
    fill: int = 114,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    swap_channels: bool = False,
    center: bool = False,
    out: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], list[Placement]]:
    """Fit pictures of any sizes into ``size``, as `letterbox` does each, into one array.

    Args:
        images: N pictures, uint8 [H, W, 3] each.
        size, fill, mean, std, swap_channels, center: see `letterbox`.
        out: float32 [N, 3, h, w] to write into.

    Returns:
        float32 [N, 3, h, w] and N placements. Takes device arrays too, 32 pictures a launch.
    """
    named = {f"images[{i}]": image for i, image in enumerate(images)}
    memory = memory_of(**named, out=out)
    pictures = [_picture(memory, image, name) for name, image in named.items()]
    height, width = _size(size)
    colours = _normalisation(tuple(mean), tuple(std), fill)
    target: NDArray[np.float32] = memory.output(out, np.float32, (len(pictures), 3, height, width))
    fits = [place(picture.shape[0], picture.shape[1], (height, width), center) for picture in pictures]
    if memory.on_device:
        _launch_groups(memory, pictures, target, fits, bool(swap_channels), *map(tuple, colours))
    else:
        for picture, one in zip(pictures, target, strict=True):
            letterbox(
                picture, (height, width), fill=fill, mean=mean, std=std, swap_channels=swap_channels, center=center,
                out=one,
            )  # fmt: skip
    return target, [placement for placement, _, _ in fits]


def _launch_groups(memory: DeviceMemory, pictures: list[Any], target: Any, fits: list[Any], *colours: Any) -> None:
    for first in range(0, len(pictures), _GROUP):
        group = pictures[first : first + _GROUP]
        out = target[first : first + len(group)]
        numbers = [(high, wide, at.top, at.left) for at, high, wide in fits[first : first + len(group)]]
        images = (*group, *[group[-1]] * (_GROUP - len(group)))
        counts = out.shape[3], out.shape[2], len(group)
        memory.launch(_group_twin, counts, images, out, memory.table(numbers, np.int64), *colours)


_KEPT = np.array([0, 1, 2])
_REVERSED = np.array([2, 1, 0])
