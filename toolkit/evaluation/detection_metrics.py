"""A detector's numbers: COCO's, and what its answers at the shipped threshold are worth, all with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.abstention import Abstention
from toolkit.bundle_spec import DetectionMeasures, DetectionPostprocessing
from toolkit.data.table import BoxSample, Table
from toolkit.evaluation.coco_metrics import summarise
from toolkit.evaluation.confusions import Confusions, Regions
from toolkit.evaluation.operating_point import Judged, answers_of, confusions
from toolkit.evaluation.precision_point import Findings, point_numbers, settle_point
from toolkit.evaluation.resampling import Numbers, by_name, mean_of_known, measured, ratio
from toolkit.evaluation.trust import Trust, settle_abstention

AT_75 = 5  # of COCO's IoU thresholds, from 0.5 in steps of 0.05


@dataclass(frozen=True)
class DetectionCounts:
    """What was matched in P pictures: at any score for AP, and at the shipped threshold."""

    class_names: tuple[str, ...]
    matches: ops.CocoMatches
    shipped: Confusions
    trust: Trust
    abstention: Abstention | None
    found: Findings
    at_point: Callable[[Findings, NDArray[np.int64]], Numbers]

    @property
    def pictures(self) -> int:
        return self.shipped.pictures

    def part(self, rows: NDArray[np.int64]) -> DetectionCounts:
        """The pictures ``rows``, in that order."""
        return replace(
            self,
            matches=self.matches.part(rows),
            shipped=self.shipped.part(rows),
            trust=self.trust.part(rows),
            found=self.found.part(rows),
        )


def measure_detection(
    table: Table[BoxSample],
    matches: ops.CocoMatches,
    judged: Sequence[Judged],
    shipped: DetectionPostprocessing,
    abstention: Abstention | None = None,
    everything: Sequence[Judged] | None = None,
    measures: DetectionMeasures | None = None,
) -> dict[str, Any]:
    """The numbers of the pictures of ``table``.

    Args:
        table: at least one picture.
        matches: of the detections at any score, by ``coco_metrics.match_detections``.
        judged: the answers at the shipped threshold, one a picture.
        shipped: the bundle's thresholds.
        abstention: of which boxes the class is unsure; None where of none.
        everything: the answers at any score, by ``judge``; without them, those at the shipped threshold.
        measures: at what precision, for what sizes and groups of classes they are measured.

    Returns:
        Plain numbers for JSON; None stands where there is nothing to measure. ``coco``, its twelve numbers;
        ``per_class`` AP, AP50, AR100 and boxes; ``intervals`` of 95 % over groups, else over pictures; ``per_group``
        and ``per_source``, where told; ``operating_point``, what the shipped threshold gives; ``calibration``, how
        far the scores of those boxes can be trusted; and where the bundle may abstain, of all pictures and of parts,
        ``abstention``, the share of those boxes that is answered and of that the share that is wrong;
        ``precision_point``, what is found at the lowest score with a stated precision, see `precision_point`.
    """
    coco = summarise(matches, table.class_names)
    per_class = coco.pop("per_class")
    at_threshold = confusions(table.samples, judged, len(table.class_names))
    measures = measures or DetectionMeasures()
    found = Findings.of(table.samples, judged if everything is None else everything)
    groups = {
        name: [table.class_names.index(part) for part in parts]
        for name, parts in (measures.groups or shipped.bins).items()
    }
    counts = DetectionCounts(
        table.class_names,
        matches,
        at_threshold,
        trust_of(table.samples, judged, abstention),
        abstention,
        found,
        point_numbers(found, measures, groups, shipped.score_threshold),
    )
    values, intervals = measured(
        counts,
        _numbers,
        groups=[sample.group for sample in table.samples],
        sources=[sample.source for sample in table.samples],
        of_a_part=_of_a_part,
    )
    settled = {"abstention": settle_abstention(values, intervals, abstention)} if abstention else {}
    return {
        "coco": coco,
        "per_class": per_class,
        "intervals": intervals,
        "per_group": values["per_group"],
        "per_source": values["per_source"],
        "operating_point": {
            "score_threshold": shipped.score_threshold,
            **values["operating_point"],
            "confusion_matrix": at_threshold.matrix().tolist(),
            "confusion_labels": [*table.class_names, "nothing"],
        },
        "calibration": values["calibration"],
        **settled,
        "precision_point": settle_point(values, found, measures),
    }


def trust_of(samples: Sequence[BoxSample], judged: Sequence[Judged], abstention: Abstention | None) -> Trust:
    """Of the boxes given: how far their scores can be trusted."""
    picture, scores, right = answers_of(samples, judged)
    return Trust.of(len(samples), picture, scores, right, abstention)


def _numbers(counts: DetectionCounts, weights: NDArray[np.int64]) -> Numbers:
    precision = ops.coco_average_precision(counts.matches, weights)
    classes: Regions = {name: (class_id,) for class_id, name in enumerate(counts.class_names)}
    tally = counts.shipped.weighed(classes, weights)
    return {
        **_overall(precision),
        "AP75": mean_of_known(precision[:, :, AT_75]),
        "per_class": by_name(counts.class_names, AP=precision.mean(2), AP50=precision[:, :, 0]),
        "operating_point": {
            **_at_threshold(counts, weights),
            "per_class": by_name(counts.class_names, recall=tally.recall, precision=tally.precision),
        },
        "calibration": {"expected_calibration_error": counts.trust.calibration_error(weights)},
        "precision_point": counts.at_point(counts.found, weights),
        **_abstention(counts, weights),
    }


def _of_a_part(counts: DetectionCounts, weights: NDArray[np.int64]) -> Numbers:
    return {
        **_overall(ops.coco_average_precision(counts.matches, weights)),
        **_at_threshold(counts, weights),
        **_abstention(counts, weights),
    }


def _abstention(counts: DetectionCounts, weights: NDArray[np.int64]) -> Numbers:
    return {"abstention": counts.trust.abstention(weights)} if counts.abstention else {}


def _overall(precision: NDArray[np.float64]) -> Numbers:
    """From that of each class [R, C, T]."""
    return {"AP": mean_of_known(precision.mean(2)), "AP50": mean_of_known(precision[:, :, 0])}


def _at_threshold(counts: DetectionCounts, weights: NDArray[np.int64]) -> Numbers:
    """Of the objects whatever their class: how many are found, how many boxes lie on one, and is its class right."""
    ids = range(len(counts.class_names))
    anything = counts.shipped.weighed({"anything": tuple(ids)}, weights)
    right = counts.shipped.weighed({str(class_id): (class_id,) for class_id in ids}, weights).hit.sum(1)
    return {
        "found": anything.recall[:, 0],
        "precision_of_boxes": anything.precision[:, 0],
        "class_right_of_found": ratio(right, anything.hit[:, 0]),
    }
