"""A mask or a volume without holes: background that the outside does not reach becomes foreground."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._components import HostComponents
from ops._cuda import cuda, cuda_kernel
from ops._cuda_components import DeviceComponents
from ops._device import memory_of
from ops.connected_components import component_mask


@cuda_kernel("void(int32[:,::1], int64, UniTuple(int64, 3), uint8[::1])")
def _enclosed_twin(boxes, axes, size, chosen):  # type: ignore[no-untyped-def]
    for k in range(cuda.grid(1), chosen.size, cuda.gridsize(1)):
        chosen[k] = 1
        for axis in range(axes):
            if boxes[k, axis] == 0 or boxes[k, 3 + axis] == size[axis]:
                chosen[k] = 0


def fill_holes(mask: Any, connectivity: int | None = None) -> NDArray[np.uint8]:
    """Fill the holes of a mask: the connected components of its background that touch no border of the array.

    Args:
        mask: uint8 or bool [H, W] or [D, H, W], fewer than 2**31 voxels; what is not zero is foreground. A volume is
            filled as a whole, not slice by slice: a tunnel that is open at an end is no hole.
        connectivity: of the background, 4 or 8 in a picture, 6 or 26 in a volume; 4 or 6 if not given.

    Returns:
        uint8 of the mask's shape, 0 and 1. Cost: one read and one write. Takes device arrays too.
    """
    memory = memory_of(mask=mask)
    array, reach = component_mask(memory, mask, connectivity)
    out: NDArray[np.uint8] = memory.output(None, np.uint8, tuple(array.shape))
    size = tuple(array.shape)[::-1]
    if memory.on_device:
        labels = memory.empty(tuple(array.shape), np.int32)
        found = DeviceComponents(memory, array, reach, False, labels, measured=True)
        enclosed = memory.empty(found.count, np.uint8)
        memory.launch(_enclosed_twin, enclosed.size, found.boxes, len(size), (*size, 0)[:3], enclosed)
        found.mask(enclosed, 1, out)
    else:
        components = HostComponents(array, reach, False, measured=True)
        boxes, axes = components.boxes, len(size)
        inside = (boxes[:, :axes] > 0) & (boxes[:, axes:] < size)
        components.mask(np.logical_and.reduce(inside, axis=1), 1, out)
    return out
