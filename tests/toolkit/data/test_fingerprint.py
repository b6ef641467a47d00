"""The rows that a run keeps of its data: they change exactly where file, labels, split or name do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.data.fingerprint import Picture, fingerprint, read_fingerprint, write_fingerprint
from toolkit.data.table import BoxSample, LabelSample, MaskSample, Sample, Table
from toolkit.errors import UserError

NAMES = ("cat", "dog")


def common(folder: Path) -> dict[str, Any]:
    (folder / "a.jpg").write_bytes(b"picture")
    return {"path": folder / "a.jpg", "name": "a.jpg", "size": (4, 5), "split": "train", "group": "g"}


def boxes(folder: Path) -> BoxSample:
    return BoxSample(
        **common(folder),
        boxes=np.array([[0, 0, 2, 2], [1, 1, 4, 3]], np.float32),
        class_ids=np.array([0, 1]),
        crowd=np.zeros(2, bool),
        areas=np.array([4.0, 6.0]),
    )


def label(folder: Path) -> LabelSample:
    return LabelSample(**common(folder), class_id=1)


def mask(folder: Path) -> MaskSample:
    Image.fromarray(np.eye(4, 5, dtype=np.uint8)).save(folder / "a.png")
    return MaskSample(**common(folder), masks=((folder / "a.png", 1),), pixels=np.array([16, 4]))


def row(sample: Sample, names: tuple[str, ...] = NAMES) -> Picture:
    return fingerprint(Table(names, (sample,)))[0]


Make = Callable[[Path], Any]
# What is changed in a sample, and the columns of its row that then differ.
CHANGES: list[tuple[Make, dict[str, Any], set[str]]] = [
    (label, {}, set()),
    (label, {"name": "b.jpg"}, {"image"}),
    (label, {"split": "val"}, {"split"}),
    (label, {"digest": "0" * 64}, {"content"}),
    (label, {"class_id": 0}, {"labels"}),
    (label, {"path": Path("moved.jpg"), "digest": hashlib.sha256(b"picture").hexdigest()}, set()),
    (boxes, {}, set()),
    (boxes, {"boxes": np.array([[0, 0, 2, 2], [1, 1, 4, 3.5]], np.float32)}, {"labels"}),
    (boxes, {"class_ids": np.array([1, 1])}, {"labels"}),
    (boxes, {"crowd": np.array([False, True])}, {"labels"}),
    (boxes, {"areas": np.array([4.0, 5.0])}, {"labels"}),
    (mask, {}, set()),
    (mask, {"mask_digest": "0" * 64}, {"labels"}),
    (mask, {"masks": ()}, {"labels"}),
]


@pytest.mark.parametrize(("make", "change", "differing"), CHANGES)
def test_a_row_changes_where_the_sample_does(
    make: Make, change: dict[str, Any], differing: set[str], tmp_path: Path
) -> None:
    before, after = row(make(tmp_path)), row(replace(make(tmp_path), **change))
    assert {field for field in Picture._fields if getattr(before, field) != getattr(after, field)} == differing


def test_the_content_is_the_files_sha256_whether_hashed_before_or_not(tmp_path: Path) -> None:
    expected = hashlib.sha256(b"picture").hexdigest()[:16]
    assert row(label(tmp_path)).content == expected
    assert row(replace(label(tmp_path), digest=expected + "0" * 48)).content == expected


def test_another_order_of_the_classes_leaves_labels_the_same(tmp_path: Path) -> None:
    assert row(label(tmp_path)) == row(replace(label(tmp_path), class_id=0), ("dog", "cat"))
    assert row(label(tmp_path)) != row(label(tmp_path), ("dog", "cat"))


def test_the_readers_hash_what_they_read(coco: Any) -> None:
    table = coco.load()
    assert all(s.digest == hashlib.sha256(s.path.read_bytes()).hexdigest() for s in table.samples)


def test_rows_come_back_from_the_file(tmp_path: Path) -> None:
    rows = [Picture("a, b.jpg", "train", "0" * 16, "1" * 16), Picture("ä\n.jpg", "val", "2" * 16, "3" * 16)]
    write_fingerprint(tmp_path / "data.csv", rows)
    assert read_fingerprint(tmp_path / "data.csv") == rows


@pytest.mark.parametrize("text", ["", "image,split\na,train\n", "image,split,content,labels\na,train\n"])
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(UserError, match="expected the columns image, split, content, labels"):
        read_fingerprint(tmp_path / "data.csv")
