"""COCO's twelve numbers, per class too, from the in-memory table and a list of detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.data.table import BoxSample, Table

# Evaluation ranks everything the network says: precision and recall are read at all scores.
SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.001, 0.65, 100
PROTOCOL = ops.CocoProtocol(max_detections=(1, 10, MAX_DETECTIONS))


@dataclass(frozen=True)
class Detections:
    """Of one picture: boxes float32 [N, 4] xyxy in its pixels, scores float32 [N], class_ids int64 [N]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def match_detections(table: Table[BoxSample], detections: Sequence[Detections]) -> ops.CocoMatches:
    """Match the detections of each picture of ``table``, by COCO's protocol."""
    samples = table.samples
    return ops.coco_match(
        _xywh([found.boxes for found in detections]),
        _column([found.scores for found in detections], np.float64),
        _column([found.class_ids for found in detections], np.int64),
        _xywh([sample.boxes for sample in samples]),
        _column([sample.class_ids for sample in samples], np.int64),
        classes=len(table.class_names),
        pictures=np.repeat(np.arange(len(samples)), [len(found.scores) for found in detections]),
        truth_pictures=np.repeat(np.arange(len(samples)), [len(sample.boxes) for sample in samples]),
        picture_count=len(samples),
        truth_areas=_column([sample.areas for sample in samples], np.float64),
        crowd=_column([sample.crowd for sample in samples], np.bool_),
        protocol=PROTOCOL,
    )


def _column(parts: Sequence[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False)


def _xywh(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    boxes = np.concatenate([np.empty((0, 4), np.float32), *parts]).astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def precision_curves(matches: ops.CocoMatches) -> NDArray[np.float64]:
    """Return precision [101, C] at the 101 recalls of COCO's protocol, IoU 0.5; -1 where a class has no box."""
    return ops.coco_accumulate(matches, areas=["all"]).precision[0, :, :, 0, -1]


def summarise(matches: ops.CocoMatches, class_names: Sequence[str]) -> dict[str, Any]:
    """Return ``{"AP": ..., ...}`` (COCO's twelve, ``None`` where there is nothing to find) and ``per_class``."""
    curves = ops.coco_accumulate(matches)
    boxes = np.bincount(matches.truth_class_ids, minlength=len(class_names))
    numbers: dict[str, Any] = {name: None if number < 0 else number for name, number in curves.numbers().items()}
    numbers["per_class"] = {
        name: {
            "AP": _mean(curves.precision[:, :, k, 0, -1]),
            "AP50": _mean(curves.precision[0, :, k, 0, -1]),
            "AR100": _mean(curves.recall[:, k, 0, -1]),
            "boxes": int(boxes[k]),
        }
        for k, name in enumerate(class_names)
    }
    return numbers


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
