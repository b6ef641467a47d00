"""The numbers that are told of a source, told of all pictures as if they were of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolkit.data.table import Table
from toolkit.evaluation.task import Evaluation
from toolkit.inference.model import Model

WHOLE = "all"


def whole(table: Table[Any]) -> Table[Any]:
    """The same pictures, all of one source."""
    return Table(table.class_names, tuple(replace(sample, source=WHOLE) for sample in table.samples))


def numbers_of(task: Evaluation, metrics: dict[str, Any], source: str = WHOLE) -> dict[str, dict[str, Any]]:
    """What is told of a source, for JSON: the ``value`` and ``interval`` of each number by its name."""
    cells = task.of_source(metrics, source)
    return {name: {"value": cell.value, "interval": cell.around} for name, cell in cells.items()}


def numbers_of_all(task: Evaluation, model: Model, table: Table[Any], predictions: Any) -> dict[str, dict[str, Any]]:
    """What is told of a source, of all pictures of ``table``."""
    return numbers_of(task, task.measure(model, whole(table), predictions))
