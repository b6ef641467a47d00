"""Predicting one class for a picture: logits to probabilities, and the heat map of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ops import Placement
from toolkit.bundle_spec import ClassificationPostprocessing, ClassificationSpec
from toolkit.errors import UserError
from toolkit.inference.task import Array, Comparison, Task, Tolerance
from toolkit.results import ClassificationResult


class ClassificationTask(Task[ClassificationSpec]):
    """A probability for each class."""

    result_type = ClassificationResult

    def outputs(self, spec: ClassificationSpec) -> Mapping[str, Sequence[int | str | None]]:
        maps = spec.network.map_output
        logits: dict[str, Sequence[int | str | None]] = {spec.network.output: ["batch", len(spec.labels)]}
        return logits if maps is None else {**logits, maps: ["batch", len(spec.labels), None, None]}

    def wanted(self, spec: ClassificationSpec, explain: bool) -> tuple[str, ...]:
        if not explain:
            return (spec.network.output,)
        if spec.network.map_output is None:
            raise UserError(f"explain: the bundle {spec.name} has no class activation map; export it again")
        return spec.network.output, spec.network.map_output

    def answer(
        self,
        raw: Sequence[Array],
        placement: Placement,
        image_size: tuple[int, int],
        spec: ClassificationSpec,
        options: ClassificationPostprocessing,
    ) -> dict[str, Any]:
        logits = raw[0].astype(np.float64)
        if spec.calibration is not None:
            logits /= spec.calibration.temperature
        powers = np.exp(logits - logits.max())
        fields: dict[str, Any] = {
            "probabilities": (powers / powers.sum()).astype(np.float32),
            "top_k": options.top_k,
            "abstention": spec.abstention,
            "bins": options.bins,
        }
        if len(raw) > 1:
            fields["class_activation"] = _activation(raw[1][int(logits.argmax())], placement, image_size, spec)
        return fields

    def gap(
        self, raw: Array, placement: Placement, image_size: tuple[int, int], spec: ClassificationSpec
    ) -> Callable[[Any], float]:
        best = np.sort(raw.astype(np.float64))[::-1]
        return lambda _: float(best[0] - best[1]) if len(best) > 1 else 1.0

    def compare(
        self,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
        spec: ClassificationSpec,
        tolerance: Tolerance,
        gap: Callable[[Any], float],
    ) -> Comparison:
        wanted, given = np.asarray(expected["probabilities"]), np.asarray(found["probabilities"])
        if wanted.shape != given.shape:
            return Comparison([f"expected {len(wanted)} probabilities, found {len(given)}"])
        comparison = Comparison(largest=float(np.abs(wanted - given).max()))
        worst = int(np.abs(wanted - given).argmax())
        if comparison.largest > tolerance.score:
            label = spec.labels[worst]
            comparison.refusals.append(f"expected {label} at {wanted[worst]:.4f}, found it at {given[worst]:.4f}")
        first, other = int(wanted.argmax()), int(given.argmax())
        if first != other:
            sentence = f"expected {spec.labels[first]}, found {spec.labels[other]}"
            near = wanted[first] - wanted[other] <= tolerance.margin or gap(None) <= tolerance.margin
            (comparison.ties if near else comparison.refusals).append(sentence)
        elif (said := expected.get("decision")) != found.get("decision"):
            near = spec.abstention is not None and abs(wanted[first] - spec.abstention.at) <= tolerance.margin
            sentence = f"expected the decision {said}, found {found.get('decision')}"
            (comparison.ties if near else comparison.refusals).append(sentence)
        return comparison


def _activation(maps: Array, placement: Placement, image_size: tuple[int, int], spec: ClassificationSpec) -> Array:
    """The part of a class's map that lies on the picture, float32 [h', w'] in 0..1; places outside the crop are 0."""
    height, width = spec.preprocessing.input_size
    rows = _covered(maps.shape[0], height, placement.top, image_size[0] * placement.scale_y)
    columns = _covered(maps.shape[1], width, placement.left, image_size[1] * placement.scale_x)
    positive = np.maximum(maps, 0)
    peak = float(positive.max())
    scaled = positive / peak if peak > 0 else positive
    return np.ascontiguousarray(scaled[rows[:, None], columns[None, :]] * ((rows >= 0)[:, None] & (columns >= 0)))


def _covered(cells: int, side: int, start: float, length: float) -> Any:
    """For each of as many places along the picture as cover it in the map's steps: the map's cell, -1 outside it."""
    count = max(1, round(length / side * cells))
    centres = (start + (np.arange(count) + 0.5) * length / count) / side * cells
    found = np.floor(centres).astype(np.int64)
    return np.where((found >= 0) & (found < cells), found, -1)
