"""The plots of what was measured, as PNG, for the run's folder and the report alike.

Needs matplotlib, of the ``[train]`` extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.evaluation.coco_metrics import PROTOCOL
from toolkit.plotting import as_png, name_curves, name_ticks, new_figure, plain_name

MOST_NAMED = 24  # classes of a confusion matrix whose counts can be read
MOST_CURVES = 10  # as many as there are colours to tell apart
STEPS = 10  # of the probability that an answer was given with


@dataclass(frozen=True)
class Plot:
    """``name`` is the file's without suffix; ``title`` and ``meaning`` stand beside the picture for readers."""

    name: str
    title: str
    meaning: str
    png: bytes


def confusion_plot(counts: Sequence[Sequence[int]], labels: Sequence[str], unit: str) -> Plot:
    """A confusion matrix of ``unit``, coloured by the share of its row; long counts are shortened (12M)."""
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    many = len(labels) > MOST_NAMED
    side = 10.0 if many else max(3.5, 0.85 * len(labels))
    figure, axes = new_figure(1, 1, (1.1 * side + 2.0, side + 1.2))
    axis = axes[0, 0]
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix if not many else np.zeros((0, 0))):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, _short(int(count)), ha="center", va="center", color=colour)
    named = [(label, class_id) for class_id, label in enumerate(labels)]
    for ticks in (axis.xaxis, axis.yaxis):
        name_ticks(ticks, named)
    axis.tick_params(labelsize=max(3, 250 / len(labels)) if many else 10)
    for label in axis.get_xticklabels():
        label.set(rotation=90 if many else 20, ha="center" if many else "right")
    axis.set(xlabel="predicted", ylabel="true")
    meaning = (
        f"A row holds the {unit} of one true class, a column those that were called so; colour is the row's share."
    )
    return Plot("confusion_matrix", "Confusion matrix", meaning, as_png(figure))


def precision_recall_plot(precision: NDArray[np.float64], class_names: Sequence[str]) -> Plot:
    """Precision over recall at IoU 0.5, ``precision`` [101, C] as COCO samples it; -1 where a class has no box."""
    figure, axes = new_figure(1, 1, (6, 5))
    known = [class_id for class_id in range(len(class_names)) if (precision[:, class_id] > -1).any()]
    for class_id in known[:MOST_CURVES]:
        curve = precision[:, class_id]
        name = plain_name(class_names[class_id], class_id)
        axes[0, 0].plot(PROTOCOL.recall_thresholds, curve, label=f"{name} (AP50 {curve.mean():.3f})")
    axes[0, 0].set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes[0, 0].grid(alpha=0.3)
    name_curves(axes[0, 0], loc="lower left")
    meaning = f"What share of the boxes is right while more and more objects are found, at IoU 0.5{_first(known)}."
    return Plot("pr_curves", "Precision and recall", meaning, as_png(figure))


def reliability_plot(sure: NDArray[Any], right: NDArray[np.bool_], score: str) -> Plot:
    """The share of right answers over the ``score`` that they were given with, in ten equal steps, of N answers."""
    step = np.minimum((sure * STEPS).astype(int), STEPS - 1)
    counts = np.bincount(step, minlength=STEPS)
    shares = np.bincount(step, weights=right, minlength=STEPS) / np.maximum(counts, 1)
    figure, axes = new_figure(1, 1, (6, 5))
    axes[0, 0].bar((np.arange(STEPS) + 0.5) / STEPS, shares, 0.9 / STEPS, label="right answers")
    axes[0, 0].plot([0, 1], [0, 1], "k--", linewidth=1, label="as sure as right")
    for position, (share, count) in enumerate(zip(shares, counts, strict=True)):
        if count:
            axes[0, 0].text((position + 0.5) / STEPS, share + 0.01, str(count), ha="center", fontsize=8)
    axes[0, 0].set(xlabel=f"{score} of the answer", ylabel="share", xlim=(0, 1), ylim=(0, 1.08))
    name_curves(axes[0, 0], loc="upper left")
    plural = {"probability": "probabilities"}.get(score, f"{score}s")
    meaning = f"How often answers of each {score} are right; over a bar, how many there are."
    return Plot("reliability", f"Can its {plural} be trusted?", meaning, as_png(figure))


def dice_plot(dice: NDArray[np.float64], class_names: Sequence[str]) -> Plot:
    """How many pictures have which Dice, ``dice`` [P, C]; NaN where a class is neither true nor predicted."""
    figure, axes = new_figure(1, 1, (6, 4.5))
    known = [class_id for class_id in range(len(class_names)) if not np.isnan(dice[:, class_id]).all()]
    for class_id in known[:MOST_CURVES]:
        values = dice[~np.isnan(dice[:, class_id]), class_id]
        label = f"{plain_name(class_names[class_id], class_id)} ({len(values)} pictures)"
        axes[0, 0].hist(values, np.linspace(0, 1, 21), histtype="step", linewidth=1.5, label=label)
    axes[0, 0].set(xlabel="Dice", ylabel="pictures", xlim=(0, 1))
    axes[0, 0].grid(alpha=0.3)
    name_curves(axes[0, 0], loc="upper left")
    meaning = f"In how many pictures a class reaches which Dice; those without it do not count{_first(known)}."
    return Plot("dice", "Dice of each picture", meaning, as_png(figure))


def _first(known: Sequence[int]) -> str:
    return f"; the first {MOST_CURVES} of {len(known)} classes" if len(known) > MOST_CURVES else ""


def _short(count: int) -> str:
    for size, unit in ((10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / (10**6 if unit == 'M' else 10**3):.3g}{unit}"
    return str(count)
