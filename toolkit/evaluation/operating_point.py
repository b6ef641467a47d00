"""What a detector's bundle answers at the threshold that it ships with, against what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.data.table import BoxSample
from toolkit.evaluation.coco_metrics import Detections
from toolkit.evaluation.confusions import Confusions

MATCH_IOU = 0.5
NOTHING, CROWD = -1, -2  # what a box lies on that lies on no true box alone


@dataclass(frozen=True)
class Judged:
    """One picture's answer: ``given`` at the shipped threshold, falling scores; ``truth`` int64 [N], the position of
    the true box that each lies on, NOTHING, or CROWD, which counts neither way; ``missed`` the true boxes that none
    lies on.
    """

    given: Detections
    truth: NDArray[np.int64]
    missed: NDArray[np.int64]


def shipped_answer(found: Detections, shipped: DetectionPostprocessing) -> Detections:
    """What the bundle gives of all that evaluation asked for; what its tighter suppression keeps is among that."""
    sure = found.scores >= shipped.score_threshold
    given = Detections(found.boxes[sure], found.scores[sure], found.class_ids[sure])
    kept = ops.batched_nms(given.boxes, given.scores, given.class_ids, shipped.iou_threshold)[: shipped.max_detections]
    return Detections(given.boxes[kept], given.scores[kept], given.class_ids[kept])


def judge(sample: BoxSample, given: Detections) -> Judged:
    """Detections are taken by falling score; each takes the free true box that it overlaps most (IoU 0.5 or more),
    whatever its class.
    """
    iou = ops.box_iou(np.ascontiguousarray(given.boxes), sample.boxes)
    free = ~sample.crowd
    truth = np.full(len(iou), NOTHING)
    for detection, row in enumerate(iou):
        best = int(np.where(free, row, -1).argmax()) if len(row) else -1
        if best >= 0 and free[best] and row[best] >= MATCH_IOU:
            free[best], truth[detection] = False, best
        elif len(row) and row[sample.crowd].max(initial=0) >= MATCH_IOU:
            truth[detection] = CROWD
    return Judged(given, truth, np.flatnonzero(free))


def answers_of(
    samples: Sequence[BoxSample], judged: Sequence[Judged]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """Of all boxes but those on crowds: whose picture, what score, and whether on an object of its class; [N] each."""
    pictures, scores, right = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    for picture, (sample, answer) in enumerate(zip(samples, judged, strict=True)):
        counted = answer.truth != CROWD
        true = np.append(sample.class_ids, NOTHING)[answer.truth[counted]]  # NOTHING, -1, is the last
        pictures.append(np.full(len(true), picture))
        scores.append(answer.given.scores[counted])
        right.append(true == answer.given.class_ids[counted])
    return np.concatenate(pictures), np.concatenate(scores), np.concatenate(right)


def confusions(samples: Sequence[BoxSample], judged: Sequence[Judged], classes: int) -> Confusions:
    """True and given class of each object and box; class ``classes`` is "nothing there"."""
    columns: list[list[NDArray[np.int64]]] = [[], [], []]
    for picture, (sample, answer) in enumerate(zip(samples, judged, strict=True)):
        counted = answer.truth != CROWD
        on = answer.truth[counted]
        of_given = np.append(sample.class_ids, classes)[on]  # NOTHING, -1, is the last
        true = np.concatenate([of_given, sample.class_ids[answer.missed]])
        given = np.concatenate([answer.given.class_ids[counted], np.full(len(answer.missed), classes)])
        for column, values in zip(columns, (np.full(len(true), picture), true, given), strict=True):
            column.append(values)
    picture_of, true, given = (np.concatenate([np.zeros(0, np.int64), *column]) for column in columns)
    return Confusions(len(samples), classes + 1, picture_of, true, given, np.ones(len(true), np.int64))
