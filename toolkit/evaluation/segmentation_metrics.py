"""IoU, Dice and their intervals of a segmentation, from true and predicted label maps counted picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ops
from toolkit.evaluation import resampling
from toolkit.evaluation.resampling import mean_of_known, plain, ratio
from toolkit.segmentation_result import background_of

IGNORED = 255  # in the truth: not labelled, counts neither way


class SegmentationCounts:
    """One confusion matrix a picture, so that the pictures themselves need not be kept."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrices: list[NDArray[np.int64]] = []
        self.groups: list[str] = []
        self.sources: list[str] = []

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8], group: str = "", source: str = "") -> None:
        """Count one picture: class ids [H, W], true (255: not labelled) and predicted.

        ``group`` names what belongs together, such as a patient; ``source`` where the picture comes from. Shapes that
        differ and ids out of range are a ValueError.
        """
        self.matrices.append(ops.confusion_matrix(truth, predicted, self.num_classes, ignore=IGNORED))
        self.groups.append(group)
        self.sources.append(source)


@dataclass(frozen=True)
class _Tally:
    """Pixels of named regions, each a class or a union of classes: hit, true and predicted, int64 [..., regions].

    A pixel is hit when truth and prediction both lie in the region, whichever of its classes they say.
    """

    names: tuple[str, ...]
    hit: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def of(cls, matrices: NDArray[np.int64], regions: Mapping[str, Sequence[int]]) -> _Tally:
        """Count each picture [pictures, regions] from confusion matrices [pictures, C, C]."""
        true, predicted = matrices.sum(2), matrices.sum(1)
        columns = np.zeros((3, len(matrices), len(regions)), np.int64)
        for column, ids in enumerate(map(list, regions.values())):
            columns[0, :, column] = matrices[:, ids][:, :, ids].sum((1, 2))
            columns[1, :, column] = true[:, ids].sum(1)
            columns[2, :, column] = predicted[:, ids].sum(1)
        return cls(tuple(regions), *columns)

    def pooled(self, rows: Any = slice(None)) -> _Tally:
        """All pictures together, or the ``rows`` of them."""
        return _Tally(self.names, *(part[rows].sum(0) for part in (self.hit, self.true, self.predicted)))

    def drawn(self, weights: NDArray[np.int64]) -> _Tally:
        """All pictures together, as often as each row of ``weights`` [R, pictures] says: [R, regions]."""
        return _Tally(self.names, *(weights @ part for part in (self.hit, self.true, self.predicted)))

    @property
    def dice(self) -> NDArray[np.float64]:
        return ratio(2 * self.hit, self.true + self.predicted)

    @property
    def iou(self) -> NDArray[np.float64]:
        return ratio(self.hit, self.true + self.predicted - self.hit)


