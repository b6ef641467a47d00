"""Letterbox: resize a picture keeping its ratio, pad it, normalise it and lay it out for a network, in one pass."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._blending import SPARE, blend_columns, blend_rows
from ops._check import height_and_width
from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, Memory, memory_of
from ops._half import float_dtype, to_half
from ops._kernel import kernel, lone_caller
from ops._opencv_linear import exact_blend, exact_columns, exact_row, exact_source


class Placement(NamedTuple):
    """Where a picture lies in the network's input: ``x_input = x_picture * scale_x + left``, likewise for y.

    ``top`` and ``left`` are whole (``int``) where a picture was padded; a region's picture begins before the input,
    so they are 0 or below it then and may be fractions.
    """

    scale_y: float
    scale_x: float
    top: float
    left: float


def _fitted(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the resized height and width of a ``height`` x ``width`` picture in ``size``."""
    ratio = min(size[0] / height, size[1] / width)
    return min(size[0], max(1, round(height * ratio))), min(size[1], max(1, round(width * ratio)))


@functools.lru_cache(maxsize=256)
def padded_size(height: int, width: int, size: tuple[int, int], pad_multiple: int | None = None) -> tuple[int, int]:
    """Return the (height, width) of `letterbox`'s result for a ``height`` x ``width`` picture."""
    if pad_multiple is None:
        return size
    if pad_multiple < 1:
        raise ValueError(f"pad_multiple: expected at least 1, got {pad_multiple!r}")
    high, wide = (math.ceil(side / pad_multiple) * pad_multiple for side in _fitted(height, width, size))
    return min(size[0], high), min(size[1], wide)


@functools.lru_cache(maxsize=256)
def place(
    height: int, width: int, size: tuple[int, int], center: bool = False, pad_multiple: int | None = None
) -> tuple[Placement, int, int]:
    """Return the placement of a ``height`` x ``width`` picture in ``size``, and its resized height and width."""
    new_height, new_width = _fitted(height, width, size)
    high, wide = padded_size(height, width, size, pad_multiple)
    top = (high - new_height) // 2 if center else 0
    left = (wide - new_width) // 2 if center else 0
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
    first = np.empty(new_width, np.uint32)
    weight = np.empty(new_width, np.float32)
    for x in range(new_width):
        a, _, weight[x] = _source(x, width / new_width, width)
        first[x] = 3 * a
    return first, weight


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _rows(image, out, from_y, to_y, new_height, top, left, first, weight, order, gain, shift):  # type: ignore[no-untyped-def]
    """Write some resized rows, each by blending two source rows and then the columns of what that gives."""
    height, line = image.shape[0], image.shape[1] * 3
    source = image.reshape(height * line)
    blended = np.empty(line + SPARE, np.float32)
    c0, c1, c2 = order[0], order[1], order[2]
    gains, shifts = (gain[c0], gain[c1], gain[c2]), (shift[c0], shift[c1], shift[c2])
    plane0, plane1, plane2 = out[c0], out[c1], out[c2]
    end = left + first.size
    for y in range(from_y, to_y):
        a, b, w = _source(y, height / new_height, height)
        blend_rows(source[a * line : (a + 1) * line], source[b * line : (b + 1) * line], w, blended)
        for i in range(line, blended.size):  # the right neighbour of the last column is that column
            blended[i] = blended[i - 3]
        row0, row1, row2 = plane0[top + y, left:end], plane1[top + y, left:end], plane2[top + y, left:end]
        blend_columns(blended, first, weight, gains, shifts, row0, row1, row2)


