"""Metrics for people and for programs: a table on the terminal, or JSON."""

from __future__ import annotations

import json
from typing import Any

from toolkit.evaluation.task import evaluation_task


def as_json(metrics: dict[str, Any]) -> str:
    """The metrics as indented JSON, as ``metrics.json`` holds them."""
    return json.dumps(metrics, indent=2, ensure_ascii=False)


def as_table(metrics: dict[str, Any]) -> str:
    """The metrics as text, told as their task tells them."""
    return "\n".join(evaluation_task(metrics["bundle"]["task"]).lines(metrics))
