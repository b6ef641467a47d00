"""LabelMe folders: rectangles and polygons arrive as boxes and masks, and everything else is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import images
from toolkit.data.labelme import read_boxes, read_polygons
from toolkit.errors import DataFaults

Points = list[list[float]]


class LabelMe:
    """Pictures of 40x30 with their JSON files in one folder, as the tool leaves them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.documents: dict[str, Any] = {}

    def add(self, name: str, *shapes: dict[str, Any], picture: str = "", **more: Any) -> None:
        picture = picture or f"{name}.jpg"
        path = self.root / Path(name).parent / picture.replace("\\", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, np.full((30, 40, 3), len(self.documents), np.uint8))
        document = {"version": "5.4", "imagePath": picture, "imageData": None, "shapes": list(shapes)}
        self.documents[name] = {**document, "imageHeight": 30, "imageWidth": 40, **more}

    def write(self) -> Path:
        for name, document in self.documents.items():
            path = self.root / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        return self.root


def shape(label: Any, points: Any, kind: str | None = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


TRIANGLE: Points = [[5, 5], [25, 5], [5, 15]]


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelMe:
    monkeypatch.chdir(tmp_path)
    made = LabelMe(Path("pets"))
    made.add("a", shape("dog", [[30, 20], [10, 5]], "rectangle"), shape("cat", TRIANGLE))
    made.add("b")
    return made


def test_boxes(pets: LabelMe) -> None:
    table = read_boxes(pets.write())
    first, second = table.samples
    assert table.class_names == ("cat", "dog")
    assert (first.name, first.size, first.split) == ("a.jpg", (30, 40), "train")
    assert first.boxes.tolist() == [[10, 5, 30, 20], [5, 5, 25, 15]]
    assert first.class_ids.tolist() == [1, 0]
    assert first.areas.tolist() == [300, 100]
    assert second.boxes.shape == (0, 4)


def test_parts_of_one_object_are_one_box(pets: LabelMe) -> None:
    far: Points = [[30, 20], [38, 20], [38, 28]]
    pets.add("c", shape("cat", TRIANGLE, group_id=1), shape("cat", far, group_id=1), shape("dog", far, group_id=1))
    sample = read_boxes(pets.write()).samples[2]
    assert sample.boxes.tolist() == [[5, 5, 38, 28], [30, 20, 38, 28]]
    assert sample.areas.tolist() == [132, 32]


def test_polygons(pets: LabelMe) -> None:
    table = read_polygons(pets.write())
    assert table.class_names == ("background", "cat", "dog")
    mask = table.samples[0].mask()
    expected = np.zeros((30, 40), np.uint8)
    expected[5:20, 10:30] = 2
    for y in range(5, 15):
        expected[y, 5 : 5 + 19 - 2 * (y - 5)] = 1  # drawn later: on top; the middles under the slope from 25 to 5
    np.testing.assert_array_equal(mask, expected)
    assert not table.samples[1].mask().any()
    assert table.counts()["cat"] == {"train": 1, "val": 0, "test": 0}


def test_labelmes_own_labels(pets: LabelMe) -> None:
    everything: Points = [[0, 0], [40, 30]]
    pets.add(
        "c",
        shape("cat", everything, "rectangle"),
        shape("_background_", [[0, 0], [9, 9]], "rectangle"),
        shape("__ignore__", [[20, 0], [29, 9]], "rectangle"),
    )
    folder = pets.write()
    mask = read_polygons(folder).samples[2].mask()
    assert [int(mask[place]) for place in ((0, 0), (15, 15), (5, 25))] == [0, 1, 255]
    assert read_polygons(folder).class_names == ("background", "cat", "dog")
    assert read_boxes(folder).samples[2].boxes.tolist() == [[0, 0, 40, 30]]


def test_paths_of_many_hands(pets: LabelMe) -> None:
    pets.add("街道/口罩 1", picture="..\\pictures\\口罩 1.jpg")
    pets.add("old", shape("cat", TRIANGLE, kind=None))  # before shape_type
    del pets.documents["old"]["imageHeight"], pets.documents["old"]["imageWidth"]
    folder = pets.write()
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.json").write_text("x")
    assert [s.name for s in read_boxes(folder).samples] == ["a.jpg", "b.jpg", "old.jpg", "街道/口罩 1.jpg"]


def test_pictures_in_a_folder_of_their_own(pets: LabelMe) -> None:
    folder = pets.write()
    Path("pictures").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).rename(Path("pictures") / name)
    assert [s.path for s in read_boxes(folder, Path("pictures")).samples] == [
        Path("pictures/a.jpg"),
        Path("pictures/b.jpg"),
    ]


