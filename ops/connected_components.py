"""The connected components of a mask or a volume: their labels, and the size, the box and the centroid of each."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops._check import describe
from ops._components import HostComponents
from ops._cuda import cuda, cuda_kernel
from ops._cuda_components import DeviceComponents
from ops._device import Memory, memory_of


class Components(NamedTuple):
    """N components, numbered from 1 by their first voxel in raster order; row ``i`` is of label ``i + 1``."""

    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]
    boxes: NDArray[np.int32]
    centroids: NDArray[np.float64]


# By the mask's dimensions: how many neighbours a voxel may have, and whether they touch at edges and corners too.
_REACH = {2: {4: 0, 8: 1}, 3: {6: 0, 26: 1}}


def component_mask(memory: Memory, mask: Any, connectivity: int | None) -> tuple[Any, int]:
    """Return the checked mask [H, W] or [D, H, W] as bytes, and the reach; faces only where no connectivity is said."""
    dimensions = len(np.shape(mask))
    if dimensions not in _REACH:
        raise ValueError(f"mask: expected shape [H, W] or [D, H, W], got {describe(mask)}")
    if math.prod(np.shape(mask)) >= 2**31:
        raise ValueError(f"mask: expected fewer than 2**31 voxels, got shape {np.shape(mask)}")
    array, known = memory.mask(mask, "mask", ("D", "H", "W")[-dimensions:]), _REACH[dimensions]
    if connectivity is not None and connectivity not in known:
        raise ValueError(
            f"connectivity: expected {' or '.join(map(str, known))} for {dimensions} dimensions, got {connectivity!r}"
        )
    return array, 0 if connectivity is None else known[connectivity]


@cuda_kernel("void(int64[:,::1], int32[:,::1], int64[::1], int32[:,::1], float64[:,::1])")
def _describe_twin(sums, bounds, sizes, boxes, centroids):  # type: ignore[no-untyped-def]
    axes = centroids.shape[1]
    for k in range(cuda.grid(1), sizes.size, cuda.gridsize(1)):
        sizes[k] = sums[k, 0]
        for axis in range(axes):
            boxes[k, axis], boxes[k, axes + axis] = bounds[k, axis], bounds[k, 3 + axis]
            centroids[k, axis] = np.float64(sums[k, 1 + axis]) / np.float64(sums[k, 0])


def connected_components(mask: Any, connectivity: int, *, out: NDArray[np.int32] | None = None) -> Components:
    """Label the connected components of the foreground, and measure each (`label_components` does not measure).

    Args:
        mask: uint8 or bool [H, W] or [D, H, W], fewer than 2**31 voxels; what is not zero is foreground.
        connectivity: 4 or 8 in a picture, 6 or 26 in a volume: whether voxels that share an edge or a corner only
            are neighbours too.
        out: int32 of the mask's shape to write the labels into.

    Returns:
        A `Components`: ``labels`` int32 of the mask's shape, 0 the background, 1 to N the components in the order of
        their first voxels in raster order; ``sizes`` int64 [N] in voxels; ``boxes`` int32 [N, 4] xyxy or [N, 6]
        xyzxyz in whole voxels, ends exclusive; ``centroids`` float64 [N, 2] or [N, 3], mean index of the voxels as x,
        y(, z). Cost: one read of the mask and one write of the labels, and a union-find over the runs of the rows, of
        four rows at once where corners join. Takes device arrays too. Sources: L. He et al., "A run-based two-scan
        labeling algorithm" (2008); C. Grana et al., "Optimized block-based connected components labeling with decision
        trees" (2010), for voxels side by side that need no labels of their own.
    """
    memory = memory_of(mask=mask, out=out)
    array, reach = component_mask(memory, mask, connectivity)
    labels: NDArray[np.int32] = memory.output(out, np.int32, tuple(array.shape))
    axes = len(array.shape)
    if memory.on_device:
        found = DeviceComponents(memory, array, reach, True, labels, measured=True)
        count = found.count
        sizes, boxes = memory.empty(count, np.int64), memory.empty((count, 2 * axes), np.int32)
        centroids = memory.empty((count, axes), np.float64)
        memory.launch(_describe_twin, count, found.sums, found.boxes, sizes, boxes, centroids)
        return Components(labels, sizes, boxes, centroids)
    components = HostComponents(array, reach, True, measured=True)
    components.labels(labels)
    return Components(labels, components.sizes, components.boxes, components.centroids())


def label_components(
    mask: Any, connectivity: int, *, out: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int32], int]:
    """Label the connected components of the foreground: `connected_components` without what it measures.

    Cheaper where components are many: the sizes, boxes and centroids of millions are more memory than the labels.

    Args:
        mask: uint8 or bool [H, W] or [D, H, W], fewer than 2**31 voxels; what is not zero is foreground.
        connectivity: 4 or 8 in a picture, 6 or 26 in a volume.
        out: int32 of the mask's shape to write the labels into.

    Returns:
        labels int32 of the mask's shape, 0 the background, 1 to N the components in the order of their first voxels in
        raster order; and N. Cost and sources as of `connected_components`. Takes device arrays too.
    """
    memory = memory_of(mask=mask, out=out)
    array, reach = component_mask(memory, mask, connectivity)
    labels: NDArray[np.int32] = memory.output(out, np.int32, tuple(array.shape))
    if memory.on_device:
        return labels, DeviceComponents(memory, array, reach, True, labels, measured=False).count
    components = HostComponents(array, reach, True, measured=False)
    components.labels(labels)
    return labels, components.count
