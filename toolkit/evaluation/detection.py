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
from toolkit.evaluation.task import Evaluation, markdown_table, number, predictions, ranged
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

    def lines(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals, point = metrics["data"], metrics["intervals"], metrics["operating_point"]
        width = max(len(name) for name in ("all classes", *metrics["per_class"], *metrics["per_source"]))
        rows = [("all classes", metrics["coco"], intervals)]
        rows += [(name, row, intervals["per_class"][name]) for name, row in metrics["per_class"].items()]
        lines = [f"{data['pictures']} pictures, {data['boxes']} boxes, split {data['split']}"]
        for name, row, around in rows:
            lines.append(
                f"{name:{width}}  AP {ranged(row['AP'], around['AP'])}  AP50 {ranged(row['AP50'], around['AP50'])}"
            )
        for name, row in metrics["per_source"].items():
            lines.append(
                f"{name:{width}}  AP {number(row['AP'])}  AP50 {number(row['AP50'])}  ({row['pictures']} pictures)"
            )
        lines.append("  ".join(f"{name} {number(value)}" for name, value in metrics["coco"].items()))
        lines.append(
            f"at score {point['score_threshold']:g}: found {number(point['found'])}, precision of boxes"
            f" {number(point['precision_of_boxes'])}, class right of found {number(point['class_right_of_found'])}"
        )
        return lines

    def card(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals, point = metrics["data"], metrics["intervals"], metrics["operating_point"]
        rows = [("all", metrics["coco"], intervals, data["boxes"])]
        rows += [(name, row, intervals["per_class"][name], row["boxes"]) for name, row in metrics["per_class"].items()]
        lines = [
            f"On the {data['pictures']} pictures ({data['boxes']} boxes) of the split `{data['split']}`,"
            f" COCO's protocol; in brackets the 95 % interval ({intervals['method'].removeprefix('95 % ')}).",
            "",
            *markdown_table(
                ("", "AP", "AP50", "boxes"),
                [
                    (name, ranged(row["AP"], around["AP"], 3), ranged(row["AP50"], around["AP50"], 3), str(boxes))
                    for name, row, around, boxes in rows
                ],
            ),
        ]
        if metrics["per_source"]:
            sources = [
                (source, number(row["AP"], 3), number(row["AP50"], 3), str(row["pictures"]))
                for source, row in metrics["per_source"].items()
            ]
            lines += ["", *markdown_table(("source", "AP", "AP50", "pictures"), sources)]
        return [
            *lines,
            "",
            f"At the shipped score threshold {point['score_threshold']:g}: {_percent(point['found'])} of the objects"
            f" are found, {_percent(point['precision_of_boxes'])} of the boxes given lie on an object (IoU 0.5), and"
            f" the class is right on {_percent(point['class_right_of_found'])} of those.",
        ]

    def headline(self, metrics: dict[str, Any]) -> str:
        return f"AP {number(metrics['coco']['AP'], 3)}, AP50 {number(metrics['coco']['AP50'], 3)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
