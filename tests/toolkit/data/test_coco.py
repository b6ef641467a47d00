"""A sound COCO set arrives as it is; every fault has its sentence, and all of them come together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit import images
from toolkit.data import BoxSample, Table
from toolkit.errors import DataFaults, Fault

IMAGES = "pets/images/"
FILE = "pets/annotations.json"


def test_a_sound_set(coco: Any) -> None:
    table = coco.load()
    assert table.class_names == ("cat", "dog")  # by the order of their ids
    assert [(s.name, s.split, s.group, s.size) for s in table.samples] == [
        (f"{name}.jpg", "val" if name == "d" else "train", f"{name}.jpg", (30, 40)) for name in "abcde"
    ]
    first, last = table.samples[0], table.samples[-1]
    assert first.path.samefile(coco.root / "images/a.jpg")
    assert first.boxes.tolist() == [[1, 2, 11, 10], [20, 5, 35.5, 25]]
    assert (first.boxes.dtype, first.class_ids.dtype, first.crowd.dtype) == (np.float32, np.int64, bool)
    assert first.class_ids.tolist() == [0, 1]
    assert first.areas.tolist() == [80, 310]
    # A picture without boxes is background.
    assert (last.boxes.shape, last.class_ids.shape, last.crowd.shape, last.areas.shape) == ((0, 4), (0,), (0,), (0,))
    assert table.skipped == ()


@pytest.mark.parametrize(("classes", "ids"), [(("cat", "dog"), [0, 1]), (("dog", "cat"), [1, 0])])
def test_classes_go_by_name(coco: Any, classes: tuple[str, ...], ids: list[int]) -> None:
    table = coco.load(classes=classes)
    assert (table.class_names, table.samples[0].class_ids.tolist()) == (classes, ids)


def test_a_category_without_boxes_may_be_left_out_of_the_classes(coco: Any) -> None:
    coco.document["categories"].insert(0, {"id": 0, "name": "animal"})
    assert coco.load(classes=("cat", "dog")).samples[0].class_ids.tolist() == [0, 1]


def test_own_area_and_crowd_are_kept(coco: Any) -> None:
    coco.annotate(10, 3, [0, 0, 30, 20], iscrowd=1, area=123.5)
    sample = coco.load().samples[0]
    assert sample.crowd.tolist() == [False, False, True]
    assert sample.areas.tolist() == [80, 310, 123.5]


@pytest.mark.parametrize(
    ("bbox", "clipped"),
    [
        ([-1, -1, 12, 12], [0, 0, 11, 11]),
        ([30, 20, 11, 10.5], [30, 20, 40, 30]),
        ([0, 0, 40, 30], [0, 0, 40, 30]),
        ([3.25, 4.5, 0.5, 0.5], [3.25, 4.5, 3.75, 5]),
    ],
)
def test_a_pixel_outside_is_clipped(coco: Any, bbox: list[float], clipped: list[float]) -> None:
    coco.annotate(14, 3, bbox)
    sample = coco.load().samples[4]
    assert sample.boxes.tolist() == [clipped]
    assert sample.areas.tolist() == [(clipped[2] - clipped[0]) * (clipped[3] - clipped[1])]


def test_pictures_in_folders_and_with_other_names(coco: Any) -> None:
    coco.document["images"][0]["file_name"] = "街道/口罩, 1.jpg"
    coco.draw("街道/口罩, 1.jpg", level=7)
    coco.csv = coco.csv.replace("a.jpg", '"街道/口罩, 1.jpg"')
    assert coco.load().samples[0].name == "街道/口罩, 1.jpg"


def test_size_is_after_exif_orientation(coco: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(coco.root / "images/a.jpg", exif=exif)
    coco.document["images"][0].update(width=30, height=40)
    with pytest.raises(DataFaults, match="it was annotated before its EXIF orientation turned it"):
        coco.load()
    coco.document["images"][0].update(width=40, height=30)
    assert coco.load().samples[0].size == (30, 40)
    del coco.document["images"][0]["width"], coco.document["images"][0]["height"]
    assert coco.load().samples[0].size == (30, 40)


def test_source_of_the_csv_goes_before_the_files_own(coco: Any) -> None:
    coco.document["images"][0]["source"] = "camera"
    assert coco.load().samples[0].source == "camera"
    coco.csv = "image,source,split\na.jpg,web,train\nb.jpg,,train\nc.jpg,,train\nd.jpg,,val\ne.jpg,,train\n"
    assert [s.source for s in coco.load().samples] == ["web", "", "", "", ""]


def test_progress(coco: Any) -> None:
    calls: list[tuple[str, int, int]] = []
    coco.load(progress=lambda *call: calls.append(call))
    assert calls == [("checking pictures", done, 5) for done in range(1, 6)]


def set_image(key: str, value: Any) -> Callable[[Any], Any]:
    return lambda coco: coco.document["images"][0].update({key: value})


def set_document(key: str, value: Any) -> Callable[[Any], Any]:
    return lambda coco: coco.document.update({key: value})


def set_file(name: str, data: bytes) -> Callable[[Any], Any]:
    return lambda coco: (coco.root / "images" / name).write_bytes(data)


def drop_category_7(coco: Any) -> None:
    coco.document["annotations"] = [a for a in coco.document["annotations"] if a["category_id"] != 7]


# What goes wrong, the file that is named, and a part of the sentence. `fatal`: nothing that on_fault: skip could skip.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "picture missing": (lambda coco: (coco.root / "images/a.jpg").unlink(), IMAGES + "a.jpg", "no such file"),
    "picture empty": (set_file("a.jpg", b""), IMAGES + "a.jpg", "is empty (0 bytes); expected a picture"),
    "picture is text": (
        set_file("a.jpg", b"hello you"),
        IMAGES + "a.jpg",
        "is not a picture (starts with b'hello yo')",
    ),
    "picture truncated": (
        lambda coco: set_file("a.jpg", (coco.root / "images/a.jpg").read_bytes()[:-2])(coco),
        IMAGES + "a.jpg",
        "the JPEG is truncated",
    ),
    "picture of another size": (
        lambda coco: coco.draw("a.jpg", 9, (20, 40)),
        IMAGES + "a.jpg",
        "is 40x20, but the annotations say 40x30; its labels belong to another version of the picture",
    ),
    "box outside": (
        lambda coco: coco.annotate(10, 3, [35, 5, 10, 10]),
        IMAGES + "a.jpg",
        "annotation 9: the box [35.0, 5.0, 10.0, 10.0] (x, y, width, height) reaches 5 px outside the 40x30 picture",
    ),
    "box just outside": (
        lambda coco: coco.annotate(10, 3, [-1.5, 0, 9, 9]),
        IMAGES + "a.jpg",
        "reaches 1.5 px outside",
    ),
    "box in the margin only": (
        lambda coco: coco.annotate(10, 3, [40, 3, 1, 9]),
        IMAGES + "a.jpg",
        "reaches 1 px outside",
    ),
    "box without width": (lambda coco: coco.annotate(10, 3, [5, 5, 0, 4]), IMAGES + "a.jpg", "is empty; its width and"),
    "box negative": (lambda coco: coco.annotate(10, 3, [5, 5, 4, -4]), IMAGES + "a.jpg", "is empty; its width and"),
    "box NaN": (lambda coco: coco.annotate(10, 3, [5, float("nan"), 4, 4]), IMAGES + "a.jpg", "is not finite"),
    "box of three": (lambda coco: coco.annotate(10, 3, [5, 5, 4]), IMAGES + "a.jpg", "expected bbox as four numbers"),
    "box of text": (lambda coco: coco.annotate(10, 3, [5, 5, 4, "4"]), IMAGES + "a.jpg", "found [5, 5, 4, '4']"),
    "box missing": (lambda coco: coco.annotate(10, 3, None), IMAGES + "a.jpg", "annotation 9: expected bbox as four"),
    "area not positive": (
        lambda coco: coco.annotate(10, 3, [5, 5, 4, 4], area=0),
        IMAGES + "a.jpg",
        "annotation 9: expected a positive area in square pixels, found 0",
    ),
    "iscrowd 2": (
        lambda coco: coco.annotate(10, 3, [5, 5, 4, 4], iscrowd=2),
        IMAGES + "a.jpg",
        "annotation 9: expected iscrowd 0 or 1, found 2",
    ),
    "image_id unknown": (
        lambda coco: coco.annotate(99, 3, [5, 5, 4, 4]),
        FILE,
        "annotation 9: image_id 99 is not in images",
    ),
    "category_id unknown": (
        lambda coco: coco.annotate(10, 4, [5, 5, 4, 4]),
        IMAGES + "a.jpg",
        "annotation 9: category_id 4 is not in categories",
    ),
    "annotation is no object": (
        lambda coco: coco.document["annotations"].append(5),
        FILE,
        "annotations[8]: expected an object, found 5",
    ),
    "id twice": (set_image("id", 11), FILE, "images[1]: id 11 of b.jpg is taken by an earlier picture"),
    "id of text": (set_image("id", "x"), FILE, "images[0]: expected a whole number id, found 'x'"),
    "name twice": (set_image("file_name", "./b.jpg"), FILE, "images[1]: b.jpg is listed a second time (id 11)"),
    "name missing": (set_image("file_name", None), FILE, "images[0]: expected a file_name, found None"),
    "name leaves the folder": (
        set_image("file_name", "../../secret.jpg"),
        FILE,
        "file_name '../../secret.jpg' leaves the picture folder; give it relative to data.images",
    ),
    "name absolute": (set_image("file_name", "/a.jpg"), FILE, "file_name '/a.jpg' leaves the picture folder"),
    "width of zero": (
        set_image("width", 0),
        FILE,
        "width and height as positive whole numbers, found [0, 30]",
    ),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "file missing": (
        lambda coco: setattr(coco, "document", None),
        FILE,
        "no such file; data.annotations names the COCO file, relative to data.root",
    ),
    "a list": (lambda coco: setattr(coco, "document", [1]), FILE, "expected an object, found a list"),
    "keys missing": (
        lambda coco: [coco.document.pop(key) for key in ("images", "categories")],
        FILE,
        "is not a COCO detection file: expected a list under images and categories",
    ),
    "no pictures": (set_document("images", []), FILE, "the data set is empty: images lists no picture"),
    "no usable entry": (set_document("images", [{}]), FILE, "no entry of images can be used"),
    "category without name": (
        set_document("categories", [{"id": 3}, {"id": 7, "name": "dog"}]),
        FILE,
        "categories[0]: expected a whole number id and a name, found 3 and None",
    ),
    "category id twice": (
        set_document("categories", [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]),
        FILE,
        "categories[1]: id 3 is taken by 'cat'",
    ),
    "category name twice": (
        set_document("categories", [{"id": 3, "name": "cat"}, {"id": 7, "name": "cat"}]),
        FILE,
        "categories[1]: a second category is named 'cat'",
    ),
    "no categories": (set_document("categories", []), FILE, "categories is empty: expected a name for each class"),
    "class without boxes": (
        lambda coco: coco.document["categories"].append({"id": 8, "name": "cow"}),
        FILE,
        "class 'cow' has no box in train; add some, or list data.classes without it",
    ),
    "class with boxes in val alone": (
        lambda coco: (drop_category_7(coco), coco.annotate(13, 7, [5, 5, 4, 4])),
        FILE,
        "class 'dog' has no box in train",
    ),
    "class with crowd boxes alone": (
        lambda coco: (drop_category_7(coco), coco.annotate(10, 7, [5, 5, 4, 4], iscrowd=1)),
        FILE,
        "class 'dog' has no box in train",
    ),
    "all pictures broken": (
        lambda coco: [(coco.root / f"images/{name}.jpg").write_bytes(b"") for name in "abcde"],
        FILE,
        "no usable picture is in split train",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(coco: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(coco)
    with pytest.raises(DataFaults) as caught:
        coco.load()
    assert [f for f in caught.value.faults if f.file == file and sentence in f.message], str(caught.value)
    assert all("\n" not in fault.message for fault in caught.value.faults)


@pytest.mark.parametrize("case", FAULTS)
def test_skipping_goes_on_and_records(coco: Any, case: str) -> None:
    bend, file, sentence = FAULTS[case]
    bend(coco)
    table: Table[BoxSample] = coco.load(on_fault="skip")
    assert [f for f in table.skipped if f.file == file and sentence in f.message]
    # At most one picture or one box is gone, and the others are what they were.
    boxes = sum(len(sample.boxes) for sample in table.samples)
    assert (len(table), boxes) in ((4, 6), (5, 8))
    assert [s.boxes.tolist() for s in table.samples if s.name == "c.jpg"] == [[[1, 2, 11, 10], [20, 5, 35.5, 25]]]


@pytest.mark.parametrize("case", FATAL)
def test_what_cannot_be_skipped(coco: Any, case: str) -> None:
    bend, file, sentence = FATAL[case]
    bend(coco)
    with pytest.raises(DataFaults) as caught:
        coco.load(on_fault="skip")
    assert [f for f in caught.value.faults if f.file == file and sentence in f.message], str(caught.value)


@pytest.mark.parametrize(
    ("classes", "sentences"),
    [
        (("catt", "dog"), ["has no category 'catt' of data.classes; did you mean 'cat'? (it has cat, dog)"]),
        (("horse", "dog", "cat"), ["has no category 'horse' of data.classes (it has cat, dog)"]),
        (("cat",), ["category 'dog' has boxes but is not in data.classes; add it there, or remove its boxes"]),
        (("cat", "dog", "cat"), ["data.classes lists 'cat' twice"]),
    ],
)
@pytest.mark.parametrize("on_fault", ["stop", "skip"])
def test_class_mismatch(coco: Any, classes: tuple[str, ...], sentences: list[str], on_fault: str) -> None:
    with pytest.raises(DataFaults) as caught:
        coco.load(classes=classes, on_fault=on_fault)
    assert caught.value.faults == [Fault(FILE, sentence) for sentence in sentences]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "is not JSON (Expecting property name"),
        (b"\xff\xfe\x00", "is not JSON ("),
        (b"", "is not JSON (Expecting value"),
        (b"[" * 100_000, "is not JSON ("),
    ],
)
def test_unreadable_json(coco: Any, data: bytes, sentence: str) -> None:
    coco.document = None
    (coco.root / "annotations.json").write_bytes(data)
    with pytest.raises(DataFaults, match=r"1 fault in the data:") as caught:
        coco.load()
    assert caught.value.faults[0].file == FILE
    assert caught.value.faults[0].message.startswith(sentence)


def test_folders_that_are_missing(coco: Any) -> None:
    with pytest.raises(DataFaults, match=r"pets/pictures: no such folder; data.images names the folder"):
        coco.load(images=Path("pictures"))
    with pytest.raises(DataFaults, match=r"elsewhere/annotations.json: no such file"):
        coco.load(root=coco.root.parent / "elsewhere")


def test_all_faults_come_together_sorted_by_file(coco: Any) -> None:
    (coco.root / "images/c.jpg").unlink()
    (coco.root / "images/a.jpg").write_bytes(b"")
    coco.annotate(11, 3, [5, 5, 0, 4])
    coco.annotate(11, 3, [5, 5, 400, 4])
    coco.annotate(99, 3, [5, 5, 4, 4])
    with pytest.raises(DataFaults) as caught:
        coco.load()
    assert [fault.file for fault in caught.value.faults] == [
        FILE,
        IMAGES + "a.jpg",
        IMAGES + "b.jpg",
        IMAGES + "b.jpg",
        IMAGES + "c.jpg",
    ]
    head = str(caught.value).splitlines()[0]
    assert head == "5 faults in the data; mend them, or leave them out with data.on_fault: skip:"


def test_faults_in_boxes_are_found_where_the_split_is_missing_too(coco: Any) -> None:
    coco.csv = coco.csv.replace("a.jpg,train\n", "")
    coco.annotate(10, 3, [35, 5, 10, 10])
    with pytest.raises(DataFaults) as caught:
        coco.load()
    assert [fault.file for fault in caught.value.faults] == [IMAGES + "a.jpg", "pets/splits.csv"]


def more_pictures(coco: Any, *names: str, category: str = "dog") -> Path:
    """A COCO file beside the set, whose pictures lie in ``more/`` of it."""
    (coco.root / "more").mkdir(exist_ok=True)
    for level, name in enumerate(names):
        images.write(coco.root / "more" / name, np.full((20, 30, 3), 7 + level, np.uint8))
    document = {
        "images": [{"id": k, "file_name": f"more/{name}", "source": "shop"} for k, name in enumerate(names)],
        "annotations": [{"id": k, "image_id": k, "category_id": 1, "bbox": [2, 3, 4, 5]} for k in range(len(names))],
        "categories": [{"id": 1, "name": category}],
    }
    path: Path = coco.root.parent / "more.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_extra_files_train_whatever_a_split_says(coco: Any) -> None:
    table = coco.load(extra=(more_pictures(coco, "a.jpg", "z.jpg"),), hold_out=("c.jpg",))
    extra = [sample for sample in table.samples if sample.pinned]
    assert [(s.name, s.split, s.source, s.size, s.class_ids.tolist(), s.boxes.tolist()) for s in extra] == [
        (f"../more/{name}.jpg", "train", "shop", (20, 30), [1], [[2, 3, 6, 8]]) for name in "az"
    ]
    own = coco.load(hold_out=("c.jpg",))
    assert [(s.name, s.split) for s in table.samples[:5]] == [(s.name, s.split) for s in own.samples]


def test_a_category_of_an_extra_file_alone_is_a_class(coco: Any) -> None:
    assert coco.load(extra=(more_pictures(coco, "a.jpg", category="cow"),)).class_names == ("cat", "dog", "cow")
    with pytest.raises(DataFaults, match=r"category 'cow' has boxes but is not in data\.classes"):
        coco.load(extra=(more_pictures(coco, "a.jpg", category="cow"),), classes=("cat", "dog"))


def test_faults_of_extra_files(coco: Any) -> None:
    with pytest.raises(DataFaults, match=r"less.json: no such file; data.extra names more COCO files"):
        coco.load(extra=(coco.root / "less.json",))
    path = more_pictures(coco, "a.jpg")
    path.write_text(path.read_text().replace("more/a.jpg", "images/a.jpg"))
    with pytest.raises(DataFaults, match=r"more.json: lists .*images/a.jpg, which pets/annotations.json lists already"):
        coco.load(extra=(path,))
    path.write_text(path.read_text().replace("images/a.jpg", "../a.jpg"))
    with pytest.raises(DataFaults, match=r"leaves the picture folder; give it relative to data.root"):
        coco.load(extra=(path,))
