"""Metrics for people and for programs: tables on the terminal and in a model card, or JSON."""

from __future__ import annotations

import json
from typing import Any

from toolkit.evaluation.changes import changes_section
from toolkit.evaluation.sections import Section, as_lines, as_markdown
from toolkit.evaluation.task import evaluation_task


def as_json(metrics: dict[str, Any]) -> str:
    """The metrics as indented JSON, as ``metrics.json`` holds them."""
    return json.dumps(metrics, indent=2, ensure_ascii=False)


def as_table(metrics: dict[str, Any]) -> str:
    """The metrics as text: what was measured, and a table of each of the task's sections."""
    lines = [f"{counted(metrics)}, split {metrics['data']['split']}{_precision(metrics)}"]
    for section in all_sections(metrics):
        lines += ["", *as_lines(section)]
    return "\n".join([*lines, "", interval_note(metrics)])


def as_card(metrics: dict[str, Any]) -> str:
    """The metrics as Markdown."""
    measured = f"On {counted(metrics)} of the split `{metrics['data']['split']}`{_precision(metrics)}."
    lines = [f"{measured} {interval_note(metrics)}"]
    for section in all_sections(metrics):
        lines += ["", *as_markdown(section)]
    return "\n".join(lines)


def all_sections(metrics: dict[str, Any]) -> list[Section]:
    """The task's tables, and that of changed pictures."""
    return [*evaluation_task(metrics["bundle"]["task"]).sections(metrics), *changes_section(metrics)]


def _precision(metrics: dict[str, Any]) -> str:
    """Said of another than fp32."""
    precision = metrics["bundle"].get("precision")
    return "" if precision is None else f", computed in {precision}"


def counted(metrics: dict[str, Any]) -> str:
    """How much was measured: ``133 pictures, 462 boxes``; pixels are too many to tell."""
    data, one = metrics["data"], {"pictures": "picture", "boxes": "box"}
    return ", ".join(f"{data[unit]:,} {unit if data[unit] != 1 else one[unit]}" for unit in one if unit in data)


def interval_note(metrics: dict[str, Any]) -> str:
    """What the brackets are, or why there are none."""
    method: str = metrics["intervals"]["method"]
    if not method.startswith("95 %"):
        return f"{method[:1].upper()}{method[1:]}."
    of_a_group = metrics["intervals"].get("method_of_a_group", "")
    inside = " (of a group: over its pictures)" if of_a_group else ""
    return f"In brackets the 95 % interval{inside}: {method.removeprefix('95 % ')}."
