"""The plots that several tasks draw, by matplotlib without pyplot, which keeps global state and wants a display."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A matplotlib figure of ``size`` inches (width, height) and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_results(table: Path, path: Path, parts: Sequence[str], numbers: Sequence[str]) -> None:
    """Draw loss, validation numbers and learning rate over the epochs of a ``results.csv``."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def series(name: str) -> tuple[list[int], list[float]]:
        known = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        return [epoch for epoch, _ in known], [value for _, value in known]

    figure, axes = new_figure(1, 3, (13, 4))
    for name in ("loss", *parts):
        axes[0, 0].plot(*series(f"train/{name}"), label=name.replace("_", " "))
    for name in numbers:
        axes[0, 1].plot(*series(f"val/{name}"), marker="o", label=name.replace("_", " "))
    axes[0, 2].plot(*series("learning_rate"))
    for axis, title in zip(axes[0], ("training loss", "validation", "learning rate"), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    axes[0, 1].legend()
    figure.savefig(path, dpi=100)


def plot_confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix with counts, coloured by row; long counts are shortened (12M)."""
    matrix = np.asarray(counts)
    figure, axes = new_figure(1, 1, (1.3 * len(labels) + 2.5, 1.1 * len(labels) + 1.5))
    axis = axes[0, 0]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, _short(int(count)), ha="center", va="center", color=colour)
    axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="predicted", ylabel="true", title=title)
    figure.savefig(path, dpi=100)


def _short(count: int) -> str:
    for size, unit in ((10**6, "M"), (10**4, "k")):
        if count >= size:
            return f"{count / (10**6 if unit == 'M' else 10**3):.3g}{unit}"
    return str(count)
