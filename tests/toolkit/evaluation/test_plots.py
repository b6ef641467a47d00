"""Plots of what is there, and of the odd cases: many classes, names of any script, nothing to draw."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from toolkit.evaluation.plots import Plot, confusion_plot, dice_plot, precision_recall_plot, reliability_plot


def pixels(plot: Plot) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(plot.png)).convert("RGB"))


@pytest.mark.parametrize(
    "labels",
    [["background", "a long name of a class"], ["$x$", "$\\frac{"], ["猫", "ß"], [f"class {i}" for i in range(80)]],
    ids=["pixels", "dollars", "scripts", "many"],
)
def test_a_confusion_matrix(labels: list[str]) -> None:
    counts = np.zeros((len(labels), len(labels)), np.int64)
    counts[0, 0], counts[1, 0], counts[1, 1] = 12_345_678, 15_000, 7
    plot = confusion_plot(counts.tolist(), labels, "pixels")
    drawn = pixels(plot)
    assert drawn.std() > 3
    assert max(drawn.shape) < 2000  # can be looked at
    assert plot.name == "confusion_matrix"
    assert "pixels" in plot.meaning
    assert confusion_plot(counts.tolist(), labels, "pixels").png == plot.png


def test_precision_and_recall() -> None:
    curves = np.full((101, 14), -1.0)
    empty = precision_recall_plot(curves, [f"c{i}" for i in range(14)])
    curves[:, :12] = np.linspace(1, 0, 101)[:, None]
    full = precision_recall_plot(curves, [f"_c{i}" for i in range(14)])
    assert (pixels(empty) != pixels(full)).any()
    assert full.meaning.endswith("at IoU 0.5; the first 10 of 12 classes.")
    assert empty.meaning.endswith("at IoU 0.5.")


def test_reliability() -> None:
    scores, right = np.float32([0.95, 0.95, 0.55, 1]), np.array([True, True, False, False])  # 1.0 is in the last step
    plot = reliability_plot(scores, right, "probability")
    assert plot.title == "Can its probabilities be trusted?"
    assert (pixels(plot) != pixels(reliability_plot(scores, ~right, "probability"))).any()
    assert reliability_plot(scores[:0], right[:0], "score").title == "Can its scores be trusted?"


def test_dice_of_pictures_that_show_nothing() -> None:
    """Neither true nor said: there is no Dice, and no reason to fail at the end of a training."""
    nothing = dice_plot(np.full((3, 2), np.nan), ["a", "b"])
    some = dice_plot(np.array([[0.5, np.nan], [1, np.nan], [0, np.nan]]), ["a", "b"])
    assert (pixels(nothing) != pixels(some)).any()
