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


def bootstrap(matched: Any, rounds: int = 200, seed: int = 0) -> dict[str, Any]:
    """Return 95 % percentile intervals of AP and AP50, overall and per class, over resampled pictures.

    Matching is done once; each round draws the pictures with replacement and accumulates anew.
    """
    params = matched.params
    classes, pictures = len(params.catIds), len(params.imgIds)
    cells = np.empty(len(matched.evalImgs), object)
    cells[:] = matched.evalImgs
    all_areas = cells.reshape(classes, len(params.areaRng), pictures)[:, :1]
    saved = matched.evalImgs, params.areaRng, params.areaRngLbl, params.maxDets, matched._paramsEval
    rng = np.random.default_rng(seed)
    drawn = np.empty((rounds, 2, classes + 1))
    try:
        params.areaRng, params.areaRngLbl, params.maxDets = [saved[1][0]], [saved[2][0]], [MAX_DETECTIONS]
        matched._paramsEval = params
        for r in range(rounds):
            matched.evalImgs = all_areas[:, :, rng.integers(pictures, size=pictures)].ravel().tolist()
            with contextlib.redirect_stdout(io.StringIO()):
                matched.accumulate()
            precision = matched.eval["precision"][:, :, :, 0, 0]
            for row, part in enumerate((precision, precision[:1])):
                per_class = [_mean(part[:, :, k]) for k in range(classes)]
                known = [v for v in per_class if v is not None]
                drawn[r, row] = [np.nan if v is None else v for v in (*per_class, np.mean(known) if known else None)]
    finally:
        matched.evalImgs, params.areaRng, params.areaRngLbl, params.maxDets, matched._paramsEval = saved
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    names = [matched.cocoGt.cats[k]["name"] for k in params.catIds]
    return {
        **{name: [float(low[row, -1]), float(high[row, -1])] for row, name in enumerate(("AP", "AP50"))},
        "per_class": {
            label: {name: [float(low[row, k]), float(high[row, k])] for row, name in enumerate(("AP", "AP50"))}
            for k, label in enumerate(names)
        },
        "method": f"95 % percentile bootstrap over pictures, {rounds} rounds, seed {seed}",
    }
