"""A sound YOLO set arrives as it is; every fault has its sentence with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit import images
from toolkit.config.data_blocks import YoloData

PICTURES, FILES = "pets/images/", "pets/labels/"
CAT, DOG = "0 0.15 0.2 0.25 0.2666666", "1 0.7 0.5 0.4 0.6"


@pytest.fixture
def yolo(folder: Callable[..., Any]) -> Any:
    """Five pictures of 40x30, a to d with a cat and a dog each, e without a text file."""
    made = folder("detection", YoloData, format="yolo")
    for number, name in enumerate("abcde"):
        made.draw(f"images/{name}.jpg", 40 * number)
        if name != "e":
            made.write(f"labels/{name}.txt", f"{CAT}\n{DOG}\n")
    made.write("classes.txt", "cat\ndog\n")
    made.write("splits.csv", "image,split\na.jpg,train\nb.jpg,train\nc.jpg,train\nd.jpg,val\ne.jpg,train\n")
    made.keys["splits"] = made.root / "splits.csv"
    return made


def test_a_sound_set(yolo: Any) -> None:
    table = yolo.load()
    assert table.class_names == ("cat", "dog")
    assert [(s.name, s.split) for s in table.samples] == [
        (f"{name}.jpg", "val" if name == "d" else "train") for name in "abcde"
    ]
    first, last = table.samples[0], table.samples[-1]
    np.testing.assert_allclose(first.boxes, [[1, 2, 11, 10], [20, 6, 36, 24]], atol=1e-4)
    np.testing.assert_allclose(first.areas, [80, 288], rtol=1e-6)
    assert (first.class_ids.tolist(), first.crowd.tolist()) == ([0, 1], [False, False])
    assert last.boxes.shape == (0, 4)  # no text file: background


def test_the_box_holds_just_the_pixels_that_are_meant(yolo: Any) -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[3:9, 4:14] = 200
    yolo.write("images/a.jpg", images.encode(picture, ".png"))
    yolo.write("labels/a.txt", f"0 {9 / 40} {6 / 30} {10 / 40} {6 / 30}")
    left, top, right, bottom = np.round(yolo.load().samples[0].boxes[0]).astype(int)
    assert (picture[top:bottom, left:right, 0] == 200).all()
    assert (bottom - top) * (right - left) == (picture[..., 0] == 200).sum()


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{CAT}\r\n{DOG}\r\n",
        f"{CAT}\n\n  {DOG}",
        f"{CAT}\n{DOG}".replace(" ", "\t"),
        f"{CAT}\n{DOG}".replace("1 0.7", "1.0 7e-1"),
    ],
)
def test_texts_of_many_hands(yolo: Any, text: str) -> None:
    before = yolo.load().samples[0].boxes
    yolo.write("labels/a.txt", text)
    np.testing.assert_array_equal(yolo.load().samples[0].boxes, before)


def test_a_box_that_sticks_out_by_rounding_is_clipped(yolo: Any) -> None:
    yolo.write("labels/a.txt", "0 0.99 0.5 0.05 1.0")
    np.testing.assert_allclose(yolo.load().samples[0].boxes, [[38.6, 0, 40, 30]], atol=1e-5)


def test_pictures_in_folders_with_other_names(yolo: Any) -> None:
    yolo.draw("images/街道/口罩, 1.jpg", 7)
    yolo.write("labels/街道/口罩, 1.txt", CAT)
    yolo.replace("splits.csv", "split\n", 'split\n"街道/口罩, 1.jpg",train\n')
    assert [len(s.boxes) for s in yolo.load().samples if s.name == "街道/口罩, 1.jpg"] == [1]


def test_splits_by_folder(yolo: Any) -> None:
    for name in "abcd":
        split = "val" if name == "d" else "train"
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            (yolo.root / kind / split).mkdir(exist_ok=True)
            (yolo.root / kind / f"{name}.{suffix}").rename(yolo.root / kind / split / f"{name}.{suffix}")
    (yolo.root / "images/e.jpg").rename(yolo.root / "images/train/e.jpg")
    table = yolo.load(splits=None)
    assert [(s.name, s.split, len(s.boxes)) for s in table.samples][-2:] == [
        ("train/e.jpg", "train", 0),
        ("val/d.jpg", "val", 2),
    ]


def test_files_that_tools_put_beside_the_labels(yolo: Any) -> None:
    yolo.write("labels/classes.txt", "cat\ndog\n")
    assert len(yolo.load()) == 5
    # But a picture of that name has its labels there.
    yolo.draw("images/classes.jpg", 11)
    yolo.write("labels/classes.txt", CAT)
    yolo.replace("splits.csv", "split\n", "split\nclasses.jpg,train\n")
    assert [len(s.boxes) for s in yolo.load().samples if s.name == "classes.jpg"] == [1]


def test_pictures_and_labels_in_one_folder(yolo: Any) -> None:
    for name in "abcd":
        (yolo.root / f"labels/{name}.txt").rename(yolo.root / f"images/{name}.txt")
    assert sum(len(s.boxes) for s in yolo.load(labels=Path("images")).samples) == 8


def line(text: str | bytes) -> Callable[[Any], None]:
    extra = text if isinstance(text, bytes) else f"{CAT}\n{text}\n".encode()
    return lambda yolo: yolo.write("labels/a.txt", extra)


# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "four numbers": (
        line("0 0.5 0.5 0.1"),
        FILES + "a.txt",
        "line 2: expected five numbers (class, x, y, width, height), found 4",
    ),
    "a score": (
        line("0 .5 .5 .1 .1 .9"),
        FILES + "a.txt",
        "line 2: expected five numbers (class, x, y, width, height)",
    ),
    "a score, why": (line("0 .5 .5 .1 .1 .9"), FILES + "a.txt", "a sixth number is the score of a prediction"),
    "a polygon": (
        line("0 .1 .1 .2 .1 .2 .2"),
        FILES + "a.txt",
        "found 7: this is the polygon of a segmentation label; this reader takes boxes",
    ),
    "commas": (line("0,0.5,0.5,0.1,0.1"), FILES + "a.txt", "line 2: expected five numbers"),
    "a name": (
        line("cat .5 .5 .1 .1"),
        FILES + "a.txt",
        "line 2: expected five numbers (class, x, y, width, height), f",
    ),
    "class too high": (line("2 .5 .5 .1 .1"), FILES + "a.txt", "line 2: class 2 is not among the 2 names (0 to 1)"),
    "class negative": (line("-1 .5 .5 .1 .1"), FILES + "a.txt", "line 2: class -1 is not among the 2 names (0 to 1)"),
    "class of a half": (line("0.5 .5 .5 .1 .1"), FILES + "a.txt", "line 2: class 0.5 is not among the 2 names"),
    "pixels": (
        line("0 20 15 4 4"),
        FILES + "a.txt",
        "line 2: the box [20, 15, 4, 4] (x, y, width, height) has values outside 0 to 1; expected shares",
    ),
    "negative": (
        line("0 -.1 .5 .1 .1"),
        FILES + "a.txt",
        "line 2: the box [-.1, .5, .1, .1] (x, y, width, height) has",
    ),
    "NaN": (line("0 nan .5 .1 .1"), FILES + "a.txt", "has values outside 0 to 1"),
    "empty box": (
        line("0 .5 .5 0 .1"),
        FILES + "a.txt",
        "line 2: the box [.5, .5, 0, .1] (x, y, width, height) is empty",
    ),
    "box outside": (
        line("0 0.9 0.5 0.4 0.1"),
        FILES + "a.txt",
        "line 2: the box [0.9, 0.5, 0.4, 0.1] (x, y, width, height) reaches 4 px outside the 40x30 picture",
    ),
    "not UTF-8": (line("口罩".encode("gbk")), FILES + "a.txt", "is not UTF-8 text"),
    "labels without picture": (
        lambda yolo: yolo.write("labels/z.txt", CAT),
        FILES + "z.txt",
        "has no picture of its name in pets/images; add it, or remove this file",
    ),
    "two pictures of one name": (
        lambda yolo: yolo.draw("images/a.png", 9),
        PICTURES + "a.png",
        "has the name of a.jpg up to the suffix, and would share its labels; rename it",
    ),
    "picture broken": (lambda yolo: yolo.write("images/a.jpg", "hello you"), PICTURES + "a.jpg", "is not a picture"),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no labels": (
        lambda yolo: [path.unlink() for path in (yolo.root / "labels").iterdir()],
        "pets/labels",
        "holds no .txt file; is data.labels right?",
    ),
    "class without boxes": (
        lambda yolo: yolo.write("classes.txt", "cat\ndog\ncow"),
        "pets/images",
        "class 'cow' has no box in train; add some, or list data.classes without it",
    ),
    "names missing": (
        lambda yolo: (yolo.root / "classes.txt").unlink(),
        "pets/classes.txt",
        "no such file; data.names",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(yolo: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(yolo)
    yolo.check_fault(file, sentence, fatal=case in FATAL)


def test_a_broken_line_takes_no_other_with_it(yolo: Any) -> None:
    line("0 .5 .5 .1")(yolo)
    table = yolo.load(on_fault="skip")
    assert [len(sample.boxes) for sample in table.samples] == [1, 2, 2, 2, 0]


def test_classes_go_by_name(yolo: Any) -> None:
    assert yolo.load(classes=("dog", "cat")).samples[0].class_ids.tolist() == [1, 0]
    assert [(f.file, f.message) for f in yolo.faults(classes=("cat",))] == [
        ("pets/classes.txt", "class 'dog' has boxes but is not in data.classes; add it there, or remove its boxes")
    ]


def test_names_of_a_data_yaml(yolo: Any) -> None:
    yolo.write("data.yaml", "train: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n")
    assert yolo.load(names=Path("data.yaml")).class_names == ("cat", "dog")
