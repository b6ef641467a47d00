"""Splits drawn anew: what stays together, what each split gets, and the file that keeps it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from drawn_photos import photo

from toolkit import images
from toolkit.data import Table, load_table
from toolkit.data.folder_config import folder_config
from toolkit.data.split_file import (
    Shares,
    group_names,
    shortcomings,
    split_anew,
    split_config,
    split_rows,
    write_split_file,
)
from toolkit.errors import UserError

ODD_NAMES = ("with space.jpg", "猫.jpg", "under/a folder/é.jpg", 'quo"te, comma.jpg')


@pytest.fixture
def csv_set(tmp_path: Path) -> Path:
    """Forty pictures of two classes and sources, five to an album; numbers 3 and 30 are one picture twice."""
    rows = ["image,label,group,source,album"]
    for number in range(40):
        name = ODD_NAMES[number] if number < len(ODD_NAMES) else f"{number:02d}.jpg"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        images.write(tmp_path / name, photo(3 if number == 30 else number, (60, 80) if number == 30 else (48, 64)))
        quoted = '"' + name.replace('"', '""') + '"'
        rows.append(f"{quoted},{'cat' if number % 4 else 'dog'},,{'web' if number < 20 else 'own'},album{number // 5}")
    (tmp_path / "index.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def config_of(root: Path, *overrides: str) -> Any:
    return folder_config(root, "classification", {"format": "csv"}, overrides)


def split_of(table: Table[Any]) -> dict[str, str]:
    return {sample.name: sample.split for sample in table.samples}


def test_shares_of_every_class_and_source(csv_set: Path) -> None:
    table, listed = split_config(config_of(csv_set), Shares(0.2, 0.2))
    assert listed == list(table.samples)
    assert Counter(split_of(table).values()) == {"train": 24, "val": 8, "test": 8}
    counted = Counter((s.source, s.class_id, s.split) for s in table.samples)
    # Ten dogs and thirty cats, half of each from the web.
    assert {key: count for key, count in counted.items() if key[2] != "train"} == {
        (source, class_id, split): 1 if table.class_names[class_id] == "dog" else 3
        for source in ("web", "own")
        for class_id in (0, 1)
        for split in ("val", "test")
    }


@pytest.mark.parametrize("near_duplicates", [True, False])
def test_near_duplicates_stay_together_if_asked(csv_set: Path, near_duplicates: bool) -> None:
    pair = (ODD_NAMES[3], "30.jpg")
    apart = 0
    for seed in range(6):
        table, _ = split_config(config_of(csv_set), Shares(0.5), near_duplicates=near_duplicates, seed=seed)
        groups = {s.name: s.group for s in table.samples}
        assert (groups[pair[0]] == groups[pair[1]]) == near_duplicates
        apart += split_of(table)[pair[0]] != split_of(table)[pair[1]]
    assert (apart == 0) == near_duplicates


def test_identical_files_stay_together_always(csv_set: Path) -> None:
    (csv_set / "30.jpg").write_bytes((csv_set / ODD_NAMES[3]).read_bytes())
    for seed in range(4):
        table, _ = split_config(config_of(csv_set), Shares(0.5), near_duplicates=False, seed=seed)
        assert split_of(table)[ODD_NAMES[3]] == split_of(table)["30.jpg"]


@pytest.mark.parametrize("near_duplicates", [True, False])
def test_albums_stay_together_also_by_way_of_a_near_duplicate(csv_set: Path, near_duplicates: bool) -> None:
    table, _ = split_config(config_of(csv_set), Shares(0.3), group_by="album", near_duplicates=near_duplicates)
    album = {name: f"album{number // 5}" for number, name in enumerate(split_of(table))}
    splits: dict[str, set[str]] = {}
    for name, split in split_of(table).items():
        splits.setdefault(album[name], set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    if near_duplicates:  # number 3 is in the first album, 30 in the seventh
        assert splits["album0"] == splits["album6"]
        assert {s.group for s in table.samples if album[s.name] in ("album0", "album6")} == {"album0"}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("group", "with space.jpg"),  # its own
        ("picture", "with space.jpg"),
        ("source", "web"),
        ("folder", "."),
        ("album", "album0"),
        ("label", "dog"),
    ],
)
def test_what_pictures_can_be_grouped_by(csv_set: Path, field: str, expected: str) -> None:
    config = config_of(csv_set)
    names = group_names(load_table(config), field, config.data)
    assert names[0] == expected
    assert len(names) == 40


def test_a_column_of_the_split_file(csv_set: Path) -> None:
    rows = [f'"{name.replace(chr(34), chr(34) * 2)}",train,p{k % 3}' for k, name in enumerate(ODD_NAMES)]
    rows += [f"{k:02d}.jpg,{'val' if k % 2 else 'train'},p{k % 3}" for k in range(4, 40)]
    (csv_set / "old.csv").write_text("\n".join(["image,split,patient", *rows]), encoding="utf-8")
    config = config_of(csv_set, f"data.splits={csv_set / 'old.csv'}")
    assert group_names(load_table(config), "patient", config.data)[:4] == ["p0", "p1", "p2", "p0"]


def test_a_field_that_is_not_there(csv_set: Path) -> None:
    config = config_of(csv_set)
    with pytest.raises(
        UserError,
        match=r"--group-by albun: expected one of group, source, folder, picture, or a column "
        r"\(image, label, group, source, album\); did you mean 'album'\?",
    ):
        group_names(load_table(config), "albun", config.data)


def test_sources_that_nobody_told(csv_set: Path) -> None:
    text = (csv_set / "index.csv").read_text(encoding="utf-8")
    (csv_set / "index.csv").write_text(text.replace(",web,", ",,").replace(",own,", ",,"), encoding="utf-8")
    config = config_of(csv_set)
    with pytest.raises(UserError, match=r"--group-by source: no picture has one"):
        group_names(load_table(config), "source", config.data)


def test_the_written_file_gives_the_same_splits_again(csv_set: Path) -> None:
    table, listed = split_config(config_of(csv_set), Shares(0.3, 0.1), seed=4)
    path = csv_set / "new folder" / "splits.csv"
    write_split_file(path, split_rows(listed))
    found = load_table(config_of(csv_set, f"data.splits={path}"))
    told = [(s.name, s.split, s.group, s.source) for s in table.samples]
    assert [(s.name, s.split, s.group, s.source) for s in found.samples] == told
    with path.open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == ["image", "source", "group", "split"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/splits\.csv: cannot be written"):
        write_split_file(tmp_path / "file/splits.csv", [])


def folders(root: Path, numbers: range) -> Path:
    for number in numbers:
        path = root / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write(path, photo(number, (48, 64)))
    return root


def test_pictures_of_extra_folders_train_and_stand_in_no_file(tmp_path: Path) -> None:
    root, extra = folders(tmp_path / "set", range(20)), folders(tmp_path / "more", range(100, 140))
    images.write(extra / "dog/copy.jpg", photo(6, (60, 80)))  # of set/dog/6.jpg, which so trains
    config = folder_config(root, "classification", {"format": "folders"}, [f"data.extra=[{extra}]"])
    for seed in range(4):
        table, listed = split_config(config, Shares(0.5), seed=seed)
        assert {s.name for s in listed} == {s.name for s in table.samples if s.path.is_relative_to(root)}
        assert {s.split for s in table.samples if not s.path.is_relative_to(root)} == {"train"}
        # Half of the twenty, whatever the extra folders hold.
        assert Counter(s.split for s in listed) == {"train": 10, "val": 10}
        assert split_of(table)["dog/6.jpg"] == "train"
    write_split_file(tmp_path / "splits.csv", split_rows(listed))
    again = config.model_copy(update={"data": config.data.model_copy(update={"splits": tmp_path / "splits.csv"})})
    assert split_of(load_table(again)) == split_of(table)


def test_an_old_split_file_gives_groups_and_sources_only(csv_set: Path) -> None:
    """Also where it puts a group into two splits, which is why it is drawn anew."""
    rows = [f'"{name.replace(chr(34), chr(34) * 2)}",train,pair,old' for name in ODD_NAMES]
    rows += [f"{k:02d}.jpg,{'val' if k == 9 else 'train'},{'pair' if k == 9 else ''},new" for k in range(4, 40)]
    (csv_set / "old.csv").write_text("\n".join(["image,split,group,source", *rows]), encoding="utf-8")
    table, _ = split_config(config_of(csv_set, f"data.splits={csv_set / 'old.csv'}"), Shares(0.25))
    assert len({s.split for s in table.samples if s.name in (*ODD_NAMES, "09.jpg")}) == 1
    assert {s.source for s in table.samples} == {"old", "new"}
    assert 8 <= Counter(split_of(table).values())["val"] <= 12


def test_a_split_file_that_the_config_names_but_is_still_to_be_written(csv_set: Path) -> None:
    table, _ = split_config(config_of(csv_set, f"data.splits={csv_set / 'new.csv'}"), Shares(0.25))
    assert Counter(split_of(table).values()) == {"train": 30, "val": 10}


def test_a_rare_class_is_not_in_the_way(tmp_path: Path) -> None:
    """The one picture of a class could be the one that is held out before anything is drawn."""
    (tmp_path / "images").mkdir()
    boxes = []
    for number in range(8):
        images.write(tmp_path / f"images/{number}.jpg", photo(number, (48, 64)))
        boxes.append({"id": number, "image_id": number, "category_id": int(number == 5), "bbox": [1, 1, 9, 9]})
    listed = [{"id": number, "file_name": f"{number}.jpg"} for number in range(8)]
    document = {"images": listed, "annotations": boxes, "categories": [{"id": k, "name": f"c{k}"} for k in (0, 1)]}
    (tmp_path / "annotations.json").write_text(str(document).replace("'", '"'))
    shares = Shares(0.25)
    table, _ = split_config(folder_config(tmp_path, "detection", {"format": "coco"}, []), shares)
    assert split_of(table)["5.jpg"] == "train"
    assert shortcomings(table, shares) == [
        "class 'c1' is in train only; its pictures make too few groups for every split"
    ]


def test_too_few_groups(csv_set: Path) -> None:
    with pytest.raises(UserError, match=r"3 splits need a group of pictures each; found 40 pictures in 2 groups"):
        split_config(config_of(csv_set), Shares(0.2, 0.2), group_by="source", near_duplicates=False)
    table = load_table(config_of(csv_set))
    with pytest.raises(UserError, match="2 splits need a group"):
        split_anew(table, Shares(0.2), groups=["a"] * 20 + ["b"] * 20, pinned=[True] * 40)


def test_drawn_shapes_bring_their_own(tmp_path: Path) -> None:
    from toolkit.config import load_config

    config = load_config("quickstart", [f"data.root={tmp_path / 'drawn'}"]).config
    with pytest.raises(UserError, match="shapes bring their own split"):
        split_config(config, Shares())


@pytest.mark.parametrize(
    ("val", "test", "sentence"),
    [
        (0.0, 0.0, "--val: expected a share above 0 and below 1, got 0"),
        (15, 0.0, "--val: expected a share above 0 and below 1, got 15"),
        (0.5, 0.5, "--test: expected a share from 0 that leaves something to train on, got 0.5"),
        (0.5, -0.1, "--test: expected a share from 0 that leaves something to train on, got -0.1"),
        (float("nan"), 0.0, "--val"),
    ],
)
def test_shares_that_make_no_sense(val: float, test: float, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Shares(val, test)
