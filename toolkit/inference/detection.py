"""Predicting boxes: raw cells to detections, and when two lists of boxes agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops import Placement, decode_detections
from ops.decode_detections import anchor_count
from toolkit.bundle_spec import DetectionPostprocessing, DetectionSpec, DetectorCalibration
from toolkit.inference.task import Array, Comparison, Task, Tolerance
from toolkit.results import DetectionResult


class DetectionTask(Task[DetectionSpec]):
    """Boxes with a class and a score."""

    result_type = DetectionResult

    def outputs(self, spec: DetectionSpec) -> Mapping[str, Sequence[int | str | None]]:
        if spec.preprocessing.pad_multiple is None:
            cells: int | str = anchor_count(spec.preprocessing.input_size, spec.network.strides)
        else:
            cells = "cells"
        return {spec.network.output: ["batch", cells, 5 + len(spec.labels)]}

    def answer(
        self,
        raw: Sequence[Array],
        placement: Placement,
        image_size: tuple[int, int],
        spec: DetectionSpec,
        options: DetectionPostprocessing,
    ) -> dict[str, Any]:
        boxes, scores, class_ids = decode_detections(
            raw[0],
            input_size=spec.preprocessing.size_for(*image_size),
            strides=spec.network.strides,
            placement=placement,
            image_size=image_size,
            score_threshold=_raw_threshold(options.score_threshold, spec.calibration),
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
        )
        return {
            "boxes": boxes,
            "scores": _calibrated(scores, spec.calibration).astype(np.float32),
            "class_ids": class_ids,
            "abstention": spec.abstention,
            "bins": options.bins,
        }

    def gap(
        self, raw: Array, placement: Placement, image_size: tuple[int, int], spec: DetectionSpec
    ) -> Callable[[Any], float]:
        """Asked with a score: the gap of the class scores in the cell whose score is nearest to it."""
        probabilities = 0.5 * (1 + np.tanh(0.5 * raw[:, 4:].astype(np.float64)))  # the sigmoid, without overflow
        scores = np.sort(_calibrated(probabilities[:, :1] * probabilities[:, 1:], spec.calibration), axis=1)

        def of(score: float) -> float:
            cell = scores[np.abs(scores[:, -1] - score).argmin()]
            return float(cell[-1] - cell[-2]) if len(cell) > 1 else 1.0

        return of

    def compare(
        self,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
        spec: DetectionSpec,
        tolerance: Tolerance,
        gap: Callable[[Any], float],
    ) -> Comparison:
        """Each expected box must have its like; one that stands alone may do so near the threshold or to a rival."""
        comparison = Comparison()
        left = _detections(found)
        alone = []
        for wanted in _detections(expected):
            match = next((other for other in left if _same(wanted, other, tolerance)), None)
            if match is None:
                alone.append((wanted, f"expected {_shown(wanted, spec)}, which was not found"))
                continue
            left.remove(match)
            if wanted[3] != match[3]:
                at = spec.abstention.at if spec.abstention else 0.0
                near = abs(wanted[1] - at) <= tolerance.margin
                sentence = f"expected the decision {wanted[3]} of {_shown(wanted, spec)}, found {match[3]}"
                (comparison.ties if near else comparison.refusals).append(sentence)
            comparison.largest = max(comparison.largest, float(np.abs(np.subtract(wanted[0], match[0])).max()))
        alone += [(extra, f"found {_shown(extra, spec)}, which was not expected") for extra in left]
        for (_, score, _, _), sentence in alone:
            near = (
                abs(score - spec.postprocessing.score_threshold) <= tolerance.margin or gap(score) <= tolerance.margin
            )
            (comparison.ties if near else comparison.refusals).append(sentence)
        return comparison


def _calibrated(scores: NDArray[Any], calibration: DetectorCalibration | None) -> NDArray[np.float64]:
    """How often boxes of these raw scores are right; the scores as they are where nothing was fitted.

    It rises with the score, so what suppression keeps is the same before and after.
    """
    if calibration is None:
        return scores.astype(np.float64)
    with np.errstate(divide="ignore"):  # scores of 0 and 1 stay what they are
        logits = calibration.slope * (np.log(scores, dtype=np.float64) - np.log1p(-scores, dtype=np.float64))
    calibrated: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * (logits + calibration.offset)))
    return calibrated


def _raw_threshold(threshold: float, calibration: DetectorCalibration | None) -> float:
    """The raw score whose calibrated one is the threshold."""
    if calibration is None or not 0 < threshold < 1:
        return threshold
    logit = (math.log(threshold) - math.log1p(-threshold) - calibration.offset) / calibration.slope
    return 0.5 * (1 + math.tanh(0.5 * logit))


Detection = tuple[list[float], float, int, str]


def _detections(answer: Mapping[str, Any]) -> list[Detection]:
    decisions = answer.get("decisions") or [""] * len(answer["scores"])
    return list(zip(answer["boxes"], answer["scores"], answer["class_ids"], decisions, strict=True))


def _same(wanted: Detection, found: Detection, tolerance: Tolerance) -> bool:
    allowed = tolerance.box + tolerance.box_relative * max(1.0, float(np.abs(wanted[0]).max()))
    return (
        wanted[2] == found[2]
        and abs(wanted[1] - found[1]) <= tolerance.score
        and bool(np.abs(np.subtract(wanted[0], found[0])).max() <= allowed)
    )


def _shown(detection: Detection, spec: DetectionSpec) -> str:
    box, score, class_id, _ = detection
    label = spec.labels[class_id] if 0 <= class_id < len(spec.labels) else f"class {class_id}"
    return f"{label} {score:.4f} at {[round(value, 1) for value in box]}"
