"""The XML files as VOC's own tools read them, and how fractions are rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from toolkit.data.writers.voc import whole_corners


def test_the_files(boxes_in: Callable[..., Any]) -> None:
    table, out = boxes_in("voc", crowd=True)
    for sample in table.samples:
        path = (out / "Annotations" / sample.name).with_suffix(".xml")
        root = ElementTree.parse(path).getroot()
        assert root.findtext("filename") == sample.path.name
        assert [int(root.findtext(f"size/{key}") or 0) for key in ("height", "width", "depth")] == [*sample.size, 3]
        objects = root.findall("object")
        assert [node.findtext("name") for node in objects] == [table.class_names[k] for k in sample.class_ids]
        assert [node.findtext("difficult") for node in objects] == [str(int(crowd)) for crowd in sample.crowd]
        keys = ("xmin", "ymin", "xmax", "ymax")
        corners = np.array([[int(node.findtext(f"bndbox/{k}") or 0) for k in keys] for node in objects]).reshape(-1, 4)
        assert (corners[:, :2] >= 1).all()
        assert (corners[:, 2:] <= sample.size[::-1]).all()
        assert np.abs(corners - [1, 1, 0, 0] - sample.boxes).max(initial=0) <= 0.5
    assert (out / "ImageSets/Main/train.txt").read_text(encoding="utf-8").splitlines() == sorted(
        ["a b", "night/a b", "night/猫 1"]
    )
    assert (out / "ImageSets/Main/test.txt").read_text(encoding="utf-8") == "été/été\n"


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 83, 60), (0, 0, 83, 60)),
        ((0.4, 0.6, 9.4, 9.6), (0, 1, 9, 10)),
        ((5.2, 5.2, 5.4, 5.9), (5, 5, 6, 6)),  # thinner than a pixel: one pixel
        ((5.6, 5.6, 6.4, 6.4), (5, 5, 6, 6)),  # rounds to nothing: the pixel of its corner
        ((82.7, 59.7, 83, 60), (82, 59, 83, 60)),  # at the far edge: not outside
    ],
)
def test_rounding(box: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert whole_corners(list(box), (60, 83)) == expected
