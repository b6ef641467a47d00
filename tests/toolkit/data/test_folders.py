"""Class folders: sound ones arrive as they are, and nothing in them is lost unsaid."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.data_blocks import FoldersData


@pytest.fixture
def pets(folder: Callable[..., Any]) -> Any:
    """Eight cats and four dogs."""
    made = folder("classification", FoldersData, format="folders")
    for number in range(12):
        made.draw(f"{'cat' if number < 8 else 'dog'}/{number}.jpg", 20 * number)
    return made


@pytest.fixture
def more(pets: Any) -> Any:
    """Another source beside the set: two cats of two sources, a dog, and a class of its own."""
    for number, name in enumerate(("cat/web__1.jpg", "cat/own.jpg", "dog/__x.jpg", "cow/web__2.jpg")):
        pets.draw(f"../more/{name}", 5 + 20 * number)
    pets.keys.update(extra=(pets.root.parent / "more",), leave_out=("cow",))
    return pets


def splits(table: Any) -> dict[str, str]:
    return {sample.name: sample.split for sample in table.samples}


def test_a_sound_set(pets: Any) -> None:
    table = pets.load()
    assert table.class_names == ("cat", "dog")
    assert [(s.name, s.class_id, s.size, s.source) for s in table.samples][7:9] == [
        ("cat/7.jpg", 0, (30, 40), ""),
        ("dog/10.jpg", 1, (30, 40), ""),
    ]
    assert table.samples[0].path.samefile(pets.root / "cat/0.jpg")
    # A quarter of each class.
    assert table.counts() == {"cat": {"train": 6, "val": 2, "test": 0}, "dog": {"train": 3, "val": 1, "test": 0}}


def test_classes_in_an_order_of_ones_own(pets: Any) -> None:
    table = pets.load(classes=("dog", "cat"))
    assert (table.class_names, table.samples[0].class_id) == (("dog", "cat"), 1)


def test_a_split_file(pets: Any) -> None:
    rows = [f"{'cat' if n < 8 else 'dog'}/{n}.jpg,web,{'val' if n % 4 == 0 else 'train'}\n" for n in range(12)]
    pets.write("../splits.csv", "image,source,split\n" + "".join(rows))
    table = pets.load(splits=pets.root.parent / "splits.csv")
    assert {name for name, split in splits(table).items() if split == "val"} == {"cat/0.jpg", "cat/4.jpg", "dog/8.jpg"}
    assert {sample.source for sample in table.samples} == {"web"}


def test_splits_by_folder(pets: Any) -> None:
    for number in range(12):
        name = f"{'cat' if number < 8 else 'dog'}/{number}.jpg"
        split = "val" if number % 4 == 0 else "test" if number % 4 == 1 else "train"
        (pets.root / split / name).parent.mkdir(parents=True, exist_ok=True)
        (pets.root / name).rename(pets.root / split / name)
    shutil.rmtree(pets.root / "cat")
    shutil.rmtree(pets.root / "dog")
    table = pets.load()
    assert table.class_names == ("cat", "dog")
    assert all(name.startswith(f"{split}/") for name, split in splits(table).items())
    assert {split: len(table.subset(split)) for split in ("train", "val", "test")} == {"train": 6, "val": 3, "test": 3}
    # Without a val folder, val is drawn from train, and test stays as it is.
    shutil.rmtree(pets.root / "val")
    drawn = pets.load()
    assert Counter(split for split in splits(drawn).values()) == {"train": 4, "val": 2, "test": 3}
    assert all(split == "test" for name, split in splits(drawn).items() if name.startswith("test/"))
    # A folder named like that is no class.
    (pets.root / "test").rename(pets.root / "valid")
    assert [str(fault) for fault in pets.faults()] == [
        "pets/valid: looks like the validation pictures' folder; name it val"
    ]


def test_a_class_may_be_called_train(pets: Any) -> None:
    (pets.root / "dog").rename(pets.root / "train")
    assert pets.load().class_names == ("cat", "train")


def test_extra_pictures_train(more: Any) -> None:
    table = more.load()
    extra = [sample for sample in table.samples if sample.name.startswith("..")]
    assert [(s.name, s.split, s.source, s.class_id) for s in extra] == [
        ("../more/cat/own.jpg", "train", "more", 0),
        ("../more/cat/web__1.jpg", "train", "web", 0),
        ("../more/dog/__x.jpg", "train", "more", 1),
    ]
    # The split of the others is what it was.
    assert splits(more.load(extra=(), leave_out=())).items() <= splits(table).items()


def test_held_out_pictures_are_out_before_the_split_is_drawn(more: Any) -> None:
    table = more.load(hold_out=("web",))
    held = [sample.name for sample in table.samples if sample.split == "test"]
    assert held == ["../more/cat/web__1.jpg"]
    assert {n: s for n, s in splits(table).items() if n not in held} == {
        n: s for n, s in splits(more.load()).items() if n not in held
    }
    own = more.load(extra=(), leave_out=(), hold_out=("cat/0.jpg",))  # a picture without a group is its own
    assert own.counts()["cat"] == {"train": 5, "val": 2, "test": 1}


def test_extra_pictures_need_no_row(more: Any) -> None:
    rows = [f"{'cat' if n < 8 else 'dog'}/{n}.jpg,{'val' if n % 4 == 0 else 'train'}\n" for n in range(12)]
    more.write("../splits.csv", "image,split\n" + "".join(rows))
    more.keys["splits"] = more.root.parent / "splits.csv"
    table = more.load()
    assert {split for name, split in splits(table).items() if name.startswith("..")} == {"train"}
    shutil.copy(more.root / "cat/0.jpg", more.root.parent / "more/cat/again.jpg")
    sentence = "is in train, but the same picture is in val as cat/0.jpg; keep a picture in one split"
    assert [str(fault) for fault in more.faults()] == [f"more/cat/again.jpg: {sentence}"]
    table = more.load(on_fault="skip")
    assert (len(table), splits(table)["cat/0.jpg"], len(table.skipped)) == (15, "val", 1)


def test_what_is_like_an_extra_picture_is_not_drawn_for_validation(more: Any) -> None:
    for number in (0, 1, 2, 8, 9):
        target = f"../more/{'cat' if number < 8 else 'dog'}/copy{number}.jpg"
        shutil.copy(more.root / f"{'cat' if number < 8 else 'dog'}/{number}.jpg", more.root / target)
    for seed in range(10):
        held = {name for name, split in splits(more.load(seed=seed)).items() if split == "val"}
        assert held
        assert held.isdisjoint({"cat/0.jpg", "cat/1.jpg", "cat/2.jpg", "dog/8.jpg", "dog/9.jpg"})


def test_a_class_of_the_extra_folder_alone(more: Any) -> None:
    assert more.load(classes=("cat", "dog", "cow"), leave_out=()).counts()["cow"] == {"train": 1, "val": 0, "test": 0}


def test_left_out(pets: Any) -> None:
    pets.draw("cow/1.jpg", 3)
    table = pets.load(leave_out=("cow",))
    assert (table.class_names, len(table)) == (("cat", "dog"), 12)


def test_what_lies_around_is_passed_over(pets: Any) -> None:
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "cat/labels.txt", "README", "run.sh", ".git/x.jpg"):
        pets.write(name, "x")
    assert len(pets.load()) == 12


def test_names_of_many_hands(pets: Any) -> None:
    pets.draw("猫 1/口罩 1.v2.JPG", 3)
    pets.draw("猫 1/口罩 1.v2.png", 4)  # no label file, so the same stem is no clash
    assert {"猫 1/口罩 1.v2.JPG", "猫 1/口罩 1.v2.png"} <= splits(pets.load()).keys()


# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "picture broken": (lambda pets: pets.write("cat/0.jpg", b""), "pets/cat/0.jpg", "is empty (0 bytes)"),
    "picture beside the folders": (
        lambda pets: pets.draw("x.jpg", 3),
        "pets/x.jpg",
        "lies beside the class folders; move it into the folder of its class",
    ),
    "folder in a folder": (
        lambda pets: pets.draw("cat/tabby/x.jpg", 3),
        "pets/cat/tabby",
        "is a folder inside a class folder; move its pictures up",
    ),
    "another file": (lambda pets: pets.write("cat/a.mp4", "x"), "pets/cat/a.mp4", "is no picture by its suffix"),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "empty folder": (
        lambda pets: (pets.root / "cow").mkdir(),
        "pets/cow",
        "holds no picture; add some, remove the folder, or name it in data.leave_out",
    ),
    "no folders": (
        lambda pets: [shutil.rmtree(pets.root / name) for name in ("cat", "dog")],
        "pets",
        "holds no class folder; expected a folder of pictures for each class",
    ),
    "no root": (lambda pets: shutil.rmtree(pets.root), "pets", "no such folder; data.root names the folder"),
    "unknown class": (
        lambda pets: pets.keys.update(classes=("cat", "dgo")),
        "pets",
        "has no class 'dgo' of data.classes; did you mean 'dog'? (it has cat, dog)",
    ),
    "folder that is no class": (
        lambda pets: pets.keys.update(classes=("cat",)),
        "pets/dog",
        "is none of the classes cat; name it in data.leave_out to go without its pictures",
    ),
    "leave_out misspelt": (
        lambda pets: pets.keys.update(leave_out=("dgo",)),
        "pets",
        "has no class folder 'dgo' of data.leave_out; did you mean 'dog'?",
    ),
    "leave_out of a class": (
        lambda pets: pets.keys.update(leave_out=("dog",), classes=("cat", "dog")),
        "pets",
        "'dog' stands in data.classes and in data.leave_out; keep it in one of them",
    ),
    "no extra": (
        lambda pets: pets.keys.update(extra=(pets.root.parent / "moer",)),
        "moer",
        "no such folder; data.extra names more folders of class folders",
    ),
    "extra is root": (
        lambda pets: pets.keys.update(extra=(pets.root,)),
        "pets",
        "is data.root or stands in data.extra already; name each folder once",
    ),
    "one picture": (
        lambda pets: [path.unlink() for path in pets.root.glob("*/*.jpg") if path.name != "0.jpg"],
        "pets/dog",
        "holds no picture",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(pets: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(pets)
    pets.check_fault(file, sentence, fatal=case in FATAL)


def test_a_class_folder_of_the_extra_that_is_no_class(more: Any) -> None:
    sentence = "is none of the classes cat, dog; name it in data.leave_out to go without its pictures"
    assert [str(fault) for fault in more.faults(leave_out=())] == [f"more/cow: {sentence}"]


def test_an_empty_folder_of_a_class_that_has_others(more: Any) -> None:
    for path in (more.root.parent / "more/dog").iterdir():
        path.unlink()
    assert [fault.file for fault in more.faults()] == ["more/dog"]
    assert len(more.load(on_fault="skip")) == 14


def test_a_class_without_a_picture_to_train_on(pets: Any) -> None:
    rows = [f"{'cat' if n < 8 else 'dog'}/{n}.jpg,{'val' if n >= 8 else 'train'}\n" for n in range(12)]
    pets.write("splits.csv", "image,split\n" + "".join(rows))
    faults = pets.faults(splits=pets.root / "splits.csv")
    assert [str(fault) for fault in faults] == [
        "pets: class 'dog' has no picture in train; add some, or list data.classes without it"
    ]


def test_all_faults_come_together(pets: Any) -> None:
    pets.write("cat/1.jpg", "x")
    pets.write("dog/11.jpg", "")
    pets.draw("loose.jpg", 3)
    (pets.root / "cow").mkdir()
    assert [fault.file for fault in pets.faults()] == [
        "pets/cat/1.jpg",
        "pets/cow",
        "pets/dog/11.jpg",
        "pets/loose.jpg",
    ]


def test_two_extra_folders_of_one_name(more: Any) -> None:
    more.draw("../x/more/cat/own.jpg", 99)
    table = more.load(extra=(*more.keys["extra"], Path(more.root.parent / "x/more")))
    assert {"../more/cat/own.jpg", "../x/more/cat/own.jpg"} <= splits(table).keys()
