"""Measuring segmentation: Dice and IoU of classes and regions, over all pixels and picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from toolkit.bundle_spec import SegmentationPostprocessing
from toolkit.data.mask_files import read_mask
from toolkit.data.table import MaskSample, Progress, Table
from toolkit.drawing import draw_segmentation
from toolkit.drawing_text import RGB
from toolkit.errors import UserError
from toolkit.evaluation.confusions import Confusions, Tally
from toolkit.evaluation.plots import Plot, confusion_plot, dice_plot
from toolkit.evaluation.presence import Presence, chosen_elsewhere, presence_columns, presence_section
from toolkit.evaluation.resampling import mean_of_known
from toolkit.evaluation.sections import Ranged, Row, Section, at, of_parts, overall
from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation
from toolkit.evaluation.task import Case, Evaluation, Worst, predictions
from toolkit.inference.model import Model
from toolkit.segmentation_result import background_of

MOST_COLUMNS = 4  # of a table that must fit a terminal


class SegmentationEvaluation(Evaluation):
    """Dice and IoU, per class, per region, per group and per source."""

    class_number = "Dice"

    def predict_all(
        self, model: Model, table: Table[MaskSample], progress: Progress | None = None
    ) -> SegmentationCounts:
        counts = SegmentationCounts(len(table.class_names), _outlined(table.class_names, _shipped(model).regions))
        for sample, result in zip(table.samples, predictions(model, table, progress), strict=True):
            counts.add(read_mask(sample), result.mask, sample.group, sample.source, result.presence)
        return counts

    def measure(self, model: Model, table: Table[MaskSample], predictions: SegmentationCounts) -> dict[str, Any]:
        shipped, samples = _shipped(model), table.samples
        counts = predictions.told([sample.group for sample in samples], [sample.source for sample in samples])
        return measure_segmentation(counts, table.class_names, shipped.regions, shipped.presence)

    def across(self, model: Model, folds: Mapping[str, tuple[Table[Any], SegmentationCounts]]) -> dict[str, Any]:
        """The pixels of all folds together, and the presence of classes with thresholds from the other folds."""
        tables = [table for table, _ in folds.values()]
        counts = SegmentationCounts.joined([counted for _, counted in folds.values()])
        samples = tuple(sample for table in tables for sample in table.samples)
        found = {
            name: Presence.of(Confusions.of(counted.matrices), least, counted.presence, table.class_names)
            for name, (table, counted) in folds.items()
            if (least := _shipped(model).presence)
        }
        return {
            "pooled": self.measure(model, Table(tables[0].class_names, samples), counts),
            **({"presence": chosen_elsewhere(found)} if found else {}),
        }

    def sections(self, metrics: dict[str, Any]) -> list[Section]:
        intervals, over = metrics["intervals"], f"over {', '.join(metrics['mean_over'])}"
        return [
            overall(
                ("mean Dice", at(metrics, intervals, "mean_dice"), over),
                ("mean IoU", at(metrics, intervals, "mean_iou"), over),
                ("pixel accuracy", at(metrics, intervals, "pixel_accuracy"), "of all pixels, the background's too"),
            ),
            Section("class", ("Dice", "IoU", "Dice per picture", "recall", "precision", "in pictures"), _rows(metrics)),
            *presence_section(metrics),
            *_of_outlines(metrics),
            *of_parts(metrics, self.columns(metrics)),
        ]

    def columns(self, metrics: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        """The means, the Dice of classes and regions where they are few, and what was asked of their presence."""
        columns: dict[str, tuple[str, ...]] = {"mean Dice": ("mean_dice",)}
        each = {name: ("dice", name) for name in metrics["mean_over"]}
        each |= {f"{name} (region)": ("regions", name) for name in metrics["regions"]}
        columns |= each if len(each) <= MOST_COLUMNS else {"mean IoU": ("mean_iou",)}
        return {**columns, **presence_columns(metrics)}

    def headline(self, metrics: dict[str, Any]) -> dict[str, Ranged]:
        """Dice of each class but the background, and of each region."""
        shown = [("per_class", "Dice {}", name) for name in metrics["mean_over"]]
        shown += [("regions", "Dice {} (region)", name) for name in metrics["regions"]]
        return {told.format(name): at(metrics, metrics["intervals"], key, name, "dice") for key, told, name in shown}

    def class_numbers(self, metrics: dict[str, Any]) -> dict[str, float | None]:
        classes = {name: row["dice"] for name, row in metrics["per_class"].items()}
        return classes | {f"{name} (region)": row["dice"] for name, row in metrics["regions"].items()}

    def plots(self, metrics: dict[str, Any], table: Table[MaskSample], predictions: SegmentationCounts) -> list[Plot]:
        meant = [table.class_names.index(name) for name in metrics["mean_over"]]
        return [
            confusion_plot(metrics["confusion_matrix"], metrics["confusion_labels"], "pixels"),
            dice_plot(_by_picture(predictions).dice[:, meant], metrics["mean_over"]),
        ]

    def worst(self, metrics: dict[str, Any], table: Table[MaskSample], predictions: SegmentationCounts) -> Worst:
        names = metrics["mean_over"]
        meant = [table.class_names.index(name) for name in names]
        tally = _by_picture(predictions)
        means = mean_of_known(tally.dice[:, meant])
        order = [index for index in np.argsort(means, kind="stable").tolist() if means[index] < 1]
        return Worst(
            "Lowest Dice",
            f"Pictures by their mean Dice over those of {', '.join(names)} that are true or predicted in them.",
            tuple(Case(index, _told(tally, index, meant, table.class_names)) for index in order),
        )

    def labels_of(self, sample: MaskSample) -> dict[str, Any]:
        return {"mask": read_mask(sample)}

    def relabelled(self, sample: MaskSample, changed: Mapping[str, Any]) -> MaskSample:
        mask = np.ascontiguousarray(changed["mask"])
        done, data = cv2.imencode(".png", mask)
        if not done:
            raise UserError(f"{sample.name}: a mask of {mask.shape[1]}x{mask.shape[0]} pixels cannot be a PNG")
        path = sample.path.with_suffix(".mask.png")
        path.write_bytes(data.tobytes())
        pixels = np.bincount(mask.ravel(), minlength=256)[: len(sample.pixels)]
        return replace(sample, masks=((path, None),), pixels=pixels, mask_digest="", renumbered=None)

    def draw_truth(self, image: RGB, sample: MaskSample, class_names: tuple[str, ...]) -> RGB:
        return draw_segmentation(image, read_mask(sample), class_names, background=background_of(class_names))


def _shipped(model: Model) -> SegmentationPostprocessing:
    shipped = model.spec.postprocessing
    assert isinstance(shipped, SegmentationPostprocessing)
    return shipped


def _outlined(names: Sequence[str], regions: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """The ids of each class that is no background, and of each region; one named like a class has lines of its own."""
    classes = {name: [i] for i, name in enumerate(names) if i != background_of(names)}
    unions = {f"{region} (region)": [list(names).index(part) for part in parts] for region, parts in regions.items()}
    return classes | unions


def _of_outlines(metrics: dict[str, Any]) -> list[Section]:
    """How far outlines lie apart; absent from what was measured before outlines were."""
    rows = [
        (name, (Ranged(row["hd95"]), row["pictures"], row["one_sided"]))
        for name, row in metrics.get("outlines", {}).items()
    ]
    head = ("HD95, median, in pixels", "in pictures", "only true or only predicted in")
    return [Section("outline", head, tuple(rows))] if rows else []


def _by_picture(counts: SegmentationCounts) -> Tally:
    """Hits, true and predicted pixels [P, C]."""
    return Confusions.of(counts.matrices).by_picture({str(c): (c,) for c in range(counts.num_classes)})


def _told(tally: Tally, index: int, meant: Sequence[int], names: Sequence[str]) -> str:
    """Dice of each class that is there, and the pixels behind the lowest."""
    dice = {c: float(tally.dice[index, c]) for c in meant if not np.isnan(tally.dice[index, c])}
    lowest = min(dice, key=lambda c: dice[c])
    true, given, hit = (int(part[index, lowest]) for part in (tally.true, tally.predicted, tally.hit))
    each = ", ".join(f"{names[c]} {value:.2f}" for c, value in dice.items())
    return f"Dice {each}; of {names[lowest]} {true:,} px are true, {given:,} were predicted, {hit:,} are both"


def _rows(metrics: dict[str, Any]) -> tuple[Row, ...]:
    """A row for each class and region. IoU follows from Dice, and needs no interval of its own."""
    rows = []
    for key, told in (("per_class", "{}"), ("regions", "{} (region)")):
        for name, row in metrics[key].items():
            dice, per_picture, recall, precision = (
                at(row, metrics["intervals"][key][name], number_of)
                for number_of in ("dice", "dice_per_picture", "recall", "precision")
            )
            cells = (dice, Ranged(row["iou"]), per_picture, recall, precision, row["pictures"])
            rows.append((told.format(name), cells))
    return tuple(rows)
