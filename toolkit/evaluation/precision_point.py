"""How many objects a detector finds at the lowest score whose boxes still have a stated precision; of which sizes; and
whether it tells groups of classes apart in those.

A box is right here if it lies on an object (IoU 0.5), whatever its class: finding and telling apart are two questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.bundle_spec import DetectionMeasures
from toolkit.data.table import BoxSample
from toolkit.evaluation.operating_point import CROWD, Judged
from toolkit.evaluation.resampling import Numbers, once, plain, ratio, renumbered
from toolkit.evaluation.sections import Ranged, Row, Section, at

_MISSED = -1.0  # instead of a score


@dataclass(frozen=True)
class Findings:
    """Of P pictures all boxes but those on crowds, [N], falling scores, and all objects but crowds, [M].

    ``box_hit`` is whether a box lies on an object; ``score`` the object's box's, or below 0; ``true`` and ``given`` its
    class and the box's, -1 without one; ``size`` the square root of its area in pixels of the picture.
    """

    pictures: int
    box_picture: NDArray[np.int64]
    box_score: NDArray[np.float64]
    box_hit: NDArray[np.bool_]
    picture: NDArray[np.int64]
    size: NDArray[np.float64]
    score: NDArray[np.float64]
    true: NDArray[np.int64]
    given: NDArray[np.int64]

    @classmethod
    def of(cls, samples: Sequence[BoxSample], judged: Sequence[Judged]) -> Findings:
        """``judged`` are the answers at a score as low as anyone may ask for."""
        boxes: list[list[NDArray[Any]]] = [[], [], []]
        objects: list[list[NDArray[Any]]] = [[], [], [], [], []]
        for picture, (sample, answer) in enumerate(zip(samples, judged, strict=True)):
            counted = answer.truth != CROWD
            scores, truth = answer.given.scores[counted].astype(np.float64), answer.truth[counted]
            score, given = np.full(len(sample.boxes), _MISSED), np.full(len(sample.boxes), -1)
            hit = truth >= 0
            score[truth[hit]], given[truth[hit]] = scores[hit], answer.given.class_ids[counted][hit]
            sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]).astype(np.float64)
            real = ~sample.crowd
            for column, values in zip(boxes, (np.full(len(truth), picture), scores, hit), strict=True):
                column.append(values)
            told = (np.full(len(score), picture), np.sqrt(sides.prod(1)), score, sample.class_ids, given)
            for column, values in zip(objects, told, strict=True):
                column.append(values[real])
        owner, scores, hits = (np.concatenate(column) for column in boxes)
        order = np.argsort(-scores, kind="stable")
        return cls(len(samples), owner[order], scores[order], hits[order], *(np.concatenate(part) for part in objects))

    def part(self, rows: NDArray[np.int64]) -> Findings:
        """The pictures ``rows``, in that order."""
        boxes, box_picture = renumbered(self.box_picture, rows, self.pictures)
        kept, picture = renumbered(self.picture, rows, self.pictures)
        return replace(
            self,
            pictures=len(rows),
            box_picture=box_picture,
            box_score=self.box_score[boxes],
            box_hit=self.box_hit[boxes],
            picture=picture,
            size=self.size[kept],
            score=self.score[kept],
            true=self.true[kept],
            given=self.given[kept],
        )

    def threshold(self, precision: float, weights: NDArray[np.int64]) -> float | None:
        """The lowest score whose boxes have the precision, of pictures weighed [P]; None where none has."""
        counts = weights[self.box_picture]
        hits, boxes = np.cumsum(counts * self.box_hit), np.cumsum(counts)
        last = np.append(self.box_score[1:] < self.box_score[:-1], True)[: len(boxes)]  # of equal scores
        enough = np.flatnonzero(last & (boxes > 0) & (hits >= precision * boxes))
        return float(self.box_score[enough[-1]]) if len(enough) else None


def point_numbers(
    found: Findings, measures: DetectionMeasures, ids: Mapping[str, Sequence[int]], shipped: float
) -> Any:
    """The function of weights [R, P] that `measured` asks for; ``ids`` are the classes of each group."""
    score = found.threshold(measures.precision, once(found.pictures)[0])
    ranges = size_ranges(measures.sizes)

    def numbers(part: Findings, weights: NDArray[np.int64]) -> Numbers:
        by_object = weights[:, part.picture]
        sure = part.score >= (2.0 if score is None else score)
        sizes = {
            name: {
                "recall": ratio(by_object @ (sure & inside), by_object @ inside),
                "recall_shipped": ratio(by_object @ ((part.score >= shipped) & inside), by_object @ inside),
            }
            for name, (low, high) in ranges.items()
            for inside in [(part.size >= low) & (part.size < high)]
        }
        told: dict[str, Any] = {"recall": _recalls(part, measures.precision, weights), "by_size": sizes}
        if ids:
            told["groups"] = _groups(part, ids, by_object * sure)
        return told

    return numbers


def _recalls(part: Findings, precision: float, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """The recall at the score that has the precision in the round itself."""
    recalls = np.full(len(weights), np.nan)
    for index, row in enumerate(weights):
        score, objects = part.threshold(precision, row), row[part.picture]
        if score is not None and objects.sum():
            recalls[index] = objects[part.score >= score].sum() / objects.sum()
    return recalls


def _groups(part: Findings, ids: Mapping[str, Sequence[int]], found: NDArray[np.int64]) -> Numbers:
    """Of the objects ``found`` [R, M], how many have a box of the right group."""
    inside = {name: np.isin(part.true, classes) for name, classes in ids.items()}
    right = {name: np.isin(part.given, classes) & inside[name] for name, classes in ids.items()}
    each = {name: {"right": ratio(found @ right[name], found @ inside[name])} for name in ids}
    anything = sum(found @ right[name] for name in ids)
    return {"right": ratio(anything, found.sum(1)), "each": each}


def size_ranges(sizes: Sequence[float]) -> dict[str, tuple[float, float]]:
    """The ranges between the given sizes by name, and all but the smallest together."""
    ranges = {f"{low:g} to {high:g} px": (low, high) for low, high in pairwise(sizes)}
    first, last = sizes[0], sizes[-1]
    ranges = {f"under {first:g} px": (0.0, first), **ranges, f"{last:g} px and more": (last, np.inf)}
    return {**ranges, **({f"all from {first:g} px": (first, np.inf)} if len(sizes) > 1 else {})}


def settle_point(values: dict[str, Any], found: Findings, measures: DetectionMeasures) -> dict[str, Any]:
    """The block ``precision_point`` of ``metrics.json``, taken out of the measured ``values``."""
    block: dict[str, Any] = values.pop("precision_point")
    for name, (low, high) in size_ranges(measures.sizes).items():
        block["by_size"][name]["objects"] = int(((found.size >= low) & (found.size < high)).sum())
    score = found.threshold(measures.precision, once(found.pictures)[0])
    boxes = found.box_score >= (2.0 if score is None else score)
    reached = plain(ratio(found.box_hit[boxes].sum(), boxes.sum()))
    return {"precision": measures.precision, "score": score, "precision_reached": reached, **block}


def point_sections(metrics: dict[str, Any]) -> list[Section]:
    """The tables; none of what was measured before there were any."""
    block = metrics.get("precision_point")
    if block is None:
        return []
    around = metrics["intervals"]["precision_point"]
    shipped = f"found at score {metrics['operating_point']['score_threshold']:g}"
    rows: tuple[Row, ...] = tuple(
        (
            name,
            (
                at(row, around["by_size"][name], "recall"),
                at(row, around["by_size"][name], "recall_shipped"),
                row["objects"],
            ),
        )
        for name, row in block["by_size"].items()
    )
    sections = [Section("size of object", (f"found {_point(block)}", shipped, "objects"), rows)]
    if groups := block.get("groups"):
        each = around["groups"]["each"]
        told: list[Row] = [("all", (at(groups, around["groups"], "right"),))]
        told += [(name, (at(row, each[name], "right"),)) for name, row in groups["each"].items()]
        sections.append(Section("group of classes", (f"right of the objects found {_point(block)}",), tuple(told)))
    return sections


def told_point(metrics: dict[str, Any]) -> list[tuple[str, Ranged, str]]:
    """The row of it among the overall numbers."""
    block = metrics.get("precision_point")
    if block is None:
        return []
    around = metrics["intervals"]["precision_point"]
    name = f"found at precision {block['precision']:g}"
    score = "no score has it" if block["score"] is None else f"by boxes of a score over {block['score']:.3f}"
    return [(name, at(block, around, "recall"), f"of the objects, {score}")]


def _point(block: dict[str, Any]) -> str:
    return f"at precision {block['precision']:g}"
