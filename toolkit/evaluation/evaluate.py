"""Measure a bundle on labelled pictures: the numbers that training ships and that anyone can repeat."""

from __future__ import annotations

from typing import Any

from toolkit.data.table import Progress, Table
from toolkit.errors import UserError
from toolkit.evaluation.coco_metrics import (
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    SCORE_THRESHOLD,
    Detections,
    bootstrap,
    evaluator,
    summarise,
)
from toolkit.evaluation.operating_point import at_threshold
from toolkit.inference.model import Model


def detect_all(model: Model, table: Table, progress: Progress | None = None) -> list[Detections]:
    """Run the bundle over every picture of ``table``, one at a time, keeping all scores above 0.001."""
    paths = [sample.path for sample in table.samples]
    found = []
    results = model.predict(
        paths,
        batch_size=1,
        score_threshold=SCORE_THRESHOLD,
        iou_threshold=IOU_THRESHOLD,
        max_detections=MAX_DETECTIONS,
        on_error="raise",
    )
    for done, result in enumerate(results, 1):
        found.append(Detections(result.boxes, result.scores, result.class_ids))  # type: ignore[union-attr]
        if progress:
            progress("evaluating", done, len(paths))
    return found


def measure(model: Model, table: Table, split: str, progress: Progress | None = None) -> dict[str, Any]:
    """Return ``metrics.json``: COCO's numbers with 95 % intervals, per class and per source, and the operating point.

    Raises ``UserError`` when the table is empty or its classes are not the bundle's, by name.
    """
    if not len(table):
        raise UserError(f"evaluation: the split {split!r} has no pictures; choose another with --split")
    if table.class_names != model.labels:
        raise UserError(
            f"evaluation: the data's classes are {', '.join(table.class_names)}, the bundle's"
            f" {', '.join(model.labels)}; list the bundle's names in data.classes, in its order"
        )
    detections = detect_all(model, table, progress)
    matched = evaluator(table, detections)
    numbers = summarise(matched)
    per_class = numbers.pop("per_class")
    return {
        "bundle": {"name": model.name, "version": model.spec.version},
        "data": {"split": split, "pictures": len(table), "boxes": sum(row["boxes"] for row in per_class.values())},
        "settings": {
            "score_threshold": SCORE_THRESHOLD,
            "iou_threshold": IOU_THRESHOLD,
            "max_detections": MAX_DETECTIONS,
            "input_size": list(model.spec.preprocessing.input_size),
        },
        "coco": numbers,
        "per_class": per_class,
        "intervals": bootstrap(matched),
        "per_source": _per_source(table, detections),
        "operating_point": at_threshold(
            table, detections, model.spec.postprocessing.score_threshold, model.spec.postprocessing.iou_threshold
        ),
    }


def _per_source(table: Table, detections: list[Detections]) -> dict[str, Any]:
    """AP and AP50 of each source of pictures, where the data names sources."""
    sources = sorted({sample.source for sample in table.samples if sample.source})
    rows = {}
    for source in sources:
        chosen = [i for i, sample in enumerate(table.samples) if sample.source == source]
        part = Table(table.class_names, tuple(table.samples[i] for i in chosen))
        numbers = summarise(evaluator(part, [detections[i] for i in chosen]))
        rows[source] = {"AP": numbers["AP"], "AP50": numbers["AP50"], "pictures": len(chosen)}
    return rows
