"""A written set is read as a training would read it; also where it could not be trained on yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn_photos import photo
from written_sets import coco_set

from toolkit import images
from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source
from toolkit.data.writers import yolo
from toolkit.errors import UserError


def labelme_set(root: Path, labels: list[list[str]], copies: dict[int, int] | None = None) -> Path:
    """A picture for each list of labels; ``copies`` have the file of another."""
    root.mkdir()
    for number, names in enumerate(labels):
        images.write(root / f"{number}.jpg", photo((copies or {}).get(number, number), (40, 50)))
        shapes = [
            {"label": name, "points": [[1, 1 + 9 * k], [20, 9 + 9 * k]], "shape_type": "rectangle"}
            for k, name in enumerate(names)
        ]
        document = {"imagePath": f"{number}.jpg", "imageData": None, "shapes": shapes}
        (root / f"{number}.json").write_text(json.dumps(document))
    return root


def test_a_writer_that_loses_boxes_is_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = coco_set(tmp_path / "set")
    opened = open_source(str(root), "coco", "yolo", [f"data.splits={root / 'splits.csv'}"])
    kept, whole = opened.table.samples[-1].boxes, yolo._lines
    monkeypatch.setattr(yolo, "_lines", lambda sample: whole(sample)[sample.boxes is kept :])
    with pytest.raises(RuntimeError, match=r"yolo: wrote .* read back"):
        convert(opened.table, "detection", "yolo", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("labels", "copies", "read"),
    [
        ([["cat"], ["cat"], ["dog"]], {}, True),  # the cats: one may be held out while reading
        ([["cat"], ["dog"], []], {}, True),  # the one without any
        ([["cat"], ["dog"]], {}, False),
        ([["cat"]], {}, False),
        ([["cat"], ["cat"], ["dog"]], {1: 0}, False),  # one file twice: held out it would be a fault
    ],
)
@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_sets_without_a_split(
    tmp_path: Path, to: str, labels: list[list[str]], copies: dict[int, int], read: bool
) -> None:
    opened = open_source(str(labelme_set(tmp_path / "set", labels, copies)), "labelme", to)
    done = convert(opened.table, "detection", to, tmp_path / "out")
    assert (done.table is not None) == read
    if done.table:
        assert {sample.split for sample in done.table.samples} == {"train"}
        assert done.table.counts() == opened.table.counts()
    assert not (tmp_path / "out/splits.csv").exists()
    assert done.block is not None
    assert "splits" not in done.block
    found = [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".jpg"]
    assert len(found) == len(labels)


@pytest.mark.parametrize("to", ["masks", "csv"])
def test_masks_without_a_split(tmp_path: Path, to: str) -> None:
    opened = open_source(str(labelme_set(tmp_path / "set", [["a"], ["a", "b"], ["b"], ["c"]])), "labelme", to)
    found: Any = convert(opened.table, "segmentation", to, tmp_path / "out").table
    assert found.class_names == ("background", "a", "b", "c")
    assert {sample.split for sample in found.samples} == {"train"}


def test_a_folder_without_shapes(tmp_path: Path) -> None:
    root = labelme_set(tmp_path / "set", [[], []])
    for to in ("coco", "masks"):
        with pytest.raises(UserError, match="set: none of its 2 pictures has a labelled shape"):
            open_source(str(root), "labelme", to)
