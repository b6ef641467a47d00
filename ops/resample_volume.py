"""A volume at another spacing: trilinear interpolation between voxels whose distances are known in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._arith import blend, position_of, whole_of
from ops._check import describe, spacing_of
from ops._cuda import cuda, cuda_kernel
from ops._device import memory_of
from ops._kernel import kernel
from ops._lanes import in_lanes, lanes_for

_compiled = njit(nogil=True, cache=True)


@_compiled
def _blend_rows(volume, z, weight_z, y, weight_y, row):  # type: ignore[no-untyped-def]
    """Interpolate a row between two rows of one slice and two of the next. The last value is there twice."""
    next_z, next_y = min(z + 1, volume.shape[0] - 1), min(y + 1, volume.shape[1] - 1)
    a, b, c, d = volume[z, y], volume[next_z, y], volume[z, next_y], volume[next_z, next_y]
    for x in range(a.size):
        near = blend(np.float32(a[x]), np.float32(b[x]), weight_z)
        far = blend(np.float32(c[x]), np.float32(d[x]), weight_z)
        row[x] = blend(near, far, weight_y)
    row[a.size] = row[a.size - 1]


_1 = np.uint32(1)  # unsigned, or every index is looked at for a negative one


def _slices(lane, lanes, volume, scale_z, scale_y, scale_x, whole, out):  # type: ignore[no-untyped-def]
    row = np.empty(volume.shape[2] + 1, np.float32)
    below, weight = np.empty(out.shape[2], np.uint32), np.empty(out.shape[2], np.float32)
    for x in range(out.shape[2]):
        below[x], weight[x] = position_of(x, scale_x, 0.0, volume.shape[2])
    for r in range(out.shape[0] * out.shape[1] * lane // lanes, out.shape[0] * out.shape[1] * (lane + 1) // lanes):
        z, weight_z = position_of(r // out.shape[1], scale_z, 0.0, volume.shape[0])
        y, weight_y = position_of(r % out.shape[1], scale_y, 0.0, volume.shape[1])
        _blend_rows(volume, z, weight_z, y, weight_y, row)
        target = out[r // out.shape[1], r % out.shape[1]]
        for x in range(target.size):
            value = blend(row[below[x]], row[below[x] + _1], weight[x])
            target[x] = whole_of(value) if whole else value


def _voxels(volume, scale_z, scale_y, scale_x, whole, out):  # type: ignore[no-untyped-def]
    """One thread a voxel; blends slices first, then rows, as the kernels for the CPU."""
    from_x, from_y, from_z = cuda.grid(3)
    step_x, step_y, step_z = cuda.gridsize(3)
    for k in range(from_z, out.shape[0], step_z):
        z, weight_z = position_of(k, scale_z, 0.0, volume.shape[0])
        next_z = min(z + 1, volume.shape[0] - 1)
        for j in range(from_y, out.shape[1], step_y):
            y, weight_y = position_of(j, scale_y, 0.0, volume.shape[1])
            next_y = min(y + 1, volume.shape[1] - 1)
            for i in range(from_x, out.shape[2], step_x):
                x, weight_x = position_of(i, scale_x, 0.0, volume.shape[2])
                next_x = min(x + 1, volume.shape[2] - 1)
                near = blend(np.float32(volume[z, y, x]), np.float32(volume[next_z, y, x]), weight_z)
                far = blend(np.float32(volume[z, next_y, x]), np.float32(volume[next_z, next_y, x]), weight_z)
                left = blend(near, far, weight_y)
                near = blend(np.float32(volume[z, y, next_x]), np.float32(volume[next_z, y, next_x]), weight_z)
                far = blend(np.float32(volume[z, next_y, next_x]), np.float32(volume[next_z, next_y, next_x]), weight_z)
                value = blend(left, blend(near, far, weight_y), weight_x)
                out[k, j, i] = whole_of(value) if whole else value


_ARRAYS = "Array({0}, 3, 'C', readonly=True), float64, float64, float64, boolean, {0}[:,:,::1]"
_DTYPES = ("int16", "uint8", "float32")
_KERNELS = {dtype: kernel(f"void(int64, int64, {_ARRAYS.format(dtype)})")(_slices) for dtype in _DTYPES}
_TWINS = {
    dtype: cuda_kernel(f"void({_ARRAYS.format(dtype)})", block=(32, 4, 1), label=dtype)(_voxels) for dtype in _DTYPES
}

# Voxels read and written from which on threads pay: so many take about 2 ms on one core.
_PARALLEL_VOXELS = 2_000_000


def _output_size(
    size: tuple[int, ...], shape: Sequence[int] | None, have: tuple[float, ...], want: tuple[float, ...]
) -> tuple[int, ...]:
    if shape is None:
        return tuple(max(1, round(n * old / new)) for n, old, new in zip(size, have, want, strict=True))
    wanted = tuple(int(n) for n in shape)
    if len(wanted) != 3 or min(wanted) < 1:
        raise ValueError(f"shape: expected 3 numbers above 0, got {shape!r}")
    return wanted


def resample_volume(
    volume: Any,
    spacing: Sequence[float],
    new_spacing: Sequence[float],
    *,
    shape: Sequence[int] | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Resample a volume to another spacing by trilinear interpolation.

    Args:
        volume: int16, uint8 or float32 [D, H, W], at least one voxel.
        spacing: (z, y, x) in mm: how far the centres of neighbouring voxels lie apart.
        new_spacing: the same of the result.
        shape: (D, H, W) of the result: as many voxels as fill the same extent, rounded, if not given. To go back,
            give that of the volume one came from.
        out: an array of that shape and of the volume's dtype to write into.

    Returns:
        The volume's dtype, at exactly ``new_spacing``; whole numbers are rounded to the nearest, halves to even. Both
        volumes begin at the same outer face, as pixels do when a picture is resized: the centre of voxel i lies at
        ``(i + 0.5) * spacing``. Beyond the outermost centres the border's values go on. What is not finite spreads to
        all voxels that it has a weight in. No smoothing: where the new spacing is far larger, voxels in between do not
        count. Where both extents are equal this is ``scipy.ndimage.zoom`` (order=1, grid_mode=True, mode="nearest").
        Cost: one read of the volume, D * H of the result times W of the volume in steps. Takes device arrays too.
    """
    memory = memory_of(volume=volume, out=out)
    array = memory.any_array(volume, "volume", _DTYPES)
    if len(array.shape) != 3 or 0 in array.shape:
        raise ValueError(f"volume: expected shape [D, H, W] with at least one voxel, got {describe(array)}")
    have, want = spacing_of(spacing, "spacing", "zyx"), spacing_of(new_spacing, "new_spacing", "zyx")
    size = _output_size(tuple(array.shape), shape, have, want)
    target: NDArray[Any] = memory.output(out, array.dtype, size)
    if memory.shared(array, target):
        raise ValueError("out: expected memory of its own, got that of the volume")
    scales = [new / old for new, old in zip(want, have, strict=True)]
    arguments = array, *scales, array.dtype != np.float32, target
    if memory.on_device:
        memory.launch(_TWINS[array.dtype.name], size[::-1], *arguments)
    else:
        work = target.size // size[2] * (array.shape[2] + size[2])
        lanes = lanes_for(work, _PARALLEL_VOXELS)
        in_lanes(_KERNELS[array.dtype.name], lanes, lanes, *arguments)
    return target
