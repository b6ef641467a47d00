"""Figures about a table for label statistics: counts, sizes, sources. Plain data; plots are drawn elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from toolkit.data.table import SPLITS, BoxSample, LabelSample, MaskSample, Sample, Table

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
Kind = TypeVar("Kind", bound=Sample)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What every table has. ``pictures`` counts per split, ``counts`` how often each class is there, per split, in
    ``unit``; ``heights`` and ``widths`` are the pictures' quantiles (an empty list of no pictures), ``sources`` and
    ``groups`` count pictures and groups, ``skipped`` the faults that were passed over.
    """

    unit: str
    pictures: dict[str, int]
    counts: dict[str, dict[str, int]]
    heights: list[float]
    widths: list[float]
    sources: dict[str, int]
    groups: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with the quantiles that the lists stand for."""
        return {"quantiles": list(QUANTILES), **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class BoxSummary(Summary):
    """``without_boxes`` and ``boxes`` count per split; ``boxes_per_class`` per class and split.

    ``box_sides`` holds for each class the quantiles ``QUANTILES`` of sqrt(width x height) in pixels of the picture,
    ``box_shares`` those of the same side as a share of the picture's, ``boxes_per_picture`` those of the number of
    boxes. Crowd boxes are counted in ``crowd_boxes`` alone. An empty set of boxes has an empty list of quantiles.
    """

    without_boxes: dict[str, int]
    boxes: dict[str, int]
    boxes_per_class: dict[str, dict[str, int]]
    crowd_boxes: int
    boxes_per_picture: list[float]
    box_sides: dict[str, list[float]]
    box_shares: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class LabelSummary(Summary):
    """``pictures_per_source`` counts pictures per class and source ("" where no source is told)."""

    pictures_per_source: dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class MaskSummary(Summary):
    """``pixel_shares`` is each class's share of all counted pixels per split (0 where there are none);
    ``pictures_with_class`` counts the pictures that show it; ``not_counted`` the pixels of no class, per split.
    """

    pixel_shares: dict[str, dict[str, float]]
    pictures_with_class: dict[str, dict[str, int]]
    not_counted: dict[str, int]


def summarise(table: Table[Any]) -> Summary:
    """Count and measure the table's pictures and labels; of no or another kind of them only what all tables have."""
    samples = table.samples
    common: dict[str, Any] = {
        "unit": table.unit,
        "pictures": _per_split(samples, lambda sample: 1),
        "counts": table.counts(),
        "heights": _quantiles([sample.size[0] for sample in samples]),
        "widths": _quantiles([sample.size[1] for sample in samples]),
        "sources": dict(sorted(Counter(sample.source for sample in samples if sample.source).items())),
        "groups": len({sample.group for sample in samples}),
        "skipped": len(table.skipped),
    }
    parts: dict[type[Sample], Callable[[Table[Any], dict[str, Any]], Summary]] = {
        BoxSample: _of_boxes,
        LabelSample: _of_labels,
        MaskSample: _of_masks,
    }
    part = parts.get(type(samples[0])) if samples else None
    return part(table, common) if part else Summary(**common)


def _of_boxes(table: Table[BoxSample], common: dict[str, Any]) -> BoxSummary:
    samples, per_class = table.samples, common["counts"]
    sides, shares = _sides(samples)
    ids = np.concatenate([sample.class_ids[~sample.crowd] for sample in samples])
    return BoxSummary(
        **common,
        without_boxes=_per_split(samples, lambda sample: len(sample.boxes) == 0),
        boxes={split: sum(counts[split] for counts in per_class.values()) for split in SPLITS},
        boxes_per_class=per_class,
        crowd_boxes=sum(int(sample.crowd.sum()) for sample in samples),
        boxes_per_picture=_quantiles([int((~sample.crowd).sum()) for sample in samples]),
        box_sides={name: _quantiles(sides[ids == number]) for number, name in enumerate(table.class_names)},
        box_shares={name: _quantiles(shares[ids == number]) for number, name in enumerate(table.class_names)},
    )


def _of_labels(table: Table[LabelSample], common: dict[str, Any]) -> LabelSummary:
    counted = Counter((sample.class_id, sample.source) for sample in table.samples)
    sources = sorted({sample.source for sample in table.samples})
    per_source = {
        name: {source: counted[class_id, source] for source in sources if counted[class_id, source]}
        for class_id, name in enumerate(table.class_names)
    }
    return LabelSummary(**common, pictures_per_source=per_source)


def _of_masks(table: Table[MaskSample], common: dict[str, Any]) -> MaskSummary:
    samples, counts = table.samples, common["counts"]
    counted = {split: sum(per_split[split] for per_split in counts.values()) for split in SPLITS}
    return MaskSummary(
        **common,
        pixel_shares={
            name: {split: number / max(1, counted[split]) for split, number in per_split.items()}
            for name, per_split in counts.items()
        },
        pictures_with_class={
            name: _per_split(samples, _shows(class_id)) for class_id, name in enumerate(table.class_names)
        },
        not_counted=_per_split(samples, lambda sample: sample.size[0] * sample.size[1] - int(sample.pixels.sum())),
    )


def _shows(class_id: int) -> Callable[[MaskSample], bool]:
    return lambda sample: bool(sample.pixels[class_id] > 0)


def _per_split(samples: Sequence[Kind], count: Callable[[Kind], int]) -> dict[str, int]:
    totals = dict.fromkeys(SPLITS, 0)
    for sample in samples:
        totals[sample.split] += count(sample)
    return totals


def _sides(samples: Sequence[BoxSample]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """sqrt(area) of every box that is no crowd, in pixels and as a share of sqrt(area) of its picture."""
    sides, shares = [np.zeros(0)], [np.zeros(0)]
    for sample in samples:
        boxes = sample.boxes[~sample.crowd].astype(np.float64)
        side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        sides.append(side)
        shares.append(side / np.sqrt(sample.size[0] * sample.size[1]))
    return np.concatenate(sides), np.concatenate(shares)


def _quantiles(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [float(value) for value in np.quantile(values, QUANTILES)] if len(values) else []
