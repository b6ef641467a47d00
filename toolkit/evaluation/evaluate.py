"""Measure a bundle on labelled pictures: the numbers that training ships and that anyone can repeat."""

from __future__ import annotations

from typing import Any

from toolkit.data.table import Progress, Table
from toolkit.errors import UserError
from toolkit.evaluation.task import evaluation_task
from toolkit.inference.model import Model


def measure(model: Model, table: Table[Any], split: str, progress: Progress | None = None) -> dict[str, Any]:
    """Return ``metrics.json``: what was measured on which data, by the task's own numbers (see `Evaluation`).

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
    return {
        "bundle": {"name": model.name, "task": model.spec.task, "version": model.spec.version},
        "data": {"split": split, "pictures": len(table), table.unit: counted},
        **task.measure(model, table, task.predict_all(model, table, progress)),
    }
