"""Metrics for people and for programs: a table on the terminal, or JSON."""

from __future__ import annotations

import json
from typing import Any


def as_json(metrics: dict[str, Any]) -> str:
    """The metrics as indented JSON, as ``metrics.json`` holds them."""
    return json.dumps(metrics, indent=2, ensure_ascii=False)


def as_table(metrics: dict[str, Any]) -> str:
    """The metrics as text: COCO's numbers, a row a class and a source, and the operating point."""
    data, intervals, point = metrics["data"], metrics["intervals"], metrics["operating_point"]
    width = max(len(name) for name in ("all classes", *metrics["per_class"], *metrics["per_source"]))
    lines = [f"{data['pictures']} pictures, {data['boxes']} boxes, split {data['split']}"]
    for name, row, around in [
        ("all classes", metrics["coco"], intervals),
        *((name, row, intervals["per_class"][name]) for name, row in metrics["per_class"].items()),
    ]:
        lines.append(
            f"{name:{width}}  AP {_ranged(row['AP'], around['AP'])}  AP50 {_ranged(row['AP50'], around['AP50'])}"
        )
    for name, row in metrics["per_source"].items():
        lines.append(
            f"{name:{width}}  AP {_number(row['AP'])}  AP50 {_number(row['AP50'])}  ({row['pictures']} pictures)"
        )
    lines.append("  ".join(f"{name} {_number(value)}" for name, value in metrics["coco"].items()))
    lines.append(
        f"at score {point['score_threshold']:g}: found {_number(point['found'])}, precision of boxes"
        f" {_number(point['precision_of_boxes'])}, class right of found {_number(point['class_right_of_found'])}"
    )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "   -  " if value is None or value != value else f"{value:.4f}"


def _ranged(value: float | None, around: list[float]) -> str:
    return f"{_number(value)} [{_number(around[0])}, {_number(around[1])}]"
