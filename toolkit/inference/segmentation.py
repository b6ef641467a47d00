"""Predicting a class for each pixel: logits at the network's stride to a mask of the picture's own size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops import Placement, argmax_resize, rle_decode
from toolkit.bundle_spec import SegmentationPostprocessing, SegmentationSpec
from toolkit.inference.task import Array, Comparison, Task, Tolerance
from toolkit.results import SegmentationResult

# Of a picture's cells those that its score for holding a class is the mean over. On the training slices of ct_pneumonia
# this ranks those with lesions with an area under the ROC curve of 0.991, the mean over all cells with 0.983, and the
# area in the answer with 0.980, which is 0 wherever a small lesion is only suspected.
SUREST = 0.003


class SegmentationTask(Task[SegmentationSpec]):
    """A mask of class ids."""

    result_type = SegmentationResult

    def outputs(self, spec: SegmentationSpec) -> Mapping[str, Sequence[int | str | None]]:
        return {spec.network.output: ["batch", len(spec.labels), None, None]}

    def answer(
        self,
        raw: Sequence[Array],
        placement: Placement,
        image_size: tuple[int, int],
        spec: SegmentationSpec,
        options: SegmentationPostprocessing,
    ) -> dict[str, Any]:
        mask = argmax_resize(raw[0], image_size, input_size=spec.preprocessing.input_size, placement=placement)
        if not options.presence:
            return {"mask": mask}
        seen = _seen_cells(raw[0], placement, image_size, spec.preprocessing.input_size)
        scores = {name: presence_score(seen, spec.labels.index(name)) for name in options.presence}
        present = tuple(name for name, score in scores.items() if score >= options.presence[name])
        return {"mask": mask, "presence": scores, "present": present}

    def gap(
        self, raw: Array, placement: Placement, image_size: tuple[int, int], spec: SegmentationSpec
    ) -> Callable[[Any], float]:
        """Asked with pixels (rows, columns): the largest gap between the best two classes among them."""

        def of(pixels: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
            logits = np.sort(_logits_at(raw, pixels, placement, spec.preprocessing.input_size), axis=0)
            return float((logits[-1] - logits[-2]).max()) if len(logits) > 1 else float(np.abs(logits).max())

        return of

    def compare(
        self,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
        spec: SegmentationSpec,
        tolerance: Tolerance,
        gap: Callable[[Any], float],
    ) -> Comparison:
        """Masks must be equal, but for pixels on borders and as many as the tolerance lets pass."""
        wanted, given = as_mask(expected), as_mask(found)
        if wanted.shape != given.shape:
            return Comparison([f"expected a mask of {wanted.shape} (height, width), found {given.shape}"])
        different = np.nonzero(wanted != given)
        count = len(different[0])
        comparison = Comparison(largest=count / wanted.size)
        if not count:
            return comparison
        sentence = f"{count} of {wanted.size} pixels of the mask differ"
        near = comparison.largest <= tolerance.pixels or gap(different) <= tolerance.margin
        (comparison.ties if near else comparison.refusals).append(sentence)
        return comparison


def presence_score(logits: Array, class_id: int) -> float:
    """How sure the network is that a picture holds the class: the mean probability of its `SUREST` cells.

    Args:
        logits: float32 [C, h, w], of the cells that lie in the picture.
        class_id: position of the class.
    """
    others = np.delete(logits, class_id, axis=0).astype(np.float64) - logits[class_id]
    largest = np.maximum(others.max(0), 0.0) if len(others) else np.zeros(logits.shape[1:])
    own = np.exp(-largest)
    odds = (own / (own + np.exp(others - largest).sum(0))).ravel()
    count = max(1, math.ceil(SUREST * odds.size))
    return float(np.partition(odds, -count)[-count:].mean())


def _seen_cells(raw: Array, placement: Placement, image_size: tuple[int, int], input_size: tuple[int, int]) -> Array:
    """The logits [C, h, w] of the cells whose centre lies in the picture, not beside it."""
    kept = []
    for axis, (start, scale) in enumerate(((placement.top, placement.scale_y), (placement.left, placement.scale_x))):
        cells = raw.shape[1 + axis]
        centre = (np.arange(cells) + 0.5) * input_size[axis] / cells
        inside = np.flatnonzero((centre >= start) & (centre < start + image_size[axis] * scale))
        kept.append(slice(inside[0], inside[-1] + 1) if len(inside) else slice(None))  # a picture thinner than a cell
    return raw[:, kept[0], kept[1]]


def as_mask(answer: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The mask uint8 [H, W] of an answer in JSON form, whose classes are run-length encoded."""
    mask = np.zeros(answer["image_size"], np.uint8)
    for part in answer["masks"]:
        mask[rle_decode(part["rle"]) > 0] = part["class_id"]
    return mask


def _logits_at(
    raw: Array, pixels: tuple[NDArray[np.int64], NDArray[np.int64]], placement: Placement, input_size: tuple[int, int]
) -> NDArray[np.float64]:
    """Bilinear logits [C, N] at N pixels, in float64 and apart from `argmax_resize`, whose answer it judges."""
    starts, scales = (placement.top, placement.left), (placement.scale_y, placement.scale_x)
    corners = []
    for axis in (0, 1):
        cells = raw.shape[1 + axis]
        centre = ((pixels[axis] + 0.5) * scales[axis] + starts[axis]) * cells / input_size[axis] - 0.5
        centre = np.clip(centre, 0, cells - 1)
        first = np.minimum(centre.astype(np.int64), max(cells - 2, 0))
        corners.append((first, np.minimum(first + 1, cells - 1), centre - first))
    (y0, y1, wy), (x0, x1, wx) = corners
    values = raw.astype(np.float64)
    upper = values[:, y0, x0] * (1 - wx) + values[:, y0, x1] * wx
    lower = values[:, y1, x0] * (1 - wx) + values[:, y1, x1] * wx
    blended: NDArray[np.float64] = upper * (1 - wy) + lower * wy
    return blended
