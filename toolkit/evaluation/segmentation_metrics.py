"""IoU, Dice and their intervals of a segmentation, from true and predicted label maps counted picture by picture."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.evaluation.confusions import Confusions, Regions, Tally
from toolkit.evaluation.outlines import Outlines
from toolkit.evaluation.presence import Presence
from toolkit.evaluation.resampling import Numbers, by_name, mean_of_known, measured, ratio
from toolkit.segmentation_result import background_of

IGNORED = 255  # in the truth: not labelled, counts neither way


class SegmentationCounts:
    """One confusion matrix a picture, so that the pictures themselves need not be kept.

    ``outlined`` says of which regions the outlines are measured besides: by name, the ids that each is made of.
    """

    def __init__(self, num_classes: int, outlined: Mapping[str, Sequence[int]] | None = None) -> None:
        self.num_classes = num_classes
        self.outlines = Outlines(outlined or {})
        self.matrices: list[NDArray[np.int64]] = []
        self.presence: list[Mapping[str, float]] = []
        self.groups: list[str] = []
        self.sources: list[str] = []

    def add(
        self,
        truth: NDArray[np.uint8],
        predicted: NDArray[np.uint8],
        group: str = "",
        source: str = "",
        presence: Mapping[str, float] | None = None,
    ) -> None:
        """Count one picture: class ids [H, W], true (255: not labelled) and predicted.

        ``group`` names what belongs together, such as a patient; ``source`` where the picture comes from;
        ``presence`` are the scores for its holding classes. Shapes that differ and ids out of range are a ValueError.
        """
        self.add_counted(ops.confusion_matrix(truth, predicted, self.num_classes, ignore=IGNORED), group, source)
        self.presence.append(presence or {})
        self.outlines.add(truth, predicted, IGNORED)

    def told(self, groups: Sequence[str], sources: Sequence[str]) -> SegmentationCounts:
        """The same pictures with other groups and sources."""
        other = copy.copy(self)
        other.groups, other.sources = list(groups), list(sources)
        return other

    @classmethod
    def joined(cls, parts: Sequence[SegmentationCounts]) -> SegmentationCounts:
        """The pictures of all parts, one after the other; of their outlines nothing is kept."""
        counts = cls(parts[0].num_classes)
        for part in parts:
            counts.matrices += part.matrices
            counts.presence += part.presence
            counts.groups += part.groups
            counts.sources += part.sources
        return counts

    def add_counted(self, matrix: NDArray[np.int64], group: str = "", source: str = "") -> None:
        """Take one picture that was counted before: its confusion matrix, int64 [C, C], the truth in the rows."""
        self.matrices.append(matrix)
        self.groups.append(group)
        self.sources.append(source)


@dataclass(frozen=True)
class _Counted:
    """The pictures' matrices, and what is measured of them: the classes, and unions of them."""

    cells: Confusions
    classes: Regions
    regions: Regions
    meant: list[int]  # the classes that the means are over
    presence: Presence | None

    @property
    def pictures(self) -> int:
        return self.cells.pictures

    def part(self, rows: NDArray[np.int64]) -> _Counted:
        """The pictures ``rows``, in that order."""
        presence = None if self.presence is None else self.presence.part(rows)
        return replace(self, cells=self.cells.part(rows), presence=presence)


