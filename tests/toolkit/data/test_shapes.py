"""Drawn sets: the same settings draw the same files, boxes enclose what was drawn, and nobody's folder is replaced."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from toolkit import images
from toolkit.data import Table, load_table, shapes
from toolkit.data.draw_shapes import CLASS_NAMES, draw_lone_shape, draw_scene
from toolkit.data.mask_files import read_mask
from toolkit.errors import UserError


def load(task: str = "detection", **changes: Any) -> Table[Any]:
    block = {"format": "shapes", "root": None, "pictures": 20, "size": (96, 128), "val_fraction": 0.2, "seed": 0}
    data = SimpleNamespace(on_fault="stop", **{**block, **changes})
    return load_table(SimpleNamespace(task=task, seed=0, data=data))


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_drawn_set_is_a_coco_set() -> None:
    table = load()
    assert (table.class_names, len(table), len(table.subset("val"))) == (CLASS_NAMES, 20, 4)
    assert all(sample.size == (96, 128) for sample in table.samples)
    assert all(counts["train"] > 0 for counts in table.counts().values())
    assert any(len(sample.boxes) == 0 for sample in table.samples)
    assert sorted(path.name for path in Path("runs/shapes-20-96x128-0").iterdir()) == [
        "annotations.json",
        "drawn.json",
        "images",
        "splits.csv",
    ]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_kind_is_drawn_once_and_whole(task: str) -> None:
    kind = {"classification": "labels", "segmentation": "masks"}[task]
    table = load(task)
    folder = Path(f"runs/shapes-{kind}-20-96x128-0")
    assert (len(table), len(table.subset("val"))) == (20, 4)
    assert all(sample.size == (96, 128) for sample in table.samples)
    before = fingerprint(folder)
    first = table.samples[0].path.stat().st_mtime_ns
    assert load(task).samples[0].path.stat().st_mtime_ns == first
    next(iter(sorted(folder.rglob("*.png" if kind == "masks" else "*.jpg")))).unlink()
    load(task)
    assert fingerprint(folder) == before
    assert os.listdir("runs") == [folder.name]
    # A folder of another kind is replaced as well: the toolkit drew it.
    assert len(load("detection", root=folder)) == 20


def test_labels_name_what_is_seen() -> None:
    """The one shape of each picture fills its box as its class does, and is large enough to be told."""
    table = load("classification", pictures=30)
    assert table.class_names == CLASS_NAMES
    assert [sample.path.parent.name for sample in table.samples] == [CLASS_NAMES[s.class_id] for s in table.samples]
    for index in range(30):
        scene = draw_lone_shape((96, 128), 0, index)
        sample = next(sample for sample in table.samples if sample.path.stem == f"{index:05d}")
        assert scene.class_ids == [sample.class_id]
        (_, _, width, height), area = scene.boxes[0], scene.areas[0]
        low, high = {"circle": (0.7, 0.85), "square": (0.45, 1.01), "triangle": (0.3, 0.62)}[
            CLASS_NAMES[sample.class_id]
        ]
        assert low <= area / (width * height) <= high
        assert max(width, height) >= 0.19 * 96  # a triangle's box is smaller than its circle
        seen = images.decode(sample.path).astype(int)
        assert np.abs(seen - scene.image).mean() < 15  # JPEG of noise


def test_masks_are_of_what_was_drawn() -> None:
    table = load("segmentation")
    assert table.class_names == ("background", *CLASS_NAMES)
    for sample in table.samples:
        scene = draw_scene((96, 128), 0, int(sample.path.stem))
        mask = read_mask(sample)
        np.testing.assert_array_equal(mask, scene.mask())
        boxes = np.zeros(mask.shape, bool)
        for class_id, (x, y, width, height) in zip(scene.class_ids, scene.boxes, strict=True):
            boxes[y : y + height, x : x + width] = True
            assert (mask[y : y + height, x : x + width] == class_id + 1).any()
        assert not mask[~boxes].any()
        # Half of each shape stays to be seen.
        assert sum(scene.areas) / 2 <= (mask > 0).sum() <= sum(scene.areas)
    assert any(sample.pixels[0] == 96 * 128 for sample in table.samples)


def test_the_same_settings_draw_the_same() -> None:
    load(root=Path("one"))
    load(root=Path("two"))
    load(root=Path("three"), seed=1)
    assert fingerprint(Path("one")) == fingerprint(Path("two"))
    assert fingerprint(Path("one"))["images/00000.jpg"] != fingerprint(Path("three"))["images/00000.jpg"]


def test_a_complete_set_is_used_again_and_another_replaced() -> None:
    load(root=Path("set"))
    first = Path("set/images/00000.jpg").stat().st_mtime_ns
    load(root=Path("set"))
    assert Path("set/images/00000.jpg").stat().st_mtime_ns == first
    assert len(load(root=Path("set"), pictures=15)) == 15
    Path("set/images/00003.jpg").unlink()
    assert len(load(root=Path("set"), pictures=15)) == 15
    assert os.listdir(".") == ["set"]  # nothing half-drawn stays behind


def test_folders_of_others_are_left_alone() -> None:
    Path("mine").mkdir()
    assert len(load(root=Path("mine"))) == 20  # an empty one is as good as none
    Path("photos").mkdir()
    Path("photos/holiday.jpg").write_text("dear")
    Path("file").write_text("dear")
    for name in ("photos", "file"):
        with pytest.raises(UserError, match=f"^{name}: exists and was not drawn by the toolkit; name another folder"):
            load(root=Path(name))
    assert Path("photos/holiday.jpg").read_text() == "dear"


def test_a_folder_that_cannot_be_made() -> None:
    Path("file").write_text("")
    with pytest.raises(UserError, match=r"^file/set: the shapes cannot be drawn here \("):
        load(root=Path("file/set"))


def test_an_interrupted_drawing_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes.images, "write", fail)
    with pytest.raises(KeyboardInterrupt):
        load(root=Path("set"))
    assert os.listdir(".") == []


def test_two_at_once_end_with_one_whole_set() -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: shapes.draw_set(Path("set"), pictures=6, size=(64, 64)), range(4)))
    shapes.draw_set(Path("alone"), pictures=6, size=(64, 64))
    assert fingerprint(Path("set")) == fingerprint(Path("alone"))
    assert sorted(os.listdir(".")) == ["alone", "set"]


@pytest.mark.parametrize("size", [(320, 320), (96, 160)])
def test_boxes_enclose_what_is_seen(size: tuple[int, int]) -> None:
    """Without its shapes the same picture has other pixels inside the boxes alone."""
    sides: list[int] = []
    for index in range(14):
        scene = draw_scene(size, 5, index)
        assert len(scene.boxes) == len(scene.class_ids) == len(scene.areas)
        assert (len(scene.boxes) == 0) == (index % 7 == 6)
        for (x, y, width, height), area, class_id in zip(scene.boxes, scene.areas, scene.class_ids, strict=True):
            assert x >= 0
            assert y >= 0
            assert x + width <= size[1]
            assert y + height <= size[0]
            # A disk fills pi/4 of its box; a turned square at least a half, a turned triangle less than 0.6.
            low, high = {"circle": (0.7, 0.85), "square": (0.45, 1.01), "triangle": (0.3, 0.62)}[CLASS_NAMES[class_id]]
            if min(width, height) >= 16:
                assert low <= area / (width * height) <= high
            sides.append(max(width, height))
    assert max(sides) > 2 * min(sides)


def test_a_box_is_tight_around_a_lone_shape() -> None:
    checked = 0
    for index in range(60):
        scene = draw_scene((160, 160), 2, index)
        if len(scene.boxes) != 1:
            continue
        (x, y, width, height), area = scene.boxes[0], scene.areas[0]
        # The middle of the box has the shape's colour; pixels near that colour are the shape.
        middle = scene.image[y + height // 2 - 2 : y + height // 2 + 3, x + width // 2 - 2 : x + width // 2 + 3]
        near = np.abs(scene.image - middle.reshape(-1, 3).mean(axis=0)).max(axis=2) < 45
        inside = near[y : y + height, x : x + width]
        assert 0.9 * area <= inside.sum() <= 1.1 * area
        checked += 1
    assert checked >= 5
