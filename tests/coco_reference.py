"""Drawn detections with true objects, and what pycocotools makes of them."""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import ops


@dataclass(frozen=True, eq=False)
class Scene:
    """Rows of detections and true objects, as `ops.coco_match` takes them. ``areas`` None: of the boxes or masks."""

    classes: int
    picture_count: int
    found: Any
    scores: np.ndarray
    class_ids: np.ndarray
    pictures: np.ndarray
    truths: Any
    truth_class_ids: np.ndarray
    truth_pictures: np.ndarray
    truth_areas: np.ndarray
    crowd: np.ndarray
    ignore: np.ndarray

    def match(self, **changes: Any) -> ops.CocoMatches:
        names = ("classes", "picture_count", "pictures", "truth_pictures", "truth_areas", "crowd")
        named = {name: getattr(self, name) for name in names} | changes
        return ops.coco_match(self.found, self.scores, self.class_ids, self.truths, self.truth_class_ids, **named)

    def of(self, chosen: Any) -> Scene:
        """The rows of some pictures, which keep their numbers."""
        rows, true_rows = np.isin(self.pictures, chosen), np.isin(self.truth_pictures, chosen)
        detections = {name: _take(getattr(self, name), rows) for name in ("found", "scores", "class_ids", "pictures")}
        names = ("truths", "truth_class_ids", "truth_pictures", "truth_areas", "crowd", "ignore")
        return replace(self, **detections, **{name: _take(getattr(self, name), true_rows) for name in names})


def _take(rows: Any, chosen: np.ndarray) -> Any:
    return [rows[i] for i in np.flatnonzero(chosen)] if isinstance(rows, list) else rows[chosen]


def drawn_scene(
    seed: int,
    pictures: int = 12,
    classes: int = 4,
    each: int = 12,
    *,
    coarse: bool = False,
    crowds: float = 0.1,
    sorted_rows: bool = True,
) -> Scene:
    """Boxes of all sizes, most detections near a true one. ``coarse``: few places and scores, so that many are equal.

    Some pictures and the last class have no true objects, some pictures no detections.
    """
    rng = np.random.default_rng(seed)
    true_count, count = pictures * each // 3, pictures * each
    truth_pictures = np.sort(rng.integers(0, max(pictures - 2, 1), true_count))
    truths = np.concatenate([rng.uniform(0, 300, (true_count, 2)), rng.uniform(5, 180, (true_count, 2))], 1)
    if coarse:
        truths = np.round(truths / 30) * 30
        truths[:, 2:] = truths[:, 2:].clip(30)
    near = rng.integers(0, true_count, count)
    jitter = rng.normal(0, 0.15, (count, 4)) * np.tile(truths[near, 2:], 2)
    found = truths[near] + (np.round(jitter / 10) * 10 if coarse else jitter)
    found[:, 2:] = np.abs(found[:, 2:])
    truth_class_ids = rng.integers(0, max(classes - 1, 1), true_count)
    stays = rng.random(count) < 0.8
    class_ids = np.where(stays, truth_class_ids[near], rng.integers(0, classes, count))
    in_pictures = np.where(stays, truth_pictures[near], rng.integers(0, pictures, count))
    in_pictures[in_pictures == 1] = 0  # nothing is found in the second picture
    order = np.argsort(in_pictures, kind="stable") if sorted_rows else np.arange(count)
    true_order = np.arange(true_count) if sorted_rows else rng.permutation(true_count)
    return Scene(
        classes=classes,
        picture_count=pictures,
        found=found[order],
        scores=np.round(rng.random(count), 1 if coarse else 6),
        class_ids=class_ids[order],
        pictures=in_pictures[order],
        truths=truths[true_order],
        truth_class_ids=truth_class_ids[true_order],
        truth_pictures=truth_pictures[true_order],
        truth_areas=truths[true_order, 2] * truths[true_order, 3] * rng.uniform(0.3, 1, true_count),
        crowd=rng.random(true_count) < crowds,
        ignore=rng.random(true_count) < crowds,
    )


class _WithIgnore(COCOeval):
    """pycocotools as it would be if it did not overwrite an annotation's own ``ignore``."""

    def _prepare(self) -> None:
        super()._prepare()
        for objects in self._gts.values():
            for one in objects:
                one["ignore"] = one["own_ignore"] or one["iscrowd"]


def evaluated(scene: Scene, protocol: ops.CocoProtocol = ops.CocoProtocol(), *, ignore: bool = False) -> Any:  # noqa: B008
    """COCOeval after ``evaluate()``."""
    kind = "segm" if isinstance(scene.found, list) else "bbox"
    shape = "segmentation" if kind == "segm" else "bbox"

    def rows(shapes: Any) -> list[Any]:
        return shapes if isinstance(shapes, list) else shapes.tolist()

    truths = [
        {"image_id": int(p), "category_id": int(c), shape: s, "area": float(a), "iscrowd": int(crowd), "id": i + 1,
         "own_ignore": int(own)}
        for i, (p, c, s, a, crowd, own) in enumerate(zip(
            scene.truth_pictures, scene.truth_class_ids, rows(scene.truths), scene.truth_areas, scene.crowd,
            scene.ignore, strict=True))
    ]  # fmt: skip
    answers = [
        {"image_id": int(p), "category_id": int(c), shape: s, "score": float(score)}
        for p, c, s, score in zip(scene.pictures, scene.class_ids, rows(scene.found), scene.scores, strict=True)
    ]
    images = [{"id": i, "height": 400, "width": 500} for i in range(scene.picture_count)]
    dataset = {"info": {}, "images": images, "categories": [{"id": k, "name": str(k)} for k in range(scene.classes)]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco, result = _indexed({**dataset, "annotations": truths}), _indexed({**dataset, "annotations": []})
        reference = (_WithIgnore if ignore else COCOeval)(coco, coco.loadRes(answers) if answers else result, kind)
        reference.params.iouThrs = np.array(protocol.iou_thresholds)
        reference.params.recThrs = np.array(protocol.recall_thresholds)
        reference.params.areaRng = [list(ends) for ends in protocol.area_ranges.values()]
        reference.params.areaRngLbl = list(protocol.area_ranges)
        reference.params.maxDets = list(protocol.max_detections)
        reference.evaluate()
    return reference


def _indexed(dataset: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def weighed(reference: Any, weights: np.ndarray) -> Any:
    """The same of a set in which each picture stands so often."""
    params, cells = reference.params, np.empty(len(reference.evalImgs), object)
    cells[:] = reference.evalImgs
    by_picture = cells.reshape(len(params.catIds), len(params.areaRng), len(params.imgIds))
    again = copy.copy(reference)
    again.evalImgs = np.repeat(by_picture, weights, axis=2).ravel().tolist()
    again.params = copy.copy(params)
    again.params.imgIds = list(range(weights.sum()))
    again._paramsEval = again.params
    return again


def accumulated(reference: Any) -> dict[str, np.ndarray]:
    """pycocotools' arrays: precision, recall and scores."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference.accumulate()
    return {name: reference.eval[name] for name in ("precision", "recall", "scores")}


def summarised(reference: Any) -> list[float]:
    """pycocotools' twelve numbers, after ``accumulated``."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference.summarize()
    return [float(number) for number in reference.stats]


def assert_same_curves(curves: ops.CocoCurves, wanted: dict[str, np.ndarray]) -> None:
    """Equal to the last bit."""
    for name, array in wanted.items():
        np.testing.assert_array_equal(getattr(curves, name), array, err_msg=name)
