"""Figures about a table for label statistics: counts, sizes, empty pictures. Plain data; plots are drawn elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toolkit.data.table import SPLITS, Sample, Table

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class TableSummary:
    """``pictures``, ``without_boxes`` and ``boxes`` count per split; ``boxes_per_class`` per class and split.

    ``box_sides`` holds for each class the quantiles ``QUANTILES`` of sqrt(width x height) in pixels of the picture,
    ``box_shares`` those of the same side as a share of the picture's, ``boxes_per_picture`` those of the number of
    boxes. ``heights`` and ``widths`` are the pictures', ``sources`` and ``groups`` count pictures and groups.
    Crowd boxes are counted in ``crowd_boxes`` alone. An empty set of boxes has an empty list of quantiles.
    """

    pictures: dict[str, int]
    without_boxes: dict[str, int]
    boxes: dict[str, int]
    boxes_per_class: dict[str, dict[str, int]]
    crowd_boxes: int
    boxes_per_picture: list[float]
    box_sides: dict[str, list[float]]
    box_shares: dict[str, list[float]]
    heights: list[float]
    widths: list[float]
    sources: dict[str, int]
    groups: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with the quantiles that the lists stand for."""
        return {"quantiles": list(QUANTILES), **asdict(self)}


def summarise(table: Table) -> TableSummary:
    """Count and measure the table's pictures and boxes, all splits together where none is named."""
    samples = table.samples
    sides, shares = _sides(samples)
    ids = np.concatenate([sample.class_ids[~sample.crowd] for sample in samples] or [np.zeros(0, np.int64)])
    per_class = table.counts()
    return TableSummary(
        pictures=_per_split(samples),
        without_boxes=_per_split([sample for sample in samples if len(sample.boxes) == 0]),
        boxes={split: sum(counts[split] for counts in per_class.values()) for split in SPLITS},
        boxes_per_class=per_class,
        crowd_boxes=sum(int(sample.crowd.sum()) for sample in samples),
        boxes_per_picture=_quantiles([int((~sample.crowd).sum()) for sample in samples]),
        box_sides={name: _quantiles(sides[ids == number]) for number, name in enumerate(table.class_names)},
        box_shares={name: _quantiles(shares[ids == number]) for number, name in enumerate(table.class_names)},
        heights=_quantiles([sample.size[0] for sample in samples]),
        widths=_quantiles([sample.size[1] for sample in samples]),
        sources=dict(sorted(Counter(sample.source for sample in samples if sample.source).items())),
        groups=len({sample.group for sample in samples}),
        skipped=len(table.skipped),
    )


def _per_split(samples: Sequence[Sample]) -> dict[str, int]:
    counted = Counter(sample.split for sample in samples)
    return {split: counted[split] for split in SPLITS}


def _sides(samples: Sequence[Sample]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """sqrt(area) of every box that is no crowd, in pixels and as a share of sqrt(area) of its picture."""
    sides, shares = [np.zeros(0)], [np.zeros(0)]
    for sample in samples:
        boxes = sample.boxes[~sample.crowd].astype(np.float64)
        side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        sides.append(side)
        shares.append(side / np.sqrt(sample.size[0] * sample.size[1]))
    return np.concatenate(sides), np.concatenate(shares)


def _quantiles(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float]:
    return [float(value) for value in np.quantile(values, QUANTILES)] if len(values) else []