def measure_segmentation(
    counts: SegmentationCounts, class_names: Sequence[str], nested: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, Any]:
    """Measure the counted pictures.

    Args:
        counts: at least one picture, in as many classes as there are names.
        class_names: C names. A first class named "background" has its own numbers but stays out of the means.
        nested: regions that are unions of classes, such as ``{"lung": ("lung", "lesion")}``, measured in addition.

    Returns:
        Plain numbers for JSON; None stands where there is nothing to measure. ``mean_iou`` and ``mean_dice`` over the
        classes in ``mean_over``; ``pixel_accuracy``; ``per_class`` iou, dice, precision and recall of all pixels
        together, ``dice_per_picture`` (the mean over pictures where the class is true or predicted), ``pixels`` and
        ``pictures`` that truly have it; ``regions``, the same of ``nested``; ``intervals`` of 95 % over groups, else
        over pictures; ``per_group`` and ``per_source``, where told; ``confusion_matrix`` (rows true, pixels).

    Raises:
        ValueError: no pictures, another number of names, or a region of classes that do not exist.
    """
    if not counts.matrices:
        raise ValueError("counts: expected at least one picture, got none")
    if not len(set(class_names)) == len(class_names) == counts.num_classes:
        raise ValueError(f"class_names: expected {counts.num_classes} different names, got {', '.join(class_names)}")
    matrices = np.stack(counts.matrices)
    classes = _Tally.of(matrices, {name: (i,) for i, name in enumerate(class_names)})
    regions = _Tally.of(matrices, {name: _ids(name, parts, class_names) for name, parts in (nested or {}).items()})
    meant = [i for i in range(len(class_names)) if i != background_of(class_names)]
    return {
        **_overall(classes.pooled(), meant),
        "mean_over": [class_names[i] for i in meant],
        "per_class": _numbers(classes),
        "regions": _numbers(regions),
        "intervals": _intervals(classes, regions, meant, counts.groups),
        "per_group": {
            group: {
                "dice": _dice(classes.pooled(rows)),
                "regions": _dice(regions.pooled(rows)),
                "pictures": int(rows.sum()),
            }
            for group, rows in _rows_of(counts.groups).items()
        },
        "per_source": {
            source: {
                **_overall(classes.pooled(rows), meant),
                "dice": _dice(classes.pooled(rows)),
                "regions": _dice(regions.pooled(rows)),
                "pictures": int(rows.sum()),
            }
            for source, rows in _rows_of(counts.sources).items()
        },
        "confusion_matrix": matrices.sum(0).tolist(),
        "confusion_labels": list(class_names),
    }


def _ids(region: str, parts: tuple[str, ...], class_names: Sequence[str]) -> list[int]:
    if not parts or not set(parts) <= set(class_names) or len(set(parts)) < len(parts):
        raise ValueError(
            f"nested: expected {region!r} to be made of different classes out of {', '.join(class_names)},"
            f" got {', '.join(parts) or 'none'}"
        )
    return [list(class_names).index(part) for part in parts]


def _overall(pooled: _Tally, meant: list[int]) -> dict[str, float | None]:
    return {
        "mean_iou": plain(mean_of_known(pooled.iou[meant])),
        "mean_dice": plain(mean_of_known(pooled.dice[meant])),
        "pixel_accuracy": plain(ratio(pooled.hit.sum(), pooled.true.sum())),
    }


def _numbers(tally: _Tally) -> dict[str, dict[str, Any]]:
    pooled = tally.pooled()
    columns = {
        "iou": pooled.iou,
        "dice": pooled.dice,
        "dice_per_picture": mean_of_known(tally.dice.T),
        "precision": ratio(pooled.hit, pooled.predicted),
        "recall": ratio(pooled.hit, pooled.true),
    }
    return {
        name: {
            **{key: plain(values[i]) for key, values in columns.items()},
            "pixels": int(pooled.true[i]),
            "pictures": int(np.count_nonzero(tally.true[:, i])),
        }
        for i, name in enumerate(tally.names)
    }


def _dice(pooled: _Tally) -> dict[str, float | None]:
    return dict(zip(pooled.names, map(plain, pooled.dice), strict=True))


def _intervals(classes: _Tally, regions: _Tally, meant: list[int], groups: Sequence[str]) -> dict[str, Any]:
    group_of = resampling.number_groups(groups, len(groups))
    drawn = resampling.draw_groups(int(group_of.max()) + 1)
    classes, regions = classes.drawn(drawn[:, group_of]), regions.drawn(drawn[:, group_of])
    return {
        "mean_iou": resampling.interval(mean_of_known(classes.iou[:, meant])),
        "mean_dice": resampling.interval(mean_of_known(classes.dice[:, meant])),
        "per_class": resampling.intervals(classes.names, iou=classes.iou, dice=classes.dice),
        "regions": resampling.intervals(regions.names, iou=regions.iou, dice=regions.dice),
        "method": resampling.method(drawn.shape[1], len(groups)),
    }


def _rows_of(names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which pictures carry each name; "" is no name."""
    return {name: np.array([other == name for other in names]) for name in sorted(set(names) - {""})}
