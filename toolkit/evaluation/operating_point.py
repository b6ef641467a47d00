"""Precision and recall at the threshold that a bundle ships with, and the confusion matrix behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.data.table import BoxSample, Table
from toolkit.evaluation.coco_metrics import Detections

MATCH_IOU = 0.5


def confusion_matrix(
    table: Table[BoxSample], detections: Sequence[Detections], score_threshold: float
) -> NDArray[np.int64]:
    """Return int64 [C + 1, C + 1]: rows are true classes, columns predicted ones; the last is "nothing there".

    Detections are taken by falling score; each takes the free true box that it overlaps most (IoU 0.5 or more),
    whatever its class. Crowd boxes and detections on them do not count.
    """
    classes = len(table.class_names)
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for sample, found in zip(table.samples, detections, strict=True):
        kept = found.scores >= score_threshold
        boxes, predicted = found.boxes[kept], found.class_ids[kept]
        iou = ops.box_iou(np.ascontiguousarray(boxes), sample.boxes)
        free = ~sample.crowd
        for row, class_id in zip(iou, predicted, strict=True):
            best = int(np.where(free, row, -1).argmax()) if len(row) else -1
            if best >= 0 and free[best] and row[best] >= MATCH_IOU:
                free[best] = False
                matrix[sample.class_ids[best], class_id] += 1
            elif not (len(row) and row[sample.crowd].max(initial=0) >= MATCH_IOU):
                matrix[classes, class_id] += 1
        matrix[:-1, classes] += np.bincount(sample.class_ids[free], minlength=classes)
    return matrix


def at_threshold(
    table: Table[BoxSample], detections: Sequence[Detections], score_threshold: float, iou_threshold: float
) -> dict[str, Any]:
    """Precision and recall at the shipped score threshold: of the objects whatever their class, and per class."""
    shipped = [_suppress(found, iou_threshold) for found in detections]
    matrix = confusion_matrix(table, shipped, score_threshold)
    hits, misses, extra = matrix[:-1, :-1], matrix[:-1, -1], matrix[-1, :-1]
    return {
        "score_threshold": score_threshold,
        "found": _share(hits.sum(), hits.sum() + misses.sum()),
        "precision_of_boxes": _share(hits.sum(), hits.sum() + extra.sum()),
        "class_right_of_found": _share(np.trace(hits), hits.sum()),
        "per_class": {
            name: {
                "recall": _share(matrix[i, i], matrix[i].sum()),
                "precision": _share(matrix[i, i], matrix[:, i].sum()),
            }
            for i, name in enumerate(table.class_names)
        },
        "confusion_matrix": matrix.tolist(),
        "confusion_labels": [*table.class_names, "nothing"],
    }


def _suppress(found: Detections, iou_threshold: float) -> Detections:
    """The shipped suppression may be tighter than evaluation's; a detection kept by the tighter one is in the list."""
    kept = ops.batched_nms(
        np.ascontiguousarray(found.boxes),
        np.ascontiguousarray(found.scores),
        np.ascontiguousarray(found.class_ids),
        iou_threshold,
    )
    return Detections(found.boxes[kept], found.scores[kept], found.class_ids[kept])


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None
