"""The text files as other YOLO tools read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import yaml
from written_sets import CLASSES


def test_the_files(boxes_in: Callable[..., Any]) -> None:
    table, out = boxes_in("yolo")
    assert (out / "classes.txt").read_text(encoding="utf-8").splitlines() == list(CLASSES)
    for sample in table.samples:
        text = (out / "labels" / sample.name).with_suffix(".txt").read_text(encoding="utf-8")
        numbers = np.array([line.split() for line in text.splitlines()], np.float64).reshape(-1, 5)
        assert numbers[:, 0].astype(int).tolist() == sample.class_ids.tolist()
        middle, sides = numbers[:, 1:3] * sample.size[::-1], numbers[:, 3:] * sample.size[::-1]
        boxes = np.concatenate([middle - sides / 2, middle + sides / 2], axis=1)
        assert np.abs(boxes - sample.boxes).max(initial=0) < 1e-6
        assert ((numbers[:, 1:] > 0) & (numbers[:, 1:] <= 1)).all()
    assert (out / "labels/z.txt").read_text() == ""  # background


def test_other_tools_find_names_and_splits(boxes_in: Callable[..., Any]) -> None:
    table, out = boxes_in("yolo")
    found = yaml.safe_load((out / "data.yaml").read_text(encoding="utf-8"))
    assert found["names"] == dict(enumerate(CLASSES))
    for split in ("train", "val", "test"):
        listed = (out / found[split]).read_text(encoding="utf-8").splitlines()
        assert [out / name for name in listed] == [out / "images" / s.name for s in table.subset(split).samples]
        assert all((out / name).is_file() for name in listed)


def test_crowds_are_left_out(boxes_in: Callable[..., Any]) -> None:
    _, out = boxes_in("yolo", crowd=True)
    assert sum(len(path.read_text().splitlines()) for path in (out / "labels").rglob("*.txt")) == 11
