"""The plots are written for every task, and for names and numbers that plotting libraries stumble over."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import images
from toolkit.data import BoxSample, LabelSample, MaskSample, Table
from toolkit.data.plots import plot_table

ODD = ("plain", "$a_1$ and $", "_hidden", "猫", "naïve", "% {x}")


def samples(task: str, count: int) -> tuple[Any, ...]:
    made = []
    for number in range(count):
        common = {
            "path": Path(f"{number}.jpg"), "name": f"{number}.jpg", "size": (100 + number, 150),
            "split": ("train", "val")[number % 2], "group": str(number), "source": ("", "$web")[number % 2],
        }  # fmt: skip
        if task == "boxes":
            boxes = np.array([[1, 2, 11 + number, 22], [0, 0, 150, 100]], np.float32)[: number % 3]
            ids = np.arange(len(boxes)) % len(ODD)
            crowd = np.zeros(len(boxes), np.bool_)
            made.append(BoxSample(**common, boxes=boxes, class_ids=ids, crowd=crowd, areas=np.ones(len(boxes))))
        elif task == "labels":
            made.append(LabelSample(**common, class_id=number % len(ODD)))
        else:
            made.append(MaskSample(**common, masks=(), pixels=np.arange(len(ODD)) * number))
    return tuple(made)


@pytest.mark.parametrize("task", ["boxes", "labels", "masks"])
@pytest.mark.parametrize("count", [1, 13])
def test_every_task(tmp_path: Path, task: str, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks is one
        plot_table(Table(ODD, samples(task, count)), tmp_path / "a.png")
    height, width = images.decode(tmp_path / "a.png").shape[:2]
    assert width == 1500
    assert height == 400


def test_the_figures_of_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars of the splits one after the other end at the class's count, and the rarest of many classes are left out."""
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: kept.append(figure))
    names = tuple(f"class {number:02d}" for number in range(45))
    counts = [3 + number for number in range(45)]
    made = [
        LabelSample(
            path=Path("a"), name="a", size=(10, 10), split=("train", "val", "test")[k % 3], group="a", class_id=label
        )
        for label, count in enumerate(counts)
        for k in range(count)
    ]  # fmt: skip
    plot_table(Table(names, tuple(made)), tmp_path / "a.png")
    axis = kept[0].axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == list(names[5:])
    ends: dict[int, float] = {}
    for bar in axis.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        ends[row] = max(ends.get(row, 0.0), bar.get_x() + bar.get_width())
    assert [ends[row] for row in range(40)] == counts[5:]
    assert "5 rarer ones left out" in axis.get_title()
