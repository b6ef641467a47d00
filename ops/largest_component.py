"""The largest connected component of a mask or a volume, as a mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._components import HostComponents
from ops._cuda import cuda, cuda_kernel
from ops._cuda_components import DeviceComponents
from ops._device import memory_of
from ops.connected_components import component_mask


@cuda_kernel("void(int64[:,::1], int64[::1])")
def _greatest_twin(sums, best):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), sums.shape[0], cuda.gridsize(1)):
        cuda.atomic.max(best, 0, sums[k, 0])


@cuda_kernel("void(int64[:,::1], int64[::1], int64[::1])")
def _first_twin(sums, best, first):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), sums.shape[0], cuda.gridsize(1)):
        if sums[k, 0] == best[0]:
            cuda.atomic.min(first, 0, k)


@cuda_kernel("void(int64[::1], uint8[::1])")
def _choose_twin(first, chosen):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), chosen.size, cuda.gridsize(1)):
        chosen[k] = k == first[0]


def largest_component(mask: Any, connectivity: int) -> NDArray[np.uint8]:
    """Keep the largest connected component of the foreground.

    Args:
        mask: uint8 or bool [H, W] or [D, H, W], fewer than 2**31 voxels; what is not zero is foreground.
        connectivity: 4 or 8 in a picture, 6 or 26 in a volume.

    Returns:
        uint8 of the mask's shape: 1 in the component of most voxels (of equal ones, the first in raster order), 0
        elsewhere; all 0 where there is no foreground. Cost: one read and one write. Takes device arrays too.
    """
    memory = memory_of(mask=mask)
    array, reach = component_mask(memory, mask, connectivity)
    out: NDArray[np.uint8] = memory.output(None, np.uint8, tuple(array.shape))
    if memory.on_device:
        labels = memory.empty(tuple(array.shape), np.int32)
        found = DeviceComponents(memory, array, reach, True, labels, measured=True)
        count = found.count
        best, first = memory.full(1, np.int64, 0), memory.full(1, np.int64, count)
        chosen = memory.empty(count, np.uint8)
        memory.launch(_greatest_twin, count, found.sums, best)
        memory.launch(_first_twin, count, found.sums, best, first)
        memory.launch(_choose_twin, count, first, chosen)
        found.mask(chosen, 0, out)
    else:
        components = HostComponents(array, reach, True, measured=True)
        kept = np.zeros(components.count, np.bool_)
        if kept.size:
            kept[np.argmax(components.sizes)] = True  # the first of equal ones
        components.mask(kept, 0, out)
    return out
