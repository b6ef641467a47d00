"""The table's own methods, and how a format is found."""

from __future__ import annotations

import importlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from toolkit.data import READERS, load_table
from toolkit.errors import UserError


def test_subset_keeps_order_and_names(coco: Any) -> None:
    table = coco.load()
    train = table.subset("train")
    assert [s.name for s in train.samples] == ["a.jpg", "b.jpg", "c.jpg", "e.jpg"]
    assert (len(table.subset("test")), train.class_names) == (0, ("cat", "dog"))


def test_subset_of_no_split(coco: Any) -> None:
    with pytest.raises(UserError, match=r"split 'vall': expected one of train, val, test; did you mean 'val'\?"):
        coco.load().subset("vall")


def test_counts_leave_crowds_out(coco: Any) -> None:
    coco.annotate(10, 3, [0, 0, 30, 20], iscrowd=1)
    coco.annotate(13, 3, [0, 0, 30, 20])
    assert coco.load().counts() == {
        "cat": {"train": 3, "val": 2, "test": 0},
        "dog": {"train": 3, "val": 1, "test": 0},
    }


def test_unknown_format() -> None:
    with pytest.raises(
        UserError, match=r"data.format: 'cocoo' is unknown; expected one of coco, voc, yolo, shapes; did you mean"
    ):
        load_table(SimpleNamespace(task="detection", seed=0, data=SimpleNamespace(format="cocoo")))


@pytest.mark.parametrize(
    ("task", "format_name"), [(task, name) for task, readers in READERS.items() for name in readers]
)
def test_every_format_has_its_reader(task: str, format_name: str) -> None:
    module, function = READERS[task][format_name].split(":")
    reader = getattr(importlib.import_module(module), function)
    assert list(inspect.signature(reader).parameters) == ["config", "seed", "progress"]


def test_a_format_is_one_line(monkeypatch: pytest.MonkeyPatch, coco: Any) -> None:
    monkeypatch.setitem(READERS["detection"], "pets", "toolkit.data.coco:read")
    assert len(coco.load(format="pets")) == 5
