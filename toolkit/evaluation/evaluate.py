"""Measure a bundle on labelled pictures: the numbers that training ships and that anyone can repeat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.data.table import Progress, Table
from toolkit.errors import UserError
from toolkit.evaluation.task import evaluation_task
from toolkit.inference.model import Model


@dataclass(frozen=True)
class Measured:
    """``metrics`` are what ``metrics.json`` holds; ``predictions`` on the pictures of ``table`` are the task's own."""

    table: Table[Any]
    predictions: Any
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """A finished measurement; ``about`` says by name on what it was done."""

    model: Model
    measured: Measured
    about: dict[str, str]

    @property
    def metrics(self) -> dict[str, Any]:
        return self.measured.metrics

    def write_report(self, folder: str | Path, progress: Progress | None = None) -> Path:
        """Write ``index.html``, which needs nothing but itself, and ``metrics.json``; return the page's path."""
        from toolkit.evaluation.report import draw_report, write_report

        return write_report(Path(folder), draw_report(self.model, self.measured, self.about, progress))


def measure(model: Model, table: Table[Any], split: str, progress: Progress | None = None) -> Measured:
    """Predict on every picture and measure, by the task's own numbers (see `Evaluation`).

    Raises ``UserError`` when the table is empty or its classes are not the bundle's, by name.
    """
    if not len(table):
        raise UserError(f"evaluation: the split {split!r} has no pictures; choose another with --split")
    if table.class_names != model.labels:
        raise UserError(
            f"evaluation: the data's classes are {', '.join(table.class_names)}, the bundle's"
            f" {', '.join(model.labels)}; list the bundle's names in data.classes, in its order"
        )
    task = evaluation_task(model.spec.task)
    counted = sum(sum(row.values()) for row in table.counts().values())
    predictions = task.predict_all(model, table, progress)
    quantized = {} if model.precision == "fp32" else {"precision": model.precision}
    metrics = {
        "bundle": {"name": model.name, "task": model.spec.task, "version": model.spec.version, **quantized},
        "data": {"split": split, "pictures": len(table), table.unit: counted},
        **task.measure(model, table, predictions),
    }
    return Measured(table, predictions, metrics)
