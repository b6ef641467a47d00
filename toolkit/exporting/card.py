"""The model card: what a bundle is, what it was trained on, what was measured, what it must not be used for."""

from __future__ import annotations

from typing import Any

from toolkit.bundle import BundleSpec
from toolkit.config.schema import DetectionConfig


def write_card(spec: BundleSpec, metrics: dict[str, Any], certificate: dict[str, Any], config: DetectionConfig) -> str:
    """Return ``MODEL_CARD.md``; every figure in it comes from ``metrics`` and ``certificate``."""
    sections = [
        f"# {spec.name} {spec.version}",
        _use(spec),
        "## Data\n\n" + (_bullets(spec.data_sources) or "Not stated."),
        f"Licence: {spec.licence}",
        "## Known flaws\n\n" + (_bullets(spec.flaws) or "None stated."),
        _recipe(spec, config),
        _metrics(metrics),
        _parity(certificate),
    ]
    return "\n\n".join(sections) + "\n"


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _use(spec: BundleSpec) -> str:
    wanted = " ".join(spec.intended_use.split()) or "Not stated."
    refused = " ".join(spec.not_for.split()) or "Not stated."
    return f"**Use.** {wanted}\n\n**Not for.** {refused}\n\nClasses: {', '.join(spec.labels)}."


def _recipe(spec: BundleSpec, config: DetectionConfig) -> str:
    height, width = config.model.input_size
    start = spec.provenance.start_weights or "random weights"
    optimizer = config.train.optimizer
    return (
        "## Recipe\n\n"
        f"{config.model.name} at {width}x{height} pixels, started from {start}; {config.train.epochs} epochs,"
        f" batch {config.train.batch_size}, {optimizer.name} at {optimizer.lr:g}, seed {config.seed},"
        f" toolkit {spec.provenance.toolkit}, {spec.provenance.created}. The whole config stands in `bundle.yaml`"
        " under `provenance`; `toolkit train` with it repeats the training."
    )


def _metrics(metrics: dict[str, Any]) -> str:
    data, intervals, point = metrics["data"], metrics["intervals"], metrics["operating_point"]
    lines = [
        "## Measured\n",
        f"On the {data['pictures']} pictures ({data['boxes']} boxes) of the split `{data['split']}`,"
        f" COCO's protocol; in brackets the 95 % interval ({intervals['method'].removeprefix('95 % ')}). Written by"
        " `toolkit export`, repeated by `toolkit evaluate`.\n",
        "| | AP | AP50 | boxes |",
        "|---|---|---|---|",
        f"| all | {_with(metrics['coco'], intervals, 'AP')} | {_with(metrics['coco'], intervals, 'AP50')}"
        f" | {data['boxes']} |",
    ]
    for name, row in metrics["per_class"].items():
        around = intervals["per_class"][name]
        lines.append(f"| {name} | {_with(row, around, 'AP')} | {_with(row, around, 'AP50')} | {row['boxes']} |")
    if metrics["per_source"]:
        lines += ["", "| source | AP | AP50 | pictures |", "|---|---|---|---|"]
        for source, row in metrics["per_source"].items():
            lines.append(f"| {source} | {_number(row['AP'])} | {_number(row['AP50'])} | {row['pictures']} |")
    lines += [
        "",
        f"At the shipped score threshold {point['score_threshold']:g}: {_percent(point['found'])} of the objects are"
        f" found, {_percent(point['precision_of_boxes'])} of the boxes given lie on an object (IoU 0.5), and the class"
        f" is right on {_percent(point['class_right_of_found'])} of those.",
    ]
    return "\n".join(lines)


def _with(row: dict[str, Any], intervals: dict[str, Any], name: str) -> str:
    low, high = intervals[name]
    return f"{_number(row[name])} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _parity(certificate: dict[str, Any]) -> str:
    largest = ", ".join(f"{stage} {value:.2g}" for stage, value in certificate["largest_difference"].items())
    return (
        "## Parity\n\n"
        f"{', '.join(certificate['compared'])} agree on {certificate['pictures']} pictures; largest differences:"
        f" {largest}; near-ties: {len(certificate['near_ties'])}. `parity.json` holds the certificate."
    )