@njit(nogil=True, cache=True)
def _pad(out, part, parts, new_height, new_width, top, left, padding):  # type: ignore[no-untyped-def]
    """Fill a part's share of the rows above and below the picture, and the sides of its share of the picture's rows."""
    beside = out.shape[1] - new_height
    for channel in range(3):
        plane = out[channel]
        for y in range(part * beside // parts, (part + 1) * beside // parts):
            row = plane[y if y < top else y + new_height]
            for x in range(row.size):
                row[x] = padding[channel]
        if new_width == out.shape[2]:
            continue
        for y in range(top + part * new_height // parts, top + (part + 1) * new_height // parts):
            plane[y, :left] = padding[channel]
            plane[y, left + new_width :] = padding[channel]


@njit(nogil=True, cache=True, fastmath=True)
def _part(part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    """Write a part's share of the padding and of the resized rows."""
    first, weight = columns
    if border:
        _pad(out, part, parts, new_height, new_width, top, left, padding)
    from_y, to_y = part * new_height // parts, (part + 1) * new_height // parts
    _rows(image, out, from_y, to_y, new_height, top, left, first, weight, order, gain, shift)


@njit(nogil=True, cache=True)
def _exact_part(  # type: ignore[no-untyped-def]
    part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border
):
    if border:
        _pad(out, part, parts, new_height, new_width, top, left, padding)
    for y in range(part * new_height // parts, (part + 1) * new_height // parts):
        exact_row(image, out, y, new_height, top, left, columns, order, gain, shift)


_SIGNATURE = (
    "void(Array(uint8, 3, 'C', readonly=True), float32[:,:,::1], int64, int64, int64, int64,"
    " int64[::1], float32[::1], float32[::1], float32[::1], boolean, int64)"
)


@kernel(_SIGNATURE, fastmath=True)
def _serial(image, out, new_height, new_width, top, left, order, gain, shift, padding, border, parts):  # type: ignore[no-untyped-def]
    columns = _columns(image.shape[1], new_width)
    for part in range(parts):
        _part(part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border)


@kernel(_SIGNATURE, parallel=True, fastmath=True)
def _parallel(image, out, new_height, new_width, top, left, order, gain, shift, padding, border, parts):  # type: ignore[no-untyped-def]
    columns = _columns(image.shape[1], new_width)
    for part in prange(parts):
        _part(part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border)


@kernel(_SIGNATURE)
def _exact_serial(image, out, new_height, new_width, top, left, order, gain, shift, padding, border, parts):  # type: ignore[no-untyped-def]
    columns = exact_columns(image.shape[1], new_width)
    for part in range(parts):
        _exact_part(
            part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border
        )


@kernel(_SIGNATURE, parallel=True)
def _exact_parallel(image, out, new_height, new_width, top, left, order, gain, shift, padding, border, parts):  # type: ignore[no-untyped-def]
    columns = exact_columns(image.shape[1], new_width)
    for part in prange(parts):
        _exact_part(
            part, parts, columns, image, out, new_height, new_width, top, left, order, gain, shift, padding, border
        )


@njit(nogil=True, cache=True)
def _fit(image, out, new_height, new_width, top, left, exact, swap, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    """On a GPU: one thread a pixel of the result, all channels; blends in the order of the kernels for the CPU."""
    height, width = image.shape[0], image.shape[1]
    from_x, from_y = cuda.grid(2)
    step_x, step_y = cuda.gridsize(2)
    for y in range(from_y, out.shape[1], step_y):
        a, b, w = _source(y - top, height / new_height, height)
        above, below, near_y, far_y = exact_source(y - top, height, new_height, False)
        for x in range(from_x, out.shape[2], step_x):
            if top <= y < top + new_height and left <= x < left + new_width:
                i, j, t = _source(x - left, width / new_width, width)
                before, after, near_x, far_x = exact_source(x - left, width, new_width, True)
                for k in range(3):
                    c = 2 - k if swap else k
                    if exact:
                        p, q = np.int64(image[above, before, c]), np.int64(image[above, after, c])
                        r, s = np.int64(image[below, before, c]), np.int64(image[below, after, c])
                        grey = np.float32(exact_blend(p, q, r, s, near_x, far_x, near_y, far_y))
                    else:
                        upper, right = np.float32(image[a, i, c]), np.float32(image[a, j, c])
                        first = upper + w * (np.float32(image[b, i, c]) - upper)
                        second = right + w * (np.float32(image[b, j, c]) - right)
                        grey = first + t * (second - first)
                    out[k, y, x] = grey * gain[k] + shift[k]
            elif border:
                for k in range(3):
                    out[k, y, x] = padding[k]


_COLOURS = "boolean, boolean, UniTuple(float32, 3), UniTuple(float32, 3), UniTuple(float32, 3)"
_OUTPUTS = ("float32", "float16")


def _twin(image, out, new_height, new_width, top, left, exact, swap, gain, shift, padding, border):  # type: ignore[no-untyped-def]
    _fit(image, out, new_height, new_width, top, left, exact, swap, gain, shift, padding, border)


_TWINS = {
    name: cuda_kernel(
        f"void(Array(uint8, 3, 'C', readonly=True), {name}[:,:,::1], int64, int64, int64, int64, {_COLOURS}, boolean)",
        block=(32, 8),
        label=name,
    )(_twin)
    for name in _OUTPUTS
}


# Pictures of one launch: their addresses and sizes go along as its arguments, which hold 4 KiB.
_GROUP = 32


def _group_twin(images, out, fits, exact, swap, gain, shift, padding):  # type: ignore[no-untyped-def]
    for k in range(cuda.blockIdx.z, out.shape[0], cuda.gridDim.z):
        high, wide, top, left = fits[k, 0], fits[k, 1], fits[k, 2], fits[k, 3]
        _fit(images[k], out[k], high, wide, top, left, exact, swap, gain, shift, padding, True)


_GROUP_TWINS = {
    name: cuda_kernel(
        f"void(UniTuple(Array(uint8, 3, 'C', readonly=True), {_GROUP}), {name}[:,:,:,::1], int64[:,::1], {_COLOURS})",
        block=(32, 8, 1),
        label=name,
    )(_group_twin)
    for name in _OUTPUTS
}


# Pixels read and written. Below it a team of threads costs more than it saves, above all beside another library's
# team: docs/benchmarks.md has the parallel kernel on small pictures beside ONNX Runtime's spinning threads.
_PARALLEL_PIXELS = 2_000_000


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


def letterbox(
    image: Any,
    size: tuple[int, int],
    *,
    fill: int = 114,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    swap_channels: bool = False,
    center: bool = False,
    pad_multiple: int | None = None,
    border: bool = True,
    exact: bool = False,
    dtype: Any = np.float32,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], Placement]:
    """Fit a picture into ``size``: bilinear resize keeping the ratio, pad, normalise, HWC to CHW.

    Args:
        image: uint8 [H, W, 3], any channel order.
        size: (height, width) of the result, or with ``pad_multiple`` the largest that it may have.
        fill: grey level 0..255 of the padding, normalised like the picture.
        mean, std: per output channel, in grey levels: ``(value - mean) / std``.
        swap_channels: write the channels in reverse order (RGB to BGR).
        center: pad on both sides; otherwise right and below only.
        pad_multiple: pad each side only to its next multiple of this, not to all of ``size``: a network that takes any
            such size then computes less on padding.
        border: False leaves the padding as ``out`` holds it: for a buffer whose last picture had the same size.
        exact: resize to whole grey levels, to the last bit those of ``cv2.resize`` (OpenCV 5.0, ``INTER_LINEAR`` on
            uint8); slower on the CPU.
        dtype: float32 or float16 of the result.
        out: [3, h, w] of that dtype to write into.

    Returns:
        float32 or float16 [3, h, w] and the `Placement` that maps picture coordinates to input coordinates.

    Pixel centres lie at half coordinates, as in OpenCV's ``INTER_LINEAR``; unless ``exact``, the result is not rounded
    to whole grey levels and stays within 1 of it. Cost: one read of the picture rows that are used and one write of
    the result; float16 on the CPU is one pass more. Takes device arrays too.
    """
    memory = memory_of(image=image, out=out)
    picture = _picture(memory, image, "image")
    fit = picture.shape[0], picture.shape[1], height_and_width(size, "size")
    height, width = padded_size(*fit, pad_multiple)
    placement, new_height, new_width = place(*fit, center, pad_multiple)
    gain, shift, padding = _normalisation(tuple(mean), tuple(std), fill)
    if out is None and not border:
        raise ValueError("border: False needs out, a buffer that holds the padding already")
    target: NDArray[Any] = memory.output(out, float_dtype(dtype), (3, height, width))
    where = new_height, new_width, placement.top, placement.left
    if memory.on_device:
        twin, colours = _TWINS[target.dtype.name], (tuple(gain), tuple(shift), tuple(padding))
        flags = bool(exact), bool(swap_channels)
        memory.launch(twin, (width, height), picture, target, *where, *flags, *colours, bool(border))
        return target, placement
    whole = target if target.dtype == np.float32 else np.empty(target.shape, np.float32)
    order = _REVERSED if swap_channels else _KEPT
    work = picture, whole, *where, order, gain, shift, padding, border
    large = picture.shape[0] * picture.shape[1] + height * width > _PARALLEL_PIXELS and lone_caller()
    _KERNELS[bool(exact), large](*work, numba.get_num_threads() if large else 1)
    if whole is not target:
        y0, x0 = int(placement.top), int(placement.left)
        to_half(whole, target, None if border else (y0, x0, y0 + new_height, x0 + new_width))
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
    exact: bool = False,
    dtype: Any = np.float32,
    out: NDArray[Any] | None = None,
) -> tuple[NDArray[Any], list[Placement]]:
    """Fit pictures of any sizes into ``size``, as `letterbox` does each, into one array.

    Args:
        images: N pictures, uint8 [H, W, 3] each.
        size, fill, mean, std, swap_channels, center, exact, dtype: see `letterbox`.
        out: [N, 3, h, w] of that dtype to write into.

    Returns:
        float32 or float16 [N, 3, h, w] and N placements. Takes device arrays too, 32 pictures a launch.
    """
    named = {f"images[{i}]": image for i, image in enumerate(images)}
    memory = memory_of(**named, out=out)
    pictures = [_picture(memory, image, name) for name, image in named.items()]
    height, width = height_and_width(size, "size")
    colours = _normalisation(tuple(mean), tuple(std), fill)
    target: NDArray[Any] = memory.output(out, float_dtype(dtype), (len(pictures), 3, height, width))
    fits = [place(picture.shape[0], picture.shape[1], (height, width), center) for picture in pictures]
    if memory.on_device:
        _launch_groups(memory, pictures, target, fits, bool(exact), bool(swap_channels), *map(tuple, colours))
    else:
        for picture, one in zip(pictures, target, strict=True):
            letterbox(
                picture, (height, width), fill=fill, mean=mean, std=std, swap_channels=swap_channels, center=center,
                exact=exact, dtype=target.dtype, out=one,
            )  # fmt: skip
    return target, [placement for placement, _, _ in fits]


def _launch_groups(memory: DeviceMemory, pictures: list[Any], target: Any, fits: list[Any], *colours: Any) -> None:
    for first in range(0, len(pictures), _GROUP):
        group = pictures[first : first + _GROUP]
        out = target[first : first + len(group)]
        numbers = [(high, wide, at.top, at.left) for at, high, wide in fits[first : first + len(group)]]
        images = (*group, *[group[-1]] * (_GROUP - len(group)))
        counts = out.shape[3], out.shape[2], len(group)
        memory.launch(_GROUP_TWINS[target.dtype.name], counts, images, out, memory.table(numbers, np.int64), *colours)


_KERNELS = {
    (False, False): _serial, (False, True): _parallel, (True, False): _exact_serial, (True, True): _exact_parallel,
}  # fmt: skip
_KEPT = np.array([0, 1, 2])
_REVERSED = np.array([2, 1, 0])
