"""Plots of what a table holds: how often each class is there, and how large pictures, boxes and regions are.

Needs matplotlib, of the ``[train]`` extra.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.table import SPLITS, BoxSample, LabelSample, MaskSample, Sample, Table
from toolkit.plotting import name_curves, name_ticks, new_figure, plain_name

MOST_CLASSES = 40  # bars that can be read on one plot; the most frequent ones
BINS = 40
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def plot_table(table: Table[Any], path: Path) -> None:
    """Write one picture of the three plots that suit the table's task; the table must not be empty."""
    shown = _frequent(table)
    figure, ((classes, sizes, labels),) = new_figure(1, 3, (15, max(4.0, 1.5 + 0.3 * len(shown))))
    _plot_classes(classes, table, shown)
    _plot_sizes(sizes, table)
    third: dict[type[Sample], Callable[[Any, Table[Any], list[int]], None]] = {
        BoxSample: _plot_boxes,
        LabelSample: _plot_sources,
        MaskSample: _plot_regions,
    }
    third[type(table.samples[0])](labels, table, shown)
    figure.savefig(path, dpi=100)


def _frequent(table: Table[Any]) -> list[int]:
    totals = [sum(counts.values()) for counts in table.counts().values()]
    most = sorted(range(len(totals)), key=lambda class_id: -totals[class_id])[:MOST_CLASSES]
    return sorted(most)


def _plot_classes(axis: Any, table: Table[Any], shown: list[int]) -> None:
    """A bar for each class, its splits one after the other."""
    from matplotlib.ticker import EngFormatter

    counts = list(table.counts().values())
    ends = np.zeros(len(shown))
    for split in SPLITS:
        widths = np.array([counts[class_id][split] for class_id in shown], float)
        if widths.any():
            axis.barh(range(len(shown)), widths, left=ends, label=split)
            ends += widths
    for row, end in enumerate(ends.tolist()):
        axis.annotate(f" {end:,.0f}", (end, row), va="center", fontsize=8)
    axis.set_xlim(0, max(1, 1.25 * ends.max()))  # room for the numbers
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.invert_yaxis()
    name_ticks(axis.yaxis, [(table.class_names[class_id], class_id) for class_id in shown])
    left_out = len(table.class_names) - len(shown)
    axis.set(title=f"{table.unit} of each class" + (f", {left_out} rarer ones left out" if left_out else ""))
    axis.set_xlabel(table.unit)
    name_curves(axis, loc="lower right")


def _plot_sizes(axis: Any, table: Table[Any]) -> None:
    counted = Counter(sample.size for sample in table.samples)
    heights, widths = np.array(list(counted)).T
    areas = 12 + 400 * np.array(list(counted.values())) / len(table)
    axis.scatter(widths, heights, s=areas, alpha=0.4)
    axis.set(title="size of the pictures (area: how many)", xlabel="width, pixels", ylabel="height, pixels")
    axis.set(xlim=(0, 1.1 * widths.max()), ylim=(0, 1.1 * heights.max()))
    axis.grid(alpha=0.3)


def _plot_boxes(axis: Any, table: Table[BoxSample], shown: list[int]) -> None:
    """Sides of each class's boxes, as shares of the picture's: what a network sees of them."""
    shares, ids = [np.zeros(0)], [np.zeros(0, np.int64)]
    for sample in table.samples:
        sides = (sample.boxes[:, 2:] - sample.boxes[:, :2])[~sample.crowd].astype(float)
        shares.append(np.sqrt(sides.prod(axis=1) / (sample.size[0] * sample.size[1])))
        ids.append(sample.class_ids[~sample.crowd])
    values, of = np.concatenate(shares), np.concatenate(ids)
    edges = np.geomspace(max(1e-4, values.min(initial=1.0)) * 0.99, 1, BINS)
    for class_id in shown[:7]:  # as many as there are colours to tell apart
        if (of == class_id).any():
            label = plain_name(table.class_names[class_id], class_id)
            axis.hist(values[of == class_id], edges, histtype="step", label=label)
    axis.set_xscale("log")
    axis.set_xticks([tick for tick in TICKS if tick >= edges[0]], minor=False)
    axis.set_xticks([], minor=True)
    axis.xaxis.set_major_formatter("{x:.2g}")
    axis.set_ylim(top=1.3 * axis.get_ylim()[1])  # room for the names
    axis.set(title="size of the boxes", xlabel="side as a share of the picture's", ylabel="boxes")
    name_curves(axis)


def _plot_regions(axis: Any, table: Table[MaskSample], shown: list[int]) -> None:
    """How much of a picture each class takes where it is; the background takes the rest."""
    areas = np.array([sample.size[0] * sample.size[1] for sample in table.samples])
    shares = np.array([sample.pixels for sample in table.samples]) / areas[:, None]
    edges = np.linspace(0, max(0.01, shares[:, 1:].max(initial=0)), BINS)
    for class_id in [class_id for class_id in shown if class_id][:7]:
        there = shares[:, class_id][shares[:, class_id] > 0]
        if len(there):
            axis.hist(there, edges, histtype="step", label=plain_name(table.class_names[class_id], class_id))
    axis.xaxis.set_major_formatter("{x:.2g}")
    axis.set(title="size of the regions", xlabel="share of the picture, where the class is", ylabel="pictures")
    name_curves(axis)


def _plot_sources(axis: Any, table: Table[LabelSample], shown: list[int]) -> None:
    """Pictures of each class and source."""
    counted = Counter((sample.class_id, sample.source or "no source told") for sample in table.samples)
    sources = [name for name, _ in Counter(sample.source or "no source told" for sample in table.samples).most_common()]
    ends = np.zeros(len(shown))
    for source in sources:
        widths = np.array([counted[class_id, source] for class_id in shown], float)
        axis.barh(range(len(shown)), widths, left=ends, label=plain_name(source, None))
        ends += widths
    axis.invert_yaxis()
    name_ticks(axis.yaxis, [(table.class_names[class_id], class_id) for class_id in shown])
    axis.set(title="pictures of each class by source", xlabel="pictures")
    name_curves(axis, fontsize=8, bbox_to_anchor=(1.02, 1), loc="upper left")
