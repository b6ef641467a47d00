"""COCO's twelve numbers, per class too, by pycocotools, from the in-memory table and a list of detections."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.data.table import BoxSample, Table
from toolkit.evaluation.average_precision import ClassMatches

NUMBERS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
           "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large")  # fmt: skip

# Evaluation ranks everything the network says: precision and recall are read at all scores.
SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.001, 0.65, 100


@dataclass(frozen=True)
class Detections:
    """Of one picture: boxes float32 [N, 4] xyxy in its pixels, scores float32 [N], class_ids int64 [N]."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def _xywh(box: NDArray[np.float32]) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def evaluator(table: Table[BoxSample], detections: Sequence[Detections]) -> Any:
    """Return pycocotools' COCOeval after matching (``evaluate``), for the pictures of ``table`` in their order."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = [
        {"image_id": i, "category_id": int(c), "bbox": _xywh(b), "area": float(a), "iscrowd": int(crowd)}
        for i, sample in enumerate(table.samples)
        for b, c, crowd, a in zip(sample.boxes, sample.class_ids, sample.crowd, sample.areas, strict=True)
    ]
    answers = [
        {"image_id": i, "category_id": int(c), "bbox": _xywh(b), "score": float(s)}
        for i, found in enumerate(detections)
        for b, s, c in zip(found.boxes, found.scores, found.class_ids, strict=True)
    ]
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": i, "height": s.size[0], "width": s.size[1]} for i, s in enumerate(table.samples)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(table.class_names)],
        "annotations": [{**truth, "id": i + 1} for i, truth in enumerate(truths)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        result = COCOeval(coco, coco.loadRes(answers) if answers else _empty_result(coco), "bbox")
        result.params.maxDets = [1, 10, MAX_DETECTIONS]
        result.evaluate()
    return result


def _empty_result(coco: Any) -> Any:
    """pycocotools refuses an empty answer list; a detector may well have found nothing."""
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _number(value: float) -> float | None:
    return None if value < 0 or np.isnan(value) else float(value)  # COCO's -1: nothing of that kind to find


def precision_curves(matched: Any) -> NDArray[np.float64]:
    """Return precision [101, C] at the 101 recalls of COCO's protocol, IoU 0.5; -1 where a class has no box."""
    with contextlib.redirect_stdout(io.StringIO()):
        matched.accumulate()
    curves: NDArray[np.float64] = matched.eval["precision"][0, :, :, 0, -1]
    return curves


def summarise(matched: Any) -> dict[str, Any]:
    """Return ``{"AP": ..., ...}`` (COCO's twelve, ``None`` where there is nothing to find) and ``per_class``."""
    with contextlib.redirect_stdout(io.StringIO()):
        matched.accumulate()
        matched.summarize()
    numbers: dict[str, Any] = {name: _number(float(v)) for name, v in zip(NUMBERS, matched.stats, strict=True)}
    precision, recall = matched.eval["precision"], matched.eval["recall"]  # [T,R,K,A,M], [T,K,A,M]
    numbers["per_class"] = {
        matched.cocoGt.cats[k]["name"]: {
            "AP": _mean(precision[:, :, i, 0, -1]),
            "AP50": _mean(precision[0, :, i, 0, -1]),
            "AR100": _mean(recall[:, i, 0, -1]),
            "boxes": len(matched.cocoGt.getAnnIds(catIds=[k])),
        }
        for i, k in enumerate(matched.params.catIds)
    }
    return numbers


def _mean(values: NDArray[np.float64]) -> float | None:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else None


def class_matches(matched: Any) -> list[ClassMatches]:
    """What pycocotools matched, of each class and objects of any size."""
    params = matched.params
    pictures, thresholds = len(params.imgIds), len(params.iouThrs)
    cells = np.empty(len(matched.evalImgs), object)
    cells[:] = matched.evalImgs
    return [_of_class(row[0], pictures, thresholds) for row in cells.reshape(-1, len(params.areaRng), pictures)]


def _of_class(cells: Any, pictures: int, thresholds: int) -> ClassMatches:
    """``cells`` holds a block for each picture, None where it has neither object nor detection of the class."""
    known = [(picture, cell) for picture, cell in enumerate(cells) if cell is not None]
    truths = np.zeros(pictures, np.int64)
    for number, cell in known:
        truths[number] = np.count_nonzero(~np.asarray(cell["gtIgnore"], np.bool_))
    scores = np.concatenate([np.zeros(0), *(cell["dtScores"] for _, cell in known)])
    order = np.argsort(-scores, kind="stable")
    numbers, lengths = [number for number, _ in known], [len(cell["dtScores"]) for _, cell in known]
    picture = np.repeat(np.array(numbers, np.int64), np.array(lengths, np.int64))
    none = np.zeros((thresholds, 0), np.bool_)
    hit = np.concatenate([none, *(cell["dtMatches"] > 0 for _, cell in known)], axis=1)
    ignored = np.concatenate([none, *(np.asarray(cell["dtIgnore"], np.bool_) for _, cell in known)], axis=1)
    return ClassMatches(picture[order], hit[:, order], ~ignored[:, order], truths)
