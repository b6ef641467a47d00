"""The operators on volumes and on the outlines of masks beside the peers that people use for them.

    python -m benchmarks.ops --only outlines volumes labelling measures [--depth 300] [--side 512] [--peers PYTHON]

Each call allocates its own result. The floor moves each input once in and each result once out. Licences: LGPL-3.0
(connected-components-3d, a peer here and no dependency), BSD-3-Clause (SciPy, torch), BSD-2-Clause (pycocotools),
Apache-2.0 (OpenCV).
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ops
from benchmarks.beside import Case, Options, main

COMMON = (1.5, 1.5, 1.5)
LABELLING_BARS = {"cc3d": 1.1, "scipy": 2.5}
Masks = Iterator[tuple[str, np.ndarray]]
Way = Callable[[np.ndarray, int], Any]


def spacing_of(shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Slices of 1 mm, 360 mm across: at 1.5 mm both are whole numbers of voxels, and SciPy's zoom means the same."""
    return 1.0, 360 / shape[1], 360 / shape[2]


def module(name: str) -> Any:
    return importlib.import_module(name)


def ndimage() -> Any:
    return module("scipy.ndimage")


def smooth(shape: tuple[int, ...], grain: int, seed: int) -> np.ndarray:
    """Noise of this grain in voxels, float32."""
    coarse = np.random.default_rng(seed).normal(size=[-(-size // grain) + 1 for size in shape]).astype(np.float32)
    return ops.resample_volume(coarse, (grain,) * 3, (1, 1, 1))[tuple(map(slice, shape))]


def chest(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of a drawn chest: air, a body, two lungs (1 and 2) with vessels, and a scanner's noise."""
    z, y, x = (np.linspace(-1, 1, size, dtype=np.float32).reshape(form)
               for size, form in zip(shape, ((-1, 1, 1), (-1, 1), (-1,)), strict=True))  # fmt: skip
    hu = np.where(x**2 / 0.8 + y**2 / 0.5 < 1, 40, -1000).astype(np.float32) + 0 * z
    vessels = smooth(shape, 6, seed) > 1.6
    labels = np.zeros(shape, np.uint8)
    for label, centre in ((1, -0.42), (2, 0.42)):
        labels[(z / 0.9) ** 2 + (y / 0.55) ** 2 + ((x - centre) / 0.33) ** 2 < 1] = label
    labels[vessels] = 0
    hu = np.where(labels > 0, -860, hu) + 25 * np.random.default_rng(seed).standard_normal(shape, np.float32)
    return hu.astype(np.int16), labels


def solid(shape: tuple[int, ...]) -> Masks:
    """Solid parts, lungs, and lungs thresholded out of noise."""
    yield "blobs", smooth(shape, 8, 1) > 0.25
    yield "lungs", chest(shape)[1] > 0
    yield from thresholded(shape)


def thresholded(shape: tuple[int, ...]) -> Masks:
    yield "below -800 HU", chest(shape)[0] < -800


def noise(shape: tuple[int, ...], densities: tuple[float, ...] = (0.2, 0.5)) -> Masks:
    """The hardest."""
    for density in densities:
        yield f"noise {density}", np.random.default_rng(2).random(shape, np.float32) < density


def same_labels(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Whether they are the same parts; peers may number them in another order."""
    number = np.zeros(int(theirs.max(initial=0)) + 1, np.int32)
    number[theirs.reshape(-1)] = ours.reshape(-1)
    one_to_one = np.array_equal(np.sort(number), np.arange(int(ours.max(initial=0)) + 1))
    return "equal" if one_to_one and np.array_equal(number[theirs], ours) else "DIFFERENT LABELS"


def same_components(ours: ops.Components, theirs: tuple[np.ndarray, ...]) -> str:
    """The peer gives labels, sizes, boxes and centroids (z, y, x) of the foreground's parts, in its own order."""
    labels, sizes, boxes, centroids = theirs
    parts, foreground = np.zeros(len(sizes), np.int64), labels > 0
    parts[labels[foreground] - 1] = ours.labels[foreground] - 1
    same = np.array_equal(ours.sizes[parts], sizes) and np.array_equal(ours.boxes[parts], boxes)
    if not same or same_labels(ours.labels, labels) != "equal":
        return "DIFFERENT PARTS"
    return f"equal, centroids within {np.abs(ours.centroids[parts] - centroids[:, ::-1]).max(initial=0):.1g}"


def same(ours: Any, theirs: Any) -> str:
    """ "equal", or by how much not, of arrays or tuples of them; floats of 32 bits are compared with those of 64."""
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, (tuple, list)) else [(ours, theirs)]
    far = max(np.abs(a.astype(np.float64) - b).max(initial=0) if a.shape == b.shape else np.inf for a, b in pairs)
    return "equal" if far == 0 else f"within {far:.2g}"


def by_cc3d(mask: np.ndarray, connectivity: int) -> Any:
    return module("cc3d").connected_components(mask, connectivity=connectivity, binary_image=True)


def by_scipy(mask: np.ndarray, connectivity: int) -> Any:
    return ndimage().label(mask, np.ones((3, 3, 3)) if connectivity == 26 else None)[0]


def measured_by_cc3d(mask: np.ndarray, connectivity: int) -> Any:
    labels = by_cc3d(mask, connectivity)
    found = module("cc3d").statistics(labels, no_slice_conversion=True)
    boxes = found["bounding_boxes"][1:].reshape(-1, 3, 2)[:, ::-1]  # z, y, x; first and last voxel
    boxes = np.concatenate([boxes[..., 0], boxes[..., 1] + 1], axis=1)
    return labels, found["voxel_counts"][1:], boxes, found["centroids"][1:]


def measured_by_scipy(mask: np.ndarray, connectivity: int) -> Any:
    labels = by_scipy(mask, connectivity)
    sizes = np.bincount(labels.reshape(-1))[1:]
    boxes = [[part.start for part in box[::-1]] + [part.stop for part in box[::-1]]
             for box in ndimage().find_objects(labels)]  # fmt: skip
    centroids = ndimage().center_of_mass(mask, labels, np.arange(1, len(sizes) + 1))
    return labels, sizes, np.array(boxes), np.array(centroids)


def labelled(masks: Masks) -> Iterator[tuple[str, int, Callable[[Way], Callable[[], Any]]]]:
    """Each mask's name with each connectivity, and what gives both to a way."""
    for name, mask in masks:
        for connectivity in (6, 26):
            yield f"{name}, {connectivity}-connected", mask.size, functools.partial(bound, mask, connectivity)


def bound(mask: np.ndarray, connectivity: int, way: Way) -> Callable[[], Any]:
    return lambda: way(mask, connectivity)


def our_labels(mask: np.ndarray, connectivity: int) -> np.ndarray:
    return ops.label_components(mask, connectivity)[0]


def labelling(masks: Masks) -> Iterator[Case]:
    for name, voxels, given in labelled(masks):
        peers = {"cc3d": given(by_cc3d), "scipy": given(by_scipy)}
        yield Case(f"labels, {name}", given(our_labels), peers, same_labels, LABELLING_BARS, moved=5 * voxels)


def measures(masks: Masks) -> Iterator[Case]:
    """Sizes, boxes and centroids besides, which the peers make of the labels."""
    for name, _, given in labelled(masks):
        peers = {"cc3d": given(measured_by_cc3d)}
        if not name.startswith("noise"):  # SciPy lists millions of parts as slices of Python: a minute and a half
            peers["scipy"] = given(measured_by_scipy)
        yield Case(
            f"labels and measures, {name}", given(ops.connected_components), peers, same_components, LABELLING_BARS
        )


def largest_by_scipy(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage().label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.reshape(-1))[1:])  # type: ignore[no-any-return]


EDGES = np.arange(-1024, 1025, 8)


def histograms_by_numpy(hu: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.stack([np.histogram(hu[labels == label], EDGES)[0] for label in (1, 2)])


def window_by_numpy(hu: np.ndarray) -> np.ndarray:
    scaled = (hu.astype(np.float32) - np.float32(-1350)) * np.float32(255 / 1500)
    return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


def distances_by_scipy(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """In the box around both masks, as the libraries of metrics do."""
    (box,) = ndimage().find_objects((a | b).astype(np.int8))
    padded = [np.pad(mask[box], 1) for mask in (a, b)]
    edges = [mask & ~ndimage().binary_erosion(mask) for mask in padded]
    distances = [ndimage().distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return distances[1][edges[0]], distances[0][edges[1]]


def volumes(shape: tuple[int, ...]) -> Iterator[Case]:
    hu, labels = chest(shape)
    spacing = spacing_of(shape)
    zoom = [old / new for old, new in zip(spacing, COMMON, strict=True)]
    small = int(np.prod([round(size * ratio) for size, ratio in zip(shape, zoom, strict=True)]))
    for volume in (hu, hu.astype(np.float32)):
        yield Case(
            f"resampled to {COMMON[0]} mm, {volume.dtype}",
            lambda volume=volume: ops.resample_volume(volume, spacing, COMMON),
            {"scipy": lambda volume=volume: ndimage().zoom(volume, zoom, order=1, grid_mode=True, mode="nearest")},
            same,
            {"scipy": 8},
            moved=volume.nbytes + small * volume.itemsize,
        )
    yield Case(
        "HU to uint8",
        lambda: ops.window_hu(hu, -600, 1500, dtype=np.uint8),
        {"numpy": lambda: window_by_numpy(hu)},
        same,
        moved=3 * hu.size,
    )
    yield Case(
        "volumes and histograms of two lungs",
        lambda: ops.lung_statistics(hu, labels, spacing, 2, EDGES).histograms,
        {"numpy": lambda: histograms_by_numpy(hu, labels)},
        same,
        moved=hu.size + 2 * int(np.count_nonzero(labels)),
    )
    lungs = labels > 0
    yield Case(
        "largest part of the lungs",
        lambda: ops.largest_component(lungs, 6),
        {
            "cc3d": lambda: module("cc3d").largest_k(lungs, k=1, connectivity=6) > 0,
            "scipy": lambda: largest_by_scipy(lungs),
        },
        same,
        moved=2 * lungs.size,
    )
    yield Case(
        "holes filled",
        lambda: ops.fill_holes(lungs),
        {"scipy": lambda: ndimage().binary_fill_holes(lungs)},
        same,
        moved=2 * lungs.size,
    )
    other = np.roll(lungs, (2, -3, 5), (0, 1, 2)) & (hu > -930)
    yield Case(
        "distances of two surfaces",
        lambda: ops.boundary_distance(lungs, other, spacing),
        {"scipy": lambda: distances_by_scipy(lungs, other, spacing)},
        same,
        moved=2 * lungs.size,
    )


def drawn_by_coco(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    coco = module("pycocotools.mask")
    rles = coco.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return coco.decode(coco.merge(rles))  # type: ignore[no-any-return]


def pasted_by_torch(rois: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As detectron2 does on the CPU: one box after the other, in the part of the picture that it covers."""
    torch = module("torch")
    masks = torch.zeros((len(rois), *size), dtype=torch.uint8)
    for mask, roi, (x0, y0, x1, y1) in zip(masks, torch.from_numpy(rois), boxes.tolist(), strict=True):
        left, top = max(int(x0) - 1, 0), max(int(y0) - 1, 0)
        right, bottom = min(int(x1) + 2, size[1]), min(int(y1) + 2, size[0])
        x = (torch.arange(left, right) + 0.5 - x0) / (x1 - x0) * 2 - 1
        y = (torch.arange(top, bottom) + 0.5 - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=2)
        values = torch.nn.functional.grid_sample(roi[None, None], grid[None], align_corners=False)
        mask[top:bottom, left:right] = values[0, 0] >= 0.5
    return masks.numpy()  # type: ignore[no-any-return]


def differing(ours: np.ndarray, theirs: np.ndarray) -> str:
    count = np.count_nonzero(ours != theirs)
    return "equal" if count == 0 else f"{count} of {ours.size} pixels differ, at the threshold but for rounding"


def outlines(_: Options) -> Iterator[Case]:
    size, count = (480, 640), 100
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 400, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 240, (count, 2))], 1).astype(np.float32)
    coarse = smooth((count, 28, 28), 6, 6) + 0.6
    rois = (1 / (1 + np.exp(-4 * coarse))).astype(np.float32)
    pasted = ops.masks_from_rois(rois, boxes, size)
    yield Case(
        f"{count} masks of 28x28 pasted into {size[0]}x{size[1]}",
        lambda: ops.masks_from_rois(rois, boxes, size),
        {"torch": lambda: pasted_by_torch(rois, boxes, size)},
        differing,
        moved=pasted.nbytes,
    )
    found = [ops.mask_to_polygons(mask) for mask in pasted]

    def by_opencv() -> Any:
        cv2 = module("cv2")
        return [cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0] for mask in pasted]

    def drawn_again(_: Any, contours: Any) -> str:
        """Each way's own drawing of its outlines must be the mask: they follow other points."""
        cv2 = module("cv2")
        theirs = [cv2.drawContours(np.zeros(size, np.uint8), c, -1, 1, cv2.FILLED) for c in contours]
        ours = [ops.polygons_to_mask(each, size) for each in found]
        return ", ".join(
            f"{name} {'draw the masks again' if np.array_equal(again, pasted) else 'DO NOT draw the masks again'}"
            for name, again in (("ours", ours), ("theirs", theirs))
        )

    yield Case(
        f"outlines of {count} masks",
        lambda: [ops.mask_to_polygons(mask) for mask in pasted],
        {"opencv": by_opencv},
        drawn_again,
        moved=pasted.nbytes,
    )
    full = [each for each in found if each]
    yield Case(
        f"{len(full)} masks from outlines",
        lambda: [ops.polygons_to_mask(each, size) for each in full],
        {"pycocotools": lambda: [drawn_by_coco(each, size) for each in full]},
        same,
        moved=len(full) * size[0] * size[1],
    )


def shape_of(given: Options) -> tuple[int, int, int]:
    return given.depth, given.side, given.side


SECTIONS = {
    "outlines": outlines,
    "volumes": lambda given: volumes(shape_of(given)),
    "labelling": lambda given: labelling(itertools.chain(solid(shape_of(given)), noise(shape_of(given)))),
    "measures": lambda given: measures(itertools.chain(thresholded(shape_of(given)), noise(shape_of(given), (0.2,)))),
}


if __name__ == "__main__":
    main(SECTIONS)
