"""The plot of a training's course."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from toolkit.plotting import new_figure

# Logged beside the parts of the loss, and of another size: on one axis they would hide the loss.
_COUNTS = ("positives",)


def plot_results(table: Path, path: Path, parts: Sequence[str], numbers: Sequence[str]) -> None:
    """Draw loss, validation numbers and learning rate over the epochs of a ``results.csv``."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def series(name: str) -> tuple[list[int], list[float]]:
        known = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        return [epoch for epoch, _ in known], [value for _, value in known]

    figure, axes = new_figure(1, 3, (13, 4))
    for name in ("loss", *parts):
        if name not in _COUNTS:
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
