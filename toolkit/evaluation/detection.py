"""Measuring detectors: COCO's numbers, and what the shipped threshold gives."""

from __future__ import annotations

from typing import Any

from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.data.table import BoxSample, Progress, Table
from toolkit.evaluation.coco_metrics import (
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    SCORE_THRESHOLD,
    Detections,
    evaluator,
)
from toolkit.evaluation.detection_metrics import measure_detection
from toolkit.evaluation.operating_point import judge, shipped_answer
from toolkit.evaluation.sections import Ranged, Section, at, number, of_parts, overall
from toolkit.evaluation.task import Evaluation, predictions
from toolkit.inference.model import Model


class DetectionEvaluation(Evaluation):
    """AP and its kin, from all that the network says with a score above 0.001."""

    def predict_all(self, model: Model, table: Table[BoxSample], progress: Progress | None = None) -> list[Detections]:
        results = predictions(
            model,
            table,
            progress,
            score_threshold=SCORE_THRESHOLD,
            iou_threshold=IOU_THRESHOLD,
            max_detections=MAX_DETECTIONS,
        )
        return [Detections(result.boxes, result.scores, result.class_ids) for result in results]

    def measure(self, model: Model, table: Table[BoxSample], predictions: list[Detections]) -> dict[str, Any]:
        shipped = model.spec.postprocessing
        assert isinstance(shipped, DetectionPostprocessing)
        judged = [
            judge(sample, shipped_answer(found, shipped))
            for sample, found in zip(table.samples, predictions, strict=True)
        ]
        return {
            "settings": {
                "score_threshold": SCORE_THRESHOLD,
                "iou_threshold": IOU_THRESHOLD,
                "max_detections": MAX_DETECTIONS,
                "input_size": list(model.spec.preprocessing.input_size),
            },
            **measure_detection(table, evaluator(table, predictions), judged, shipped),
        }

    def sections(self, metrics: dict[str, Any]) -> list[Section]:
        coco, intervals, point = metrics["coco"], metrics["intervals"], metrics["operating_point"]
        shipped, around = f"at score {point['score_threshold']:g}", intervals["operating_point"]
        sizes = (("small", "up to 32 px"), ("medium", "to 96 px"), ("large", "over 96 px"))
        return [
            overall(
                ("AP", at(coco, intervals, "AP"), "COCO's, over IoU 0.5 to 0.95"),
                ("AP50", at(coco, intervals, "AP50"), "at IoU 0.5"),
                ("AP75", Ranged(coco["AP75"]), "at IoU 0.75"),
                ("AR100", Ranged(coco["AR100"]), "recall with 100 boxes a picture"),
                ("found", at(point, around, "found"), f"of the objects, {shipped}"),
                ("precision of boxes", at(point, around, "precision_of_boxes"), f"of the boxes, {shipped}"),
                ("class right of found", at(point, around, "class_right_of_found"), f"of those found, {shipped}"),
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
            *of_parts(
                metrics,
                {"AP": ("AP",), "AP50": ("AP50",), "found": ("found",), "precision of boxes": ("precision_of_boxes",)},
            ),
        ]

    def headline(self, metrics: dict[str, Any]) -> str:
        return f"AP {number(metrics['coco']['AP'])}, AP50 {number(metrics['coco']['AP50'])}"
