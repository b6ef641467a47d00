"""A table of pictures and classes; its lines stand in the faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.data_blocks import CsvLabels

FILE = "pets/index.csv"
ROWS = "a.jpg,cat\nb.jpg,cat\nsub/c.jpg,dog\nd.jpg,dog\n"


@pytest.fixture
def table_set(folder: Callable[..., Any]) -> Any:
    made = folder("classification", CsvLabels, format="csv", val_fraction=0.5)
    for number, name in enumerate(("a", "b", "sub/c", "d")):
        made.draw(f"{name}.jpg", 40 * number)
    made.write("index.csv", "image,label\n" + ROWS)
    return made


def test_a_sound_set(table_set: Any) -> None:
    table = table_set.load()
    assert table.class_names == ("cat", "dog")
    assert [(s.name, s.class_id, s.group) for s in table.samples] == [
        ("a.jpg", 0, "a.jpg"),
        ("b.jpg", 0, "b.jpg"),
        ("sub/c.jpg", 1, "sub/c.jpg"),
        ("d.jpg", 1, "d.jpg"),
    ]
    assert {counts["val"] for counts in table.counts().values()} == {1}


def test_columns_for_split_group_and_source(table_set: Any) -> None:
    rows = "val,a.jpg,cat,x,web\ntrain,b.jpg,cat,,own\ntrain,sub/c.jpg,dog,y,\ntest,./d.jpg,dog,z,web\n"
    table_set.write("index.csv", "split,image,label,group,source\n" + rows)
    assert [(s.name, s.split, s.group, s.source) for s in table_set.load().samples] == [
        ("a.jpg", "val", "x", "web"),
        ("b.jpg", "train", "b.jpg", "own"),
        ("sub/c.jpg", "train", "y", ""),
        ("d.jpg", "test", "z", "web"),
    ]


def test_the_split_file_goes_before_the_column(table_set: Any) -> None:
    table_set.write("index.csv", "image,label,split,group\n" + ROWS.replace("\n", ",nonsense,x\n"))
    table_set.write("s.csv", "image,split,group\na.jpg,val,y\nb.jpg,train,\nsub/c.jpg,train,\nd.jpg,train,\n")
    table = table_set.load(splits=table_set.root / "s.csv")
    assert [(s.split, s.group) for s in table.samples] == [("val", "y"), ("train", "x"), ("train", "x"), ("train", "x")]


def test_a_drawn_split_keeps_groups_together(table_set: Any) -> None:
    rows = [f"p{n}.png,{'cat' if n % 3 else 'dog'},g{n // 4}\n" for n in range(40)]
    for number in range(40):
        table_set.draw(f"p{number}.png", number)
    table_set.write("index.csv", "image,label,group\n" + "".join(rows))
    for seed in range(5):
        table = table_set.load(seed=seed, val_fraction=0.25)
        held = {s.group for s in table.subset("val").samples}
        assert held.isdisjoint({s.group for s in table.subset("train").samples})
        assert 8 <= len(table.subset("val")) <= 12


def test_a_group_in_two_splits(table_set: Any) -> None:
    rows = "a.jpg,cat,val,x\nb.jpg,cat,train,x\nsub/c.jpg,dog,train,y\nd.jpg,cat,train,z\n"
    table_set.write("index.csv", "image,label,split,group\n" + rows)
    assert [str(fault) for fault in table_set.faults()] == [
        f"{FILE}: group 'x' is in val (a.jpg) and in train (b.jpg); "
        "keep a group in one split, or set data.check_groups: false"
    ]
    assert [s.name for s in table_set.load(on_fault="skip").samples] == ["a.jpg", "sub/c.jpg", "d.jpg"]
    assert len(table_set.load(check_groups=False)) == 4


def test_texts_of_many_hands(table_set: Any) -> None:
    table_set.draw("街道/口罩, 1.jpg", 7)
    text = "image,label\n" + ROWS + '"街道/口罩, 1.jpg",猫\n'
    table_set.draw("last.jpg", 8)
    text += "last.jpg,猫\n"
    table_set.write("index.csv", "\ufeff" + text.replace("\n", "\r\n"))
    assert table_set.load().class_names == ("cat", "dog", "猫")


def index(text: str) -> Callable[[Any], None]:
    return lambda table_set: table_set.write("index.csv", text)


HEAD = "image,label\n"
# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no label": (index(HEAD + ROWS + "x.jpg,\n"), FILE, "line 6: the label cell is empty"),
    "no image": (index(HEAD + ROWS + ",cat\n"), FILE, "line 6: the image cell is empty"),
    "twice": (
        index(HEAD + ROWS + "./a.jpg,dog\n"),
        FILE,
        "line 6: a.jpg is listed twice (first on line 2); keep one row",
    ),
    "backslashes": (index(HEAD + ROWS + "sub\\c.jpg,dog\n"), FILE, "has backslashes; write it with /"),
    "leaves the folder": (
        index(HEAD + ROWS + "../c.jpg,dog\n"),
        FILE,
        "line 6: image '../c.jpg' leaves the data folder",
    ),
    "absolute": (index(HEAD + ROWS + "/c.jpg,dog\n"), FILE, "give it relative to data.root"),
    "three cells": (index(HEAD + ROWS + "e.jpg,dog,1\n"), FILE, "line 6: expected 2 cells as in the header, found 3"),
    "picture missing": (index(HEAD + ROWS + "e.jpg,dog\n"), "pets/e.jpg", "no such file"),
    "picture broken": (
        lambda made: [made.write("e.jpg", "x"), index(HEAD + ROWS + "e.jpg,dog\n")(made)],
        "pets/e.jpg",
        "is not a picture",
    ),
    "split misspelt": (
        index("image,label,split\na.jpg,cat,vla\nb.jpg,cat,train\nsub/c.jpg,dog,val\nd.jpg,dog,train\n"),
        FILE,
        "line 2: split 'vla' of a.jpg: expected train, val, test; did you mean 'val'?",
    ),
    "split empty": (
        index("image,label,split\na.jpg,cat,\nb.jpg,cat,train\nsub/c.jpg,dog,val\nd.jpg,dog,train\n"),
        FILE,
        "line 2: split '' of a.jpg: expected train, val, test",
    ),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no header": (index(ROWS), FILE, "expected a header with the columns image and label, found a.jpg, cat"),
    "no label column": (index("image,class\n" + ROWS), FILE, "expected a header with the columns image and label"),
    "no rows": (index(HEAD), FILE, "the data set is empty: no row stands under the header"),
    "nothing usable": (index(HEAD + "a.jpg,\n"), FILE, "no picture of it can be used"),
    "no file": (lambda made: made.keys.update(index=Path("i.csv")), "pets/i.csv", "no such file; data.index names the"),
    "label that is no class": (
        lambda made: made.keys.update(classes=("cat",)),
        FILE,
        "class 'dog' has pictures but is not in data.classes; add it there, or remove its pictures",
    ),
    "class that is no label": (
        lambda made: made.keys.update(classes=("cat", "dgo")),
        FILE,
        "has no class 'dgo' of data.classes; did you mean 'dog'? (it has cat, dog)",
    ),
    "no val": (
        index("image,label,split\na.jpg,cat,test\nb.jpg,cat,train\nsub/c.jpg,dog,val\nd.jpg,cat,train\n"),
        FILE,
        "class 'dog' has no picture in train",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(table_set: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(table_set)
    table_set.check_fault(file, sentence, fatal=case in FATAL)


def test_broken_pictures_of_the_val_column_are_not_replaced_by_drawn_ones(table_set: Any) -> None:
    index("image,label,split\na.jpg,cat,val\nb.jpg,cat,train\nsub/c.jpg,dog,train\nd.jpg,dog,train\n")(table_set)
    table_set.write("a.jpg", "x")
    assert [str(f) for f in table_set.faults(on_fault="skip")] == [f"{FILE}: no usable picture is in split val"]


def test_all_faults_come_together(table_set: Any) -> None:
    index(HEAD + ROWS + ",cat\nd.jpg,dog\ne.jpg,dog\n")(table_set)
    assert [fault.file for fault in table_set.faults()] == ["pets/e.jpg", FILE, FILE]