def set_key(key: str, value: Any) -> Callable[[LabelMe], None]:
    return lambda pets: pets.documents["b"].update({key: value})


def set_shape(*arguments: Any) -> Callable[[LabelMe], None]:
    return set_key("shapes", [shape("dog", TRIANGLE), shape(*arguments)])


FILE = "pets/b.json"
# What goes wrong, the file that is named, and the start of the sentence.
FAULTS: dict[str, tuple[Callable[[LabelMe], Any], str, str]] = {
    "circle": (
        set_shape("cat", [[5, 5], [9, 9]], "circle"),
        FILE,
        "shapes[1]: 'cat' is a circle; expected a rectangle or a polygon: draw it anew, or remove it",
    ),
    "two corners": (set_shape("cat", [[5, 5], [9, 9]]), FILE, "shapes[1]: 'cat': a polygon needs 3 points, found 2"),
    "no area": (
        set_shape("cat", [[5, 5], [9, 5], [7, 5]]),
        FILE,
        "shapes[1]: 'cat': the polygon [[5, 5], [9, 5], [7, 5]]",
    ),
    "point of text": (set_shape("cat", [[5, "5"], [9, 9], [1, 1]]), FILE, "shapes[1]: 'cat': expected points as pairs"),
    "point of three": (set_shape("cat", [[5, 5, 5], [9, 9], [1, 1]]), FILE, "shapes[1]: 'cat': expected points as"),
    "point infinite": (set_shape("cat", [[5, 1e999], [9, 9], [1, 1]]), FILE, "shapes[1]: 'cat': expected points as"),
    "no label": (set_shape("", TRIANGLE), FILE, "shapes[1]: expected a label, found ''"),
    "shape is no object": (set_key("shapes", [5]), FILE, "shapes[0]: expected an object, found 5"),
    "no shapes": (set_key("shapes", None), FILE, "is not a LabelMe file: expected an object with a list under shapes"),
    "no imagePath": (set_key("imagePath", None), FILE, "expected an imagePath, found None"),
    "height 0": (
        set_key("imageHeight", 0),
        FILE,
        "expected imageHeight and imageWidth as positive whole numbers, found 0 and 40",
    ),
    "another size": (
        set_key("imageHeight", 31),
        "pets/b.jpg",
        "is 40x30, but the annotations say 40x31; its labels belong to another version of the picture",
    ),
    "picture missing": (set_key("imagePath", "z.jpg"), "pets/z.jpg", "no such file"),
    "picture twice": (set_key("imagePath", "a.jpg"), FILE, "annotates pets/a.jpg, as pets/a.json does; keep one"),
}


@pytest.mark.parametrize("read", [read_boxes, read_polygons])
@pytest.mark.parametrize("case", FAULTS)
def test_fault(pets: LabelMe, case: str, read: Callable[[Path], Any]) -> None:
    bend, file, sentence = FAULTS[case]
    bend(pets)
    with pytest.raises(DataFaults) as caught:
        read(pets.write())
    assert [f for f in caught.value.faults if f.file == file and f.message.startswith(sentence)], caught.value.faults


@pytest.mark.parametrize("read", [read_boxes, read_polygons])
def test_shapes_outside(pets: LabelMe, read: Callable[[Path], Any]) -> None:
    set_shape("cat", [[30, 5], [40.5, 5], [30, 9]])(pets)
    assert len(read(pets.write())) == 2  # half a pixel is rounding
    set_shape("cat", [[30, 5], [45, 5], [30, 9]])(pets)
    with pytest.raises(DataFaults, match=r"pets/b.json: shapes\[1\]: .* reaches 5 px outside the 40x30 picture"):
        read(pets.write())


def test_texts_that_are_no_json(pets: LabelMe) -> None:
    folder = pets.write()
    (folder / "b.json").write_text('{"shapes": [')
    (folder / "c.json").write_bytes(b"\xff\xfe")
    (folder / "d.json").write_text("[]")
    with pytest.raises(DataFaults) as caught:
        read_boxes(folder)
    assert [(f.file, f.message[:11]) for f in caught.value.faults] == [
        ("pets/b.json", "is not JSON"),
        ("pets/c.json", "is not JSON"),
        ("pets/d.json", "is not a La"),
    ]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataFaults, match=r"holds no .json file; expected a folder of LabelMe annotations"):
        read_polygons(tmp_path)
