"""Measuring classifiers: right answers, and how far the probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.bundle_spec import ClassificationPostprocessing
from toolkit.data.table import LabelSample, Progress, Table
from toolkit.drawing_text import RGB, Panel, Row
from toolkit.evaluation.abstain_elsewhere import abstain_elsewhere
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.plots import Plot, confusion_plot, reliability_plot
from toolkit.evaluation.sections import Ranged, Section, at, of_parts, overall
from toolkit.evaluation.task import Case, Evaluation, Worst, predictions
from toolkit.evaluation.trust import abstention_columns, told_abstention
from toolkit.inference.model import Model


class ClassificationEvaluation(Evaluation):
    """Top-1 and macro-F1, per class and per source."""

    class_number = "recall"

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
            abstention=model.spec.abstention,
            bins={
                name: [table.class_names.index(part) for part in parts] for name, parts in _shipped(model).bins.items()
            },
        )

    def across(
        self, model: Model, folds: Mapping[str, tuple[Table[LabelSample], NDArray[np.float32]]]
    ) -> dict[str, Any]:
        """What abstaining keeps on sources that were not trained on, with thresholds from the other folds."""
        if (rule := model.spec.abstention) is None:
            return {}
        answers = {}
        for name, (table, found) in folds.items():
            truth = np.array([sample.class_id for sample in table.samples], np.int64)
            answers[name] = found.max(1).astype(np.float64), found.argmax(1) == truth
        return {"abstention": abstain_elsewhere(answers, rule.error_level)}

    def sections(self, metrics: dict[str, Any]) -> list[Section]:
        intervals = metrics["intervals"]
        of_class = ("recall", "precision", "f1")
        return [
            overall(
                ("top-1", at(metrics, intervals, "top1"), "the likeliest class is right"),
                ("top-5", at(metrics, intervals, "top5"), "the right class is among the five likeliest")
                if metrics["top5"] is not None
                else None,
                ("macro-recall", at(metrics, intervals, "macro_recall"), "mean recall of the classes that are there"),
                ("macro-F1", at(metrics, intervals, "macro_f1"), "mean of the classes' F1"),
                (
                    "calibration error",
                    at(metrics, intervals, "calibration", "expected_calibration_error"),
                    "mean distance of an answer's probability and how often such answers are right",
                ),
                (
                    "log likelihood",
                    at(metrics, intervals, "calibration", "negative_log_likelihood"),
                    "negative, nats a picture; 0 is sure and right",
                ),
                *told_abstention(metrics, "pictures"),
            ),
            Section(
                "class",
                ("recall", "precision", "F1", "pictures"),
                tuple(
                    (name, (*(at(row, intervals["per_class"][name], key) for key in of_class), row["pictures"]))
                    for name, row in metrics["per_class"].items()
                ),
            ),
            *_of_bins(metrics),
            *of_parts(metrics, self.columns(metrics)),
        ]

    def columns(self, metrics: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        columns = {"top-1": ("top1",), "macro-recall": ("macro_recall",), "macro-F1": ("macro_f1",)}
        return {**columns, **abstention_columns(metrics)}

    def headline(self, metrics: dict[str, Any]) -> dict[str, Ranged]:
        told = {"top-1": "top1", "macro-recall": "macro_recall", "macro-F1": "macro_f1"}
        return {name: at(metrics, metrics["intervals"], key) for name, key in told.items()}

    def class_numbers(self, metrics: dict[str, Any]) -> dict[str, float | None]:
        return {name: row["recall"] for name, row in metrics["per_class"].items()}

    def reliability(self, metrics: dict[str, Any], table: Table[LabelSample], predictions: NDArray[np.float32]) -> Plot:
        truth = np.array([sample.class_id for sample in table.samples], np.int64)
        return reliability_plot(predictions.max(1), predictions.argmax(1) == truth, "probability")

    def plots(self, metrics: dict[str, Any], table: Table[LabelSample], predictions: NDArray[np.float32]) -> list[Plot]:
        return [
            confusion_plot(metrics["confusion_matrix"], metrics["confusion_labels"], "pictures"),
            self.reliability(metrics, table, predictions),
        ]

    def worst(self, metrics: dict[str, Any], table: Table[LabelSample], predictions: NDArray[np.float32]) -> Worst:
        cases = []
        said, names = predictions.argmax(1), table.class_names
        for index in np.argsort(-predictions.max(1), kind="stable").tolist():
            truth, answer, row = table.samples[index].class_id, int(said[index]), predictions[index]
            if truth != answer:
                right, wrong = names[truth], names[answer]
                why = f"{right} called {wrong} with {row[answer]:.2f}; {right} has {row[truth]:.2f}"
                cases.append(Case(index, why))
        return Worst("Surest errors", "Pictures whose class is wrong, the surest answers first.", tuple(cases))

    def draw_truth(self, image: RGB, sample: LabelSample, class_names: tuple[str, ...]) -> RGB:
        drawn = image.copy()
        row = Row(sample.class_id, class_names[sample.class_id], "", 1.0)
        Panel((image.shape[1], image.shape[0]), [row]).draw(drawn, 0, 0)
        return drawn


def _shipped(model: Model) -> ClassificationPostprocessing:
    shipped = model.spec.postprocessing
    assert isinstance(shipped, ClassificationPostprocessing)
    return shipped


def _of_bins(metrics: dict[str, Any]) -> list[Section]:
    """How often the likeliest bin is right; nothing of a bundle without bins."""
    block = metrics.get("bins")
    if block is None:
        return []
    around = metrics["intervals"]["bins"]
    rows = [("all", (at(block, around, "right"), Ranged(None)))]
    rows += [
        (name, (at(row, around["each"][name], "recall"), at(row, around["each"][name], "precision")))
        for name, row in block["each"].items()
    ]
    return [Section("bin", ("recall", "precision"), tuple(rows))]
