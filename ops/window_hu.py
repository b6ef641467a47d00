"""A window of Hounsfield units brought to 0..1 or 0..255: what a viewer shows, and what a network is fed with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ops._arith import clamped, whole_of
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for

_0 = np.float32(0.0)


def _lane(lane, lanes, values, low, scale, top, whole, out):  # type: ignore[no-untyped-def]
    begin, end = values.size * lane // lanes, values.size * (lane + 1) // lanes
    source, target = values[begin:end], out[begin:end]
    if whole:
        for i in range(source.size):
            value = clamped((np.float32(source[i]) - low) * scale, _0, top)
            target[i] = np.int32(whole_of(value if value == value else _0))  # straight to uint8 is done one by one
    else:
        for i in range(source.size):
            target[i] = clamped((np.float32(source[i]) - low) * scale, _0, top)


def _voxels(values, low, scale, top, whole, out):  # type: ignore[no-untyped-def]
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        value = clamped((np.float32(values[i]) - low) * scale, _0, top)
        if whole:
            value = whole_of(value) if value == value else _0
        out[i] = value


_ARRAYS = "Array({0}, 1, 'C', readonly=True), float32, float32, float32, boolean, {1}[::1]"
_INPUTS, _OUTPUTS = ("int16", "float32"), ("float32", "uint8")
_PAIRS = [(source, target) for source in _INPUTS for target in _OUTPUTS]
_KERNELS = {pair: kernel(f"void(int64, int64, {_ARRAYS.format(*pair)})")(_lane) for pair in _PAIRS}
_TWINS = {pair: cuda_kernel(f"void({_ARRAYS.format(*pair)})", label=" to ".join(pair))(_voxels) for pair in _PAIRS}

# Voxels from which on threads pay: one brings about as many across in a millisecond.
_PARALLEL_VOXELS = 2_000_000


def window_hu(
    volume: Any, center: float, width: float, *, dtype: DTypeLike = np.float32, out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Bring a window of Hounsfield units to 0..1 (float32) or 0..255 (uint8), and what lies outside to its ends.

    Args:
        volume: int16 or float32 of any shape, in HU.
        center: the middle of the window in HU; -600 with a width of 1500 is a usual window for lungs.
        width: its width in HU, above 0.
        dtype: of the result, float32 or uint8.
        out: an array of the volume's shape and of ``dtype`` to write into.

    Returns:
        ``(HU - (center - width / 2)) / width`` of the volume's shape, limited to 0..1; in uint8 255 times that, to the
        nearest whole number, halves to even. NaN stays NaN, in uint8 it becomes 0. Source: DICOM PS3.3 C.11.2.1.3.2,
        LINEAR_EXACT. Computed in float32. Cost: one read and one write. Takes device arrays too.
    """
    if not math.isfinite(center) or not 0 < width < math.inf:
        raise ValueError(
            f"center, width: expected a finite center and a width above 0, got center {center!r} and width {width!r}"
        )
    if np.dtype(dtype).name not in _OUTPUTS:
        raise ValueError(f"dtype: expected {' or '.join(_OUTPUTS)}, got {np.dtype(dtype).name}")
    memory = memory_of(volume=volume, out=out)
    array = memory.any_array(volume, "volume", _INPUTS)
    target: NDArray[Any] = memory.output(out, np.dtype(dtype), tuple(array.shape))
    if memory.shared(array, target):
        raise ValueError("out: expected memory of its own, got that of the volume")
    whole = target.dtype == np.uint8
    top = 255.0 if whole else 1.0
    numbers = [np.float32(number) for number in (center - width / 2, top / width, top)]
    arguments = array.reshape(array.size), *numbers, whole, target.reshape(array.size)
    pair = array.dtype.name, target.dtype.name
    if memory.on_device:
        memory.launch(_TWINS[pair], array.size, *arguments)
    else:
        lanes = lanes_for(array.size, _PARALLEL_VOXELS)
        in_lanes(_KERNELS[pair], lanes, lanes, *arguments)
    return target
