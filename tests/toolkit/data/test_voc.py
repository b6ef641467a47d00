"""A sound VOC set arrives as it is; every fault has its sentence, and all of them come together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit import images
from toolkit.config.data_blocks import VocData

PICTURES, FILES = "pets/JPEGImages/", "pets/Annotations/"


def document(*objects: str, size: str = "<size><width>40</width><height>30</height><depth>3</depth></size>") -> str:
    return f"<annotation><filename>other.jpg</filename>{size}{''.join(objects)}</annotation>"


def thing(name: str, corners: tuple[Any, ...], more: str = "") -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, corners, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


CAT, DOG = thing("cat", (2, 3, 11, 10)), thing("dog", (21, 6, 36, 25))


@pytest.fixture
def voc(folder: Callable[..., Any]) -> Any:
    """Five pictures of 40x30, a to d with a cat and a dog each, e without objects."""
    made = folder("detection", VocData, format="voc")
    for number, name in enumerate("abcde"):
        made.draw(f"JPEGImages/{name}.jpg", 40 * number)
        made.write(f"Annotations/{name}.xml", document(CAT, DOG) if name != "e" else document())
    made.write("splits.csv", "image,split\na.jpg,train\nb.jpg,train\nc.jpg,train\nd.jpg,val\ne.jpg,train\n")
    made.keys["splits"] = made.root / "splits.csv"
    return made


def test_a_sound_set(voc: Any) -> None:
    table = voc.load()
    assert table.class_names == ("cat", "dog")
    assert [(s.name, s.split, s.size) for s in table.samples] == [
        (f"{name}.jpg", "val" if name == "d" else "train", (30, 40)) for name in "abcde"
    ]
    first, last = table.samples[0], table.samples[-1]
    assert first.boxes.tolist() == [[1, 2, 11, 10], [20, 5, 36, 25]]
    assert (first.class_ids.tolist(), first.areas.tolist()) == ([0, 1], [80, 320])
    assert (first.boxes.dtype, last.boxes.shape) == (np.float32, (0, 4))


def test_the_box_holds_just_the_pixels_that_voc_counts(voc: Any) -> None:
    """Pixels 5 to 12 across and 3 to 9 down, counted from 1 and both ends inside."""
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[2:9, 4:12] = 200
    voc.write("JPEGImages/a.jpg", images.encode(picture, ".png"))  # the content decides, not the suffix
    voc.write("Annotations/a.xml", document(thing("cat", (5, 3, 12, 9))))
    left, top, right, bottom = voc.load().samples[0].boxes[0].astype(int)
    lit = np.argwhere(images.decode(voc.root / "JPEGImages/a.jpg")[..., 0] == 200)
    assert [left, top] == lit.min(axis=0)[::-1].tolist()
    assert [right, bottom] == (lit.max(axis=0) + 1)[::-1].tolist()


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((1, 1, 40, 30), [0, 0, 40, 30]),
        ((7, 7, 7, 7), [6, 6, 7, 7]),  # one pixel
        ((0, 0, 9, 9), [0, 0, 9, 9]),  # a tool that counts from 0: clipped by a pixel
        ((31.5, 1, 41, 9.5), [30.5, 0, 40, 9.5]),  # VOC 2011 has fractions; a tool that counts to the width plus 1
    ],
)
def test_corners(voc: Any, corners: tuple[float, ...], expected: list[float]) -> None:
    voc.write("Annotations/a.xml", document(thing("cat", corners)))
    assert voc.load().samples[0].boxes.tolist() == [expected]


def test_difficult_objects_count_neither_way(voc: Any) -> None:
    voc.write("Annotations/a.xml", document(CAT, thing("dog", (1, 1, 5, 5), "<difficult> 1 </difficult>")))
    table = voc.load()
    assert table.samples[0].crowd.tolist() == [False, True]
    assert table.counts()["dog"] == {"train": 2, "val": 1, "test": 0}


def test_parts_and_the_files_own_names_are_not_read(voc: Any) -> None:
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>"
    voc.write("Annotations/a.xml", document(thing("cat", (2, 3, 11, 10), part)))
    assert voc.load().samples[0].boxes.tolist() == [[1, 2, 11, 10]]


def test_classes_go_by_name(voc: Any) -> None:
    assert voc.load(classes=("dog", "cat")).samples[0].class_ids.tolist() == [1, 0]
    assert [f.message for f in voc.faults(classes=("cat", "dgo"))] == [
        "has no class 'dgo' of data.classes; did you mean 'dog'? (it has cat, dog)"
    ]
    assert [(f.file, f.message) for f in voc.faults(classes=("cat",))] == [
        ("pets/Annotations", "class 'dog' has boxes but is not in data.classes; add it there, or remove its boxes")
    ]


def test_names_and_texts_of_many_hands(voc: Any) -> None:
    voc.keys["splits"] = None
    voc.draw("JPEGImages/街道/口罩 1.v2.jpg", 7)
    voc.write("Annotations/街道/口罩 1.v2.xml", "\ufeff" + document(thing("猫", (1, 1, 5, 5))).replace(">", ">\r\n"))
    voc.write("Annotations/b.xml", document(CAT, thing("猫", (1, 1, 5, 5))).encode("utf-16"))
    voc.draw("JPEGImages/UP.JPG", 9)
    voc.write("Annotations/UP.XML", document())
    table = voc.load(val_fraction=0.1, seed=5)
    assert table.class_names == ("cat", "dog", "猫")
    assert {"街道/口罩 1.v2.jpg", "UP.JPG"} <= {sample.name for sample in table.samples}


def test_what_lies_around_is_passed_over(voc: Any) -> None:
    for name in ("JPEGImages/.DS_Store", "JPEGImages/Thumbs.db", "JPEGImages/notes.txt", "Annotations/.a.xml.swp"):
        voc.write(name, "x")
    voc.write("JPEGImages/.hidden/x.jpg", "x")
    voc.write("JPEGImages/__MACOSX/._a.jpg", "x")
    os.symlink(voc.root / "JPEGImages", voc.root / "JPEGImages/loop")
    assert len(voc.load()) == 5


def test_splits_by_folder(voc: Any) -> None:
    for name in "abcde":
        split = {"d": "val", "e": "test"}.get(name, "train")
        for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (voc.root / kind / split).mkdir(exist_ok=True)
            (voc.root / kind / f"{name}.{suffix}").rename(voc.root / kind / split / f"{name}.{suffix}")
    assert [s.split for s in voc.load(splits=None).samples] == ["test", "train", "train", "train", "val"]
    voc.draw("JPEGImages/loose.jpg", 3)
    voc.write("Annotations/loose.xml", document())
    assert [(f.file, f.message) for f in voc.faults(splits=None)] == [
        (
            PICTURES + "loose.jpg",
            "lies beside the folders train and val; move it into one, or name a split file in data.splits",
        )
    ]
    assert len(voc.load(splits=None, on_fault="skip")) == 5
    (voc.root / "JPEGImages/loose.jpg").unlink()
    (voc.root / "Annotations/loose.xml").unlink()
    for kind in ("JPEGImages", "Annotations"):
        (voc.root / kind / "val").rename(voc.root / kind / "valid")
        (voc.root / kind / "test").rename(voc.root / kind / "validation")
    assert [(f.file, f.message) for f in voc.faults(splits=None)] == [
        (PICTURES + name, "looks like the validation pictures' folder; name it val") for name in ("valid", "validation")
    ]


def write(text: str | bytes) -> Callable[[Any], None]:
    return lambda voc: voc.write("Annotations/a.xml", text)


BOMB = '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + document(
    thing("&b;", (1, 1, 5, 5))
)

# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "truncated": (write(document(CAT)[:-20]), FILES + "a.xml", "line 1: is not XML ("),
    "no XML": (write("xmin 3"), FILES + "a.xml", "line 1: is not XML (syntax error)"),
    "empty": (write("\n"), FILES + "a.xml", "is empty; expected XML"),
    "entity bomb": (write(BOMB), FILES + "a.xml", "declares a document type (<!DOCTYPE>)"),
    "external entity": (
        write('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + document(thing("&e;", (1, 1, 5, 5)))),
        FILES + "a.xml",
        "declares a document type",
    ),
    "encoding": (
        write(b'<?xml version="1.0" encoding="gbk"?>' + document().encode("gbk")),
        FILES + "a.xml",
        "is in an encoding that cannot be read",
    ),
    "another root": (
        write("<annotations/>"),
        FILES + "a.xml",
        "is not a VOC annotation: expected <annotation> at the top, found <annotations>",
    ),
    "size 0": (
        write(document(size="<size><width>0</width><height>0</height></size>")),
        FILES + "a.xml",
        "size: expected height and width as positive whole numbers, found ['0', '0']",
    ),
    "no name": (write(document(CAT, thing(" ", (1, 1, 5, 5)))), FILES + "a.xml", "object 2: has no name"),
    "no box": (
        write(document("<object><name>cat</name></object>")),
        FILES + "a.xml",
        "object 1: 'cat' has no bndbox; expected a box of xmin, ymin, xmax, ymax",
    ),
    "three corners": (
        write(document("<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>")),
        FILES + "a.xml",
        "object 1: 'cat': expected a number for each of xmin, ymin, xmax, ymax, found ['1', '', '', '']",
    ),
    "corner is text": (write(document(thing("cat", (1, 1, "x", 5)))), FILES + "a.xml", "found ['1', '1', 'x', '5']"),
    "corner is NaN": (write(document(thing("cat", (1, 1, "nan", 5)))), FILES + "a.xml", "expected a number for each"),
    "box inside out": (
        write(document(thing("cat", (9, 1, 8, 5)))),
        FILES + "a.xml",
        "object 1: the box [9, 1, 8, 5] (xmin, ymin, xmax, ymax) is empty; xmax and ymax must not lie before",
    ),
    "box outside": (
        write(document(CAT, thing("dog", (30, 1, 42, 5)))),
        FILES + "a.xml",
        "object 2: the box [30, 1, 42, 5] (xmin, ymin, xmax, ymax) reaches 2 px outside the 40x30 picture",
    ),
    "difficult is a word": (
        write(document(thing("cat", (1, 1, 5, 5), "<difficult>yes</difficult>"))),
        FILES + "a.xml",
        "object 1: 'cat': expected difficult 0 or 1, found 'yes'",
    ),
    "picture without XML": (
        lambda voc: (voc.root / "Annotations/a.xml").unlink(),
        PICTURES + "a.jpg",
        "has no label file; expected pets/Annotations/a.xml, without objects if it shows none",
    ),
    "picture broken": (lambda voc: voc.write("JPEGImages/a.jpg", b""), PICTURES + "a.jpg", "is empty (0 bytes)"),
    "picture of another size": (
        lambda voc: voc.draw("JPEGImages/a.jpg", 9, (20, 40)),
        PICTURES + "a.jpg",
        "is 40x20, but the annotations say 40x30; its labels belong to another version of the picture",
    ),
    "XML without picture": (
        lambda voc: voc.write("Annotations/z.xml", document()),
        FILES + "z.xml",
        "has no picture of its name in pets/JPEGImages; add it, or remove this file",
    ),
    "two pictures of one name": (
        lambda voc: voc.draw("JPEGImages/a.png", 9),
        PICTURES + "a.jpg",
        "has the name of a.png up to the suffix, and would share its labels; rename it",
    ),
    "a picture that cannot be read": (
        lambda voc: voc.write("JPEGImages/z.heic", "x"),
        PICTURES + "z.heic",
        "is no picture by its suffix; expected .jpg,",
    ),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no pictures": (
        lambda voc: [path.unlink() for path in (voc.root / "JPEGImages").iterdir()],
        "pets/JPEGImages",
        "holds no picture (.jpg,",
    ),
    "no XML files": (
        lambda voc: [path.unlink() for path in (voc.root / "Annotations").iterdir()],
        "pets/Annotations",
        "holds no .xml file; is data.annotations right?",
    ),
    "class in val alone": (
        lambda voc: voc.write("Annotations/d.xml", document(CAT, DOG, thing("cow", (1, 1, 5, 5)))),
        "pets/JPEGImages",
        "class 'cow' has no box in train; add some, or list data.classes without it",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(voc: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(voc)
    voc.check_fault(file, sentence, fatal=case in FATAL)


def test_folders_that_are_missing(voc: Any) -> None:
    assert [str(fault) for fault in voc.faults(images=Path("pics"), annotations=Path("xml"))] == [
        "pets/pics: no such folder; data.images names the folder of the pictures",
        "pets/xml: no such folder; data.annotations names the folder of the .xml files",
    ]


def test_size_is_after_exif_orientation(voc: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(voc.root / "JPEGImages/a.jpg", exif=exif)
    assert voc.load().samples[0].size == (30, 40)
    voc.write("Annotations/a.xml", document(CAT, size="<size><width>30</width><height>40</height></size>"))
    voc.check_fault(PICTURES + "a.jpg", "it was annotated before its EXIF orientation turned it")


def test_all_faults_come_together(voc: Any) -> None:
    write(document(thing("", (1, 1, 5, 5)), thing("cat", (1, 1, 90, 5)), thing("cat", (5, 5, 1, 1))))(voc)
    voc.write("Annotations/b.xml", "<")
    voc.write("JPEGImages/e.jpg", "x")
    voc.write("Annotations/z.xml", document())
    assert [fault.file for fault in voc.faults()] == [
        *[FILES + "a.xml"] * 3,
        FILES + "b.xml",
        FILES + "z.xml",
        PICTURES + "e.jpg",
    ]
