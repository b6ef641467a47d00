"""Measuring classifiers: right answers, and how far the probabilities can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.data.table import LabelSample, Progress, Table
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.task import Evaluation, markdown_table, number, predictions, ranged
from toolkit.inference.model import Model


class ClassificationEvaluation(Evaluation):
    """Top-1 and macro-F1, per class and per source."""

    def predict_all(
        self, model: Model, table: Table[LabelSample], progress: Progress | None = None
    ) -> NDArray[np.float32]:
        return np.stack([result.probabilities for result in predictions(model, table, progress)])

    def measure(self, model: Model, table: Table[LabelSample], predictions: NDArray[np.float32]) -> dict[str, Any]:
        samples = table.samples
        return measure_classification(
            np.array([sample.class_id for sample in samples], np.int64),
            predictions,
            table.class_names,
            groups=[sample.group for sample in samples],
            sources=[sample.source for sample in samples],
        )

    def lines(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals = metrics["data"], metrics["intervals"]
        width = max(len(name) for name in ("all classes", *metrics["per_class"], *metrics["per_source"]))
        top5 = "" if metrics["top5"] is None else f"  top-5 {number(metrics['top5'])}"
        lines = [
            f"{data['pictures']} pictures, split {data['split']}",
            f"{'all classes':{width}}  top-1 {ranged(metrics['top1'], intervals['top1'])}{top5}"
            f"  macro-F1 {ranged(metrics['macro_f1'], intervals['macro_f1'])}",
        ]
        for name, row in metrics["per_class"].items():
            lines.append(
                f"{name:{width}}  recall {number(row['recall'])}  precision {number(row['precision'])}"
                f"  F1 {number(row['f1'])}  ({row['pictures']} pictures)"
            )
        for name, row in metrics["per_source"].items():
            lines.append(
                f"{name:{width}}  top-1 {number(row['top1'])}  macro-F1 {number(row['macro_f1'])}"
                f"  ({row['pictures']} pictures)"
            )
        calibration = metrics["calibration"]
        lines.append("calibration: " + ", ".join(f"{k.replace('_', ' ')} {number(v)}" for k, v in calibration.items()))
        return lines

    def card(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals = metrics["data"], metrics["intervals"]
        lines = [
            f"On the {data['pictures']} pictures of the split `{data['split']}`: top-1"
            f" {ranged(metrics['top1'], intervals['top1'], 3)}, macro-F1"
            f" {ranged(metrics['macro_f1'], intervals['macro_f1'], 3)}; in brackets the 95 % interval"
            f" ({intervals['method'].removeprefix('95 % ')}).",
            "",
            *markdown_table(
                ("", "recall", "precision", "F1", "pictures"),
                [
                    (name, *(number(row[key], 3) for key in ("recall", "precision", "f1")), str(row["pictures"]))
                    for name, row in metrics["per_class"].items()
                ],
            ),
        ]
        if metrics["per_source"]:
            rows = [
                (name, number(row["top1"], 3), number(row["macro_f1"], 3), str(row["pictures"]))
                for name, row in metrics["per_source"].items()
            ]
            lines += ["", *markdown_table(("source", "top-1", "macro-F1", "pictures"), rows)]
        return lines

    def headline(self, metrics: dict[str, Any]) -> str:
        return f"top-1 {number(metrics['top1'], 3)}, macro-F1 {number(metrics['macro_f1'], 3)}"