def measure_segmentation(
    counts: SegmentationCounts,
    class_names: Sequence[str],
    nested: Mapping[str, tuple[str, ...]] | None = None,
    presence: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Measure the counted pictures.

    Args:
        counts: at least one picture, in as many classes as there are names.
        class_names: C names. A first class named "background" has its own numbers but stays out of the means.
        nested: regions that are unions of classes, such as ``{"lung": ("lung", "lesion")}``, measured in addition.
        presence: classes of which is measured whether a picture holds them, with the score from which they count as
            there; of these every picture must have been told the scores.

    Returns:
        Plain numbers for JSON; None stands where there is nothing to measure. ``mean_iou`` and ``mean_dice`` over the
        classes in ``mean_over``; ``pixel_accuracy``; ``per_class`` iou, dice, precision and recall of all pixels
        together, ``dice_per_picture`` (the mean over pictures where the class is true or predicted), ``pixels`` and
        ``pictures`` that truly have it; ``regions``, the same of ``nested``; ``intervals`` of 95 % over groups, else
        over pictures; ``per_group`` and ``per_source``, where told; ``outlines``, where they were to be measured, with
        the median ``hd95`` in pixels; ``confusion_matrix`` (rows true, pixels); ``presence``, where it was asked for:
        of each class ``auc``, ``sensitivity``, ``specificity`` and their mean ``balanced_accuracy``, and
        ``dice_where_true``, the mean over the ``pictures`` that truly have it.

    Raises:
        ValueError: no pictures, another number of names, or a region or a presence of classes that do not exist.
    """
    if not counts.matrices:
        raise ValueError("counts: expected at least one picture, got none")
    if not len(set(class_names)) == len(class_names) == counts.num_classes:
        raise ValueError(f"class_names: expected {counts.num_classes} different names, got {', '.join(class_names)}")
    regions = {name: _ids(name, parts, class_names) for name, parts in (nested or {}).items()}
    if unknown := sorted(set(presence or ()) - set(class_names)):
        raise ValueError(f"presence: expected some of {', '.join(class_names)}, got {', '.join(unknown)}")
    cells = Confusions.of(counts.matrices)
    counted = _Counted(
        cells,
        {name: (class_id,) for class_id, name in enumerate(class_names)},
        regions,
        [class_id for class_id in range(len(class_names)) if class_id != background_of(class_names)],
        Presence.of(cells, presence, counts.presence, class_names) if presence else None,
    )
    values, intervals = measured(counted, _numbers, groups=counts.groups, sources=counts.sources, of_a_part=_of_a_part)
    return {
        **{key: values.pop(key) for key in ("mean_iou", "mean_dice", "pixel_accuracy")},
        "mean_over": [class_names[class_id] for class_id in counted.meant],
        "per_class": _with_sizes(values["per_class"], counted.cells.by_picture(counted.classes)),
        "regions": _with_sizes(values["regions"], counted.cells.by_picture(regions)),
        "intervals": intervals,
        "per_group": values["per_group"],
        "per_source": values["per_source"],
        "outlines": counts.outlines.measured(),
        "confusion_matrix": counted.cells.matrix().tolist(),
        "confusion_labels": list(class_names),
        **({"presence": counted.presence.settled(values["presence"])} if counted.presence else {}),
    }


def _ids(region: str, parts: tuple[str, ...], class_names: Sequence[str]) -> list[int]:
    if not parts or not set(parts) <= set(class_names) or len(set(parts)) < len(parts):
        raise ValueError(
            f"nested: expected {region!r} to be made of different classes out of {', '.join(class_names)},"
            f" got {', '.join(parts) or 'none'}"
        )
    return [list(class_names).index(part) for part in parts]


def _with_sizes(rows: dict[str, dict[str, Any]], by_picture: Tally) -> dict[str, dict[str, Any]]:
    """The rows of classes or regions with the pixels that truly are of each, and in how many pictures."""
    pixels, pictures = by_picture.true.sum(0), np.count_nonzero(by_picture.true, axis=0)
    return {
        name: {**row, "pixels": int(pixels[i]), "pictures": int(pictures[i])}
        for i, (name, row) in enumerate(rows.items())
    }


def _numbers(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    return {
        **_overall(counted, weights),
        "per_class": _each_region(counted.cells, counted.classes, weights),
        "regions": _each_region(counted.cells, counted.regions, weights),
        **_presence(counted, weights),
    }


def _presence(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    return {"presence": counted.presence.numbers(weights)} if counted.presence else {}


def _each_region(cells: Confusions, regions: Regions, weights: NDArray[np.int64]) -> Numbers:
    tally = cells.weighed(regions, weights)
    return by_name(
        tuple(regions),
        iou=tally.iou,
        dice=tally.dice,
        dice_per_picture=_mean_over_pictures(cells.by_picture(regions).dice, weights),
        precision=tally.precision,
        recall=tally.recall,
    )


def _of_a_part(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    dice = {
        key: dict(zip(regions, counted.cells.weighed(regions, weights).dice.T, strict=True))
        for key, regions in (("dice", counted.classes), ("regions", counted.regions))
    }
    return {**_overall(counted, weights), **dice, **_presence(counted, weights)}


def _overall(counted: _Counted, weights: NDArray[np.int64]) -> Numbers:
    classes = counted.cells.weighed(counted.classes, weights)
    return {
        "mean_iou": mean_of_known(classes.iou[:, counted.meant]),
        "mean_dice": mean_of_known(classes.dice[:, counted.meant]),
        "pixel_accuracy": ratio(classes.hit.sum(1), classes.true.sum(1)),
    }


def _mean_over_pictures(values: NDArray[np.float64], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean [R, K] of the values [P, K] that are known."""
    known = ~np.isnan(values)
    return ratio(weights @ np.where(known, values, 0), weights @ known.astype(np.int64))
