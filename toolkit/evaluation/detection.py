"""Measuring detectors: COCO's numbers, and what the shipped threshold gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import ops
from toolkit import images
from toolkit.bundle_spec import DetectionPostprocessing, DetectionSpec
from toolkit.data.table import BoxSample, Progress, Table
from toolkit.drawing import draw_detections
from toolkit.drawing_text import RGB
from toolkit.evaluation.coco_metrics import (
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    SCORE_THRESHOLD,
    Detections,
    match_detections,
    precision_curves,
)
from toolkit.evaluation.detection_faults import Faults, draw_faults
from toolkit.evaluation.detection_metrics import measure_detection
from toolkit.evaluation.operating_point import Judged, answers_of, judge, shipped_answer
from toolkit.evaluation.plots import Plot, confusion_plot, precision_recall_plot, reliability_plot
from toolkit.evaluation.precision_point import point_sections, told_point
from toolkit.evaluation.sections import Ranged, Section, at, of_parts, overall
from toolkit.evaluation.task import Case, Evaluation, Worst, predictions
from toolkit.evaluation.trust import abstention_columns, told_abstention
from toolkit.inference.model import Model


@dataclass(frozen=True)
class Answers:
    """What the bundle said of every picture, compared with the truth: at any score by COCO's protocol and by the
    bundle's own suppression, and at the shipped threshold.
    """

    matches: ops.CocoMatches
    everything: list[Judged]
    judged: list[Judged]


class DetectionEvaluation(Evaluation):
    """AP and its kin, from all that the network says with a score above 0.001; and what the shipped threshold gives."""

    class_number = "AP"

    def predict_all(self, model: Model, table: Table[BoxSample], progress: Progress | None = None) -> Answers:
        results = predictions(
            model,
            table,
            progress,
            score_threshold=SCORE_THRESHOLD,
            iou_threshold=IOU_THRESHOLD,
            max_detections=MAX_DETECTIONS,
        )
        found = [Detections(result.boxes, result.scores, result.class_ids) for result in results]
        shipped = _shipped(model)
        everything, judged = (
            [judge(sample, shipped_answer(one, asked)) for sample, one in zip(table.samples, found, strict=True)]
            for asked in (shipped.override(score_threshold=SCORE_THRESHOLD), shipped)
        )
        return Answers(match_detections(table, found), everything, judged)

    def measure(self, model: Model, table: Table[BoxSample], predictions: Answers) -> dict[str, Any]:
        assert isinstance(model.spec, DetectionSpec)
        multiple = model.spec.preprocessing.pad_multiple
        return {
            "settings": {
                "score_threshold": SCORE_THRESHOLD,
                "iou_threshold": IOU_THRESHOLD,
                "max_detections": MAX_DETECTIONS,
                "input_size": list(model.spec.preprocessing.input_size),
                **({} if multiple is None else {"pad_multiple": multiple}),
            },
            **measure_detection(
                table,
                predictions.matches,
                predictions.judged,
                _shipped(model),
                model.spec.abstention,
                predictions.everything,
                model.spec.measures,
            ),
        }

    def sections(self, metrics: dict[str, Any]) -> list[Section]:
        coco, intervals, point = metrics["coco"], metrics["intervals"], metrics["operating_point"]
        shipped, around = f"at score {point['score_threshold']:g}", intervals["operating_point"]
        sizes = (("small", "up to 32 px"), ("medium", "to 96 px"), ("large", "over 96 px"))
        return [
            overall(
                ("AP", at(coco, intervals, "AP"), "COCO's, over IoU 0.5 to 0.95"),
                ("AP50", at(coco, intervals, "AP50"), "at IoU 0.5"),
                ("AP75", at(coco, intervals, "AP75"), "at IoU 0.75"),
                ("AR100", Ranged(coco["AR100"]), "recall with 100 boxes a picture"),
                ("found", at(point, around, "found"), f"of the objects, {shipped}"),
                ("precision of boxes", at(point, around, "precision_of_boxes"), f"of the boxes, {shipped}"),
                ("class right of found", at(point, around, "class_right_of_found"), f"of those found, {shipped}"),
                *told_point(metrics),
                (
                    "calibration error",
                    at(metrics, intervals, "calibration", "expected_calibration_error"),
                    f"mean distance of a box's score and how often such boxes are right, {shipped}",
                )
                if "calibration" in metrics  # absent from what was measured before it was
                else None,
                *told_abstention(metrics, f"boxes, {shipped}"),
            ),
            Section(
                "class",
                ("AP", "AP50", f"recall {shipped}", "precision", "boxes"),
                tuple(
                    (
                        name,
                        (
                            at(row, intervals["per_class"][name], "AP"),
                            at(row, intervals["per_class"][name], "AP50"),
                            at(point["per_class"][name], around["per_class"][name], "recall"),
                            at(point["per_class"][name], around["per_class"][name], "precision"),
                            row["boxes"],
                        ),
                    )
                    for name, row in metrics["per_class"].items()
                ),
            ),
            Section(
                "size",
                ("AP", "AR100", ""),
                tuple(
                    (name, (Ranged(coco[f"AP_{name}"]), Ranged(coco[f"AR_{name}"]), meaning)) for name, meaning in sizes
                ),
            ),
            *point_sections(metrics),
            *of_parts(metrics, self.columns(metrics)),
        ]

    def columns(self, metrics: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        columns = {"AP": ("AP",), "AP50": ("AP50",), "found": ("found",), "precision of boxes": ("precision_of_boxes",)}
        return {**columns, **abstention_columns(metrics)}

    def headline(self, metrics: dict[str, Any]) -> dict[str, Ranged]:
        return {name: at(metrics["coco"], metrics["intervals"], name) for name in ("AP", "AP50")}

    def class_numbers(self, metrics: dict[str, Any]) -> dict[str, float | None]:
        return {name: row["AP"] for name, row in metrics["per_class"].items()}

    def reliability(self, metrics: dict[str, Any], table: Table[BoxSample], predictions: Answers) -> Plot:
        _, scores, right = answers_of(table.samples, predictions.judged)
        return reliability_plot(scores, right, "score")

    def plots(self, metrics: dict[str, Any], table: Table[BoxSample], predictions: Answers) -> list[Plot]:
        point = metrics["operating_point"]
        return [
            confusion_plot(
                point["confusion_matrix"], point["confusion_labels"], f"boxes at score {point['score_threshold']:g}"
            ),
            precision_recall_plot(precision_curves(predictions.matches), table.class_names),
            self.reliability(metrics, table, predictions),
        ]

    def worst(self, metrics: dict[str, Any], table: Table[BoxSample], predictions: Answers) -> Worst:
        pairs = zip(table.samples, predictions.judged, strict=True)
        faults = [(index, Faults.of(sample, answer)) for index, (sample, answer) in enumerate(pairs)]
        faulty = sorted((pair for pair in faults if pair[1].count), key=lambda pair: (-pair[1].count, -pair[1].surest))
        score = f"{metrics['operating_point']['score_threshold']:g}"
        return Worst(
            "Most errors in a picture",
            f"Objects without a box, boxes without an object and boxes of a wrong class, at score {score} and IoU 0.5.",
            tuple(Case(index, fault.told(table.class_names)) for index, fault in faulty),
        )

    def draw_truth(self, image: RGB, sample: BoxSample, class_names: tuple[str, ...]) -> RGB:
        labels = [class_names[class_id] for class_id in sample.class_ids]
        return draw_detections(image, sample.boxes, labels, None, sample.class_ids)

    has_boxes = True

    def labels_of(self, sample: BoxSample) -> dict[str, Any]:
        return {"bboxes": sample.boxes, "class_ids": np.arange(len(sample.boxes))}

    def relabelled(self, sample: BoxSample, changed: Mapping[str, Any]) -> BoxSample:
        """An object's own area, which decides of which size it is, grows as its box does."""
        boxes = np.asarray(changed["bboxes"], np.float32).reshape(-1, 4)
        kept = np.asarray(changed["class_ids"], np.int64)
        before, after = (np.prod(part[:, 2:] - part[:, :2], axis=1, dtype=np.float64) for part in (sample.boxes, boxes))
        return replace(
            sample,
            boxes=boxes,
            class_ids=sample.class_ids[kept],
            crowd=sample.crowd[kept],
            areas=sample.areas[kept] * after / before[kept],
        )

    def draw_pair(self, index: int, model: Model, table: Table[BoxSample], predictions: Answers) -> tuple[RGB, RGB]:
        sample = table.samples[index]
        return draw_faults(images.decode(sample.path), sample, predictions.judged[index], table.class_names)


def _shipped(model: Model) -> DetectionPostprocessing:
    shipped = model.spec.postprocessing
    assert isinstance(shipped, DetectionPostprocessing)
    return shipped
