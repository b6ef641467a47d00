"""Splits from a CSV and by seed: nobody is in two of them, whatever the file is like."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from toolkit.errors import DataFaults, Fault

CSV = "pets/splits.csv"
HEAD = "image,split\n"
ROWS = "a.jpg,train\nb.jpg,train\nc.jpg,train\nd.jpg,val\ne.jpg,train\n"


def faults_of(coco: Any, **changes: Any) -> list[Fault]:
    with pytest.raises(DataFaults) as caught:
        coco.load(**changes)
    return caught.value.faults


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEAD + ROWS,
        (HEAD + ROWS).replace("\n", "\r\n"),
        '"image","split"\n"a.jpg","train"\n' + ROWS[12:],
        " image , split \n" + ROWS.replace(",", " , "),
        HEAD + "\n" + ROWS.replace("\n", "\n\n"),
        HEAD + ROWS.replace("a.jpg", "./a.jpg"),
        "split,note,image\n" + "".join(f"{s},口罩,{i}\n" for i, s in (row.split(",") for row in ROWS.split())),
    ],
)
def test_csv_in_many_hands(coco: Any, text: str) -> None:
    coco.csv = text
    assert [s.split for s in coco.load().samples] == ["train", "train", "train", "val", "train"]


def test_groups(coco: Any) -> None:
    coco.csv = "image,split,group\na.jpg,train,x\nb.jpg,train,x\nc.jpg,test,\nd.jpg,val,y\ne.jpg,train,x\n"
    table = coco.load()
    assert [s.group for s in table.samples] == ["x", "x", "c.jpg", "y", "x"]
    assert [len(table.subset(split)) for split in ("train", "val", "test")] == [3, 1, 1]


SOURCES = (
    "image,split,source,group\na.jpg,train,web,x\nb.jpg,train,own,y\nc.jpg,val,own,z\nd.jpg,val,web,w\n"
    "e.jpg,train,own,\n"
)


@pytest.mark.parametrize(
    ("hold_out", "splits"),
    [
        ((), "train train val val train"),
        (("web",), "test train val test train"),
        (("x", "w"), "test train val test train"),  # two groups
        (("own",), "train test test val test"),
    ],
)
def test_what_is_held_out_is_neither_trained_nor_validated_on(
    coco: Any, hold_out: tuple[str, ...], splits: str
) -> None:
    coco.csv = SOURCES
    assert [s.split for s in coco.load(hold_out=hold_out).samples] == splits.split()


def test_nobody_of_that_name_to_hold_out(coco: Any) -> None:
    coco.csv = SOURCES
    message = "no usable picture is of the source or group 'wed' of data.hold_out; did you mean 'web'?"
    assert faults_of(coco, hold_out=("own", "wed")) == [Fault("pets/annotations.json", message)]


def test_held_out_in_part(coco: Any) -> None:
    """A group that has a foot in both camps is a fault, as between any two splits."""
    coco.csv = SOURCES.replace("own,y", "own,x")
    told = (
        "group 'x' is in test (a.jpg) and in train (b.jpg); keep a group in one split, or set data.check_groups: false"
    )
    assert Fault(CSV, told) in faults_of(coco, hold_out=("web",))


@pytest.mark.parametrize(
    ("text", "file", "message"),
    [
        (HEAD + ROWS[12:], CSV, "a.jpg of pets/annotations.json is missing; give it a row"),
        (HEAD + ROWS + "f.jpeg,val\n", CSV, "f.jpeg is not in pets/annotations.json; did you mean 'e.jpg'?"),
        (HEAD + ROWS + "a.jpg,train\n", CSV, "line 7: a.jpg is listed twice (first on line 2); keep one row"),
        (
            HEAD + ROWS + "a.jpg,val\n",
            CSV,
            "line 7: a.jpg is listed in two splits, train and val (first on line 2); keep one row",
        ),
        (HEAD + ROWS + "f.jpg\n", CSV, "line 7: expected 2 cells as in the header, found 1"),
        (HEAD + ROWS + ",val\n", CSV, "line 7: the image cell is empty"),
        (
            HEAD + ROWS.replace("e.jpg,train", "e.jpg,trian"),
            CSV,
            "line 6: split 'trian' of e.jpg: expected train, val, test; did you mean 'train'?",
        ),
    ],
)
def test_faults_that_can_be_skipped(coco: Any, text: str, file: str, message: str) -> None:
    coco.csv = text
    assert Fault(file, message) in faults_of(coco)
    table = coco.load(on_fault="skip")
    assert Fault(file, message) in table.skipped
    assert len(table) in (4, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a header with the columns image and split, found none"),
        ("image;split\na.jpg;train\n", "expected a header with the columns image and split, found image;split"),
        ("file,split\na.jpg,train\n", "expected a header with the columns image and split, found file, split"),
        ("image,split\n口罩.jpg,train\n".encode("gbk"), "is not UTF-8 text; save it as 'CSV UTF-8'"),
        (HEAD + 'a.jpg,"train\n', "line 2: is not CSV (unexpected end of data)"),
        (HEAD, "none of its 0 pictures is in pets/annotations.json"),
        (
            HEAD + ROWS.replace("a.jpg", "img/a.jpg").replace("\n", "\nimg/", 4),
            "none of its 5 pictures is in pets/annotations.json ('img/a.jpg' here, 'a.jpg' there)",
        ),
    ],
)
def test_files_that_cannot_be_used(coco: Any, text: str | bytes, message: str) -> None:
    if isinstance(text, str) and "img/" in text:
        text = HEAD + "".join(f"img/{row}\n" for row in ROWS.split())
    coco.csv = text
    assert faults_of(coco) == [Fault(CSV, message)]
    assert faults_of(coco, on_fault="skip") == [Fault(CSV, message)]


def test_a_csv_that_is_not_there(coco: Any) -> None:
    message = "no such file; data.splits names a CSV with the columns image and split"
    assert faults_of(coco, splits=coco.root / "split.csv") == [Fault("pets/split.csv", message)]


@pytest.mark.parametrize("empty", ["train", "val"])
def test_a_split_without_pictures(coco: Any, empty: str) -> None:
    coco.csv = HEAD + ROWS.replace(empty, "test")
    assert faults_of(coco) == [Fault("pets/annotations.json", f"no usable picture is in split {empty}")]


def test_a_group_in_two_splits(coco: Any) -> None:
    coco.csv = "image,split,group\na.jpg,train,x\nb.jpg,train,x\nc.jpg,train,z\nd.jpg,val,x\ne.jpg,train,z\n"
    sentence = (
        "group 'x' is in val (d.jpg) and in train (a.jpg and 1 more); "
        "keep a group in one split, or set data.check_groups: false"
    )
    assert faults_of(coco) == [Fault(CSV, sentence)]
    table = coco.load(on_fault="skip")
    assert [(s.name, s.split) for s in table.samples] == [("c.jpg", "train"), ("d.jpg", "val"), ("e.jpg", "train")]
    assert table.skipped == tuple(
        Fault(f"pets/images/{name}", "is in train, but its group 'x' is also in val (d.jpg)")
        for name in ("a.jpg", "b.jpg")
    )
    assert len(coco.load(check_groups=False)) == 5


@pytest.mark.parametrize("check_groups", [True, False])
def test_one_picture_in_two_splits_under_two_names(coco: Any, check_groups: bool) -> None:
    shutil.copy(coco.root / "images/a.jpg", coco.root / "images/d.jpg")
    fault = Fault(
        "pets/images/a.jpg", "is in train, but the same picture is in val as d.jpg; keep a picture in one split"
    )
    assert faults_of(coco, check_groups=check_groups) == [fault]
    table = coco.load(on_fault="skip", check_groups=check_groups)
    assert [s.name for s in table.samples] == ["b.jpg", "c.jpg", "d.jpg", "e.jpg"]
    assert table.skipped == (fault,)


def test_the_test_split_keeps_its_picture(coco: Any) -> None:
    shutil.copy(coco.root / "images/c.jpg", coco.root / "images/d.jpg")
    coco.csv = HEAD + "a.jpg,train\nb.jpg,train\nc.jpg,test\nd.jpg,val\ne.jpg,val\n"
    assert [s.name for s in coco.load(on_fault="skip").samples] == ["a.jpg", "b.jpg", "c.jpg", "e.jpg"]


def many(coco: Any, count: int) -> None:
    """More pictures, without a CSV."""
    coco.csv = None
    for number in range(count):
        coco.draw(f"{number}.png", level=number + 1)
        image_id = 100 + number
        coco.document["images"].append({"id": image_id, "file_name": f"{number}.png"})
        coco.annotate(image_id, 3, [0, 0, 9, 9])
        coco.annotate(image_id, 7, [9, 9, 9, 9])


def held_out(table: Any) -> set[str]:
    return {sample.name for sample in table.subset("val").samples}


def test_drawn_split(coco: Any) -> None:
    many(coco, 75)
    table = coco.load(seed=3)
    assert (len(table), len(held_out(table))) == (80, 20)  # val_fraction is 0.25
    assert held_out(coco.load(seed=3)) == held_out(table)
    assert held_out(coco.load(seed=4)) != held_out(table)
    assert len(held_out(coco.load(val_fraction=0.001))) == 1
    assert len(held_out(coco.load(val_fraction=0.5))) == 40


def test_a_drawn_split_hardly_moves_with_a_new_picture(coco: Any) -> None:
    many(coco, 75)
    before = held_out(coco.load())
    many(coco, 76)
    coco.document["images"] = coco.document["images"][:80] + coco.document["images"][-1:]
    coco.document["annotations"] = [a for a in coco.document["annotations"] if a["image_id"] < 175] + [
        coco.document["annotations"][-1]
    ]
    assert len(before ^ held_out(coco.load())) <= 2


def test_identical_files_stay_together_in_a_drawn_split(coco: Any) -> None:
    many(coco, 40)
    for number in range(0, 40, 2):
        shutil.copy(coco.root / f"images/{number}.png", coco.root / f"images/{number + 1}.png")
    table = coco.load()
    val = held_out(table)
    for number in range(0, 40, 2):
        assert (f"{number}.png" in val) == (f"{number + 1}.png" in val)
    assert 11 <= len(val) <= 12


def test_one_picture_cannot_be_split(coco: Any) -> None:
    coco.csv = None
    coco.document["images"] = coco.document["images"][:1]
    coco.document["annotations"] = coco.document["annotations"][:2]
    message = "train and val need a picture each, 1 can be used; add pictures"
    assert faults_of(coco) == [Fault("pets/annotations.json", message)]


@pytest.mark.parametrize("val_fraction", [0.0001, 0.9999])
def test_two_pictures_make_one_each(coco: Any, val_fraction: float) -> None:
    coco.csv = None
    coco.document["images"] = coco.document["images"][:2]
    coco.document["annotations"] = coco.document["annotations"][:4]
    table = coco.load(val_fraction=val_fraction)
    assert (len(table.subset("train")), len(table.subset("val"))) == (1, 1)
