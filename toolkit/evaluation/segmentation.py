"""Measuring segmentation: Dice and IoU of classes and regions, over all pixels and picture by picture."""

from __future__ import annotations

from typing import Any

from toolkit.bundle_spec import SegmentationPostprocessing
from toolkit.data.mask_files import read_mask
from toolkit.data.table import MaskSample, Progress, Table
from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation
from toolkit.evaluation.task import Evaluation, markdown_table, number, predictions, ranged
from toolkit.inference.model import Model


class SegmentationEvaluation(Evaluation):
    """Dice and IoU, per class, per region, per group and per source."""

    def predict_all(
        self, model: Model, table: Table[MaskSample], progress: Progress | None = None
    ) -> SegmentationCounts:
        counts = SegmentationCounts(len(table.class_names))
        for sample, result in zip(table.samples, predictions(model, table, progress), strict=True):
            counts.add(read_mask(sample), result.mask, sample.group, sample.source)
        return counts

    def measure(self, model: Model, table: Table[MaskSample], predictions: SegmentationCounts) -> dict[str, Any]:
        shipped = model.spec.postprocessing
        assert isinstance(shipped, SegmentationPostprocessing)
        return measure_segmentation(predictions, table.class_names, shipped.regions)

    def lines(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals = metrics["data"], metrics["intervals"]
        rows = _rows(metrics)
        width = max(len(name) for name, _, _ in rows)
        lines = [
            f"{data['pictures']} pictures, split {data['split']}",
            f"{'mean':{width}}  Dice {ranged(metrics['mean_dice'], intervals['mean_dice'])}"
            f"  IoU {number(metrics['mean_iou'])}  (over {', '.join(metrics['mean_over'])})",
        ]
        for name, row, around in rows:
            lines.append(
                f"{name:{width}}  Dice {ranged(row['dice'], around['dice'])}  IoU {number(row['iou'])}"
                f"  Dice per picture {number(row['dice_per_picture'])}  recall {number(row['recall'])}"
                f"  precision {number(row['precision'])}  (in {row['pictures']} pictures)"
            )
        for group, row in metrics["per_group"].items():
            dice = {**row["dice"], **{f"{name} (region)": value for name, value in row["regions"].items()}}
            told = ", ".join(f"{name} {number(value)}" for name, value in dice.items())
            lines.append(f"{group}: Dice {told} ({row['pictures']} pictures)")
        for source, row in metrics["per_source"].items():
            mean = f"mean Dice {number(row['mean_dice'])}  mean IoU {number(row['mean_iou'])}"
            lines.append(f"{source}: {mean} ({row['pictures']} pictures)")
        return lines

    def card(self, metrics: dict[str, Any]) -> list[str]:
        data, intervals = metrics["data"], metrics["intervals"]
        count = len(metrics["per_group"])
        groups = f" of {count} group{'s' if count > 1 else ''}" if count else ""
        lines = [
            f"On the {data['pictures']} pictures{groups} of the split `{data['split']}`; Dice and IoU over all pixels"
            f" together; in brackets the 95 % interval ({intervals['method'].removeprefix('95 % ')}).",
            "",
            *markdown_table(
                ("", "Dice", "IoU", "Dice per picture", "recall", "precision", "in pictures"),
                [
                    (
                        name,
                        ranged(row["dice"], around["dice"], 3),
                        *(number(row[key], 3) for key in ("iou", "dice_per_picture", "recall", "precision")),
                        str(row["pictures"]),
                    )
                    for name, row, around in _rows(metrics)
                ],
            ),
        ]
        if metrics["per_source"]:
            sources = [
                (name, number(row["mean_dice"], 3), number(row["mean_iou"], 3), str(row["pictures"]))
                for name, row in metrics["per_source"].items()
            ]
            lines += ["", *markdown_table(("source", "mean Dice", "mean IoU", "pictures"), sources)]
        return lines

    def headline(self, metrics: dict[str, Any]) -> str:
        told = {**metrics["per_class"], **metrics["regions"]}
        shown = [name for name in told if name in metrics["mean_over"] or name in metrics["regions"]]
        return "Dice " + ", ".join(f"{name} {number(told[name]['dice'], 3)}" for name in shown)


def _rows(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, numbers and intervals of each class and region."""
    intervals = metrics["intervals"]
    classes = [(name, row, intervals["per_class"][name]) for name, row in metrics["per_class"].items()]
    regions = [(f"{name} (region)", row, intervals["regions"][name]) for name, row in metrics["regions"].items()]
    return classes + regions
