"""A table of pictures and masks, one column or one a class; its lines stand in the faults."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolkit.config.data_blocks import CsvMasks
from toolkit.data.mask_files import read_mask

FILE = "scans/index.csv"
NAMES = ("ground", "lung", "lesion")


def png(numbers: NDArray[Any]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(numbers).save(target, "PNG")
    return target.getvalue()


def region(rows: int, columns: int) -> NDArray[np.uint8]:
    numbers = np.zeros((30, 40), np.uint8)
    numbers[:rows, :columns] = 255
    return numbers


LUNG, LESION = region(20, 20), region(10, 25)


@pytest.fixture
def scans(folder: Callable[..., Any]) -> Any:
    """Six slices of three patients; a lung of 20x20 pixels, a lesion of 10x25 of which a part lies outside of it."""
    made = folder("segmentation", CsvMasks, format="csv", classes=NAMES, group_column="patient", val_fraction=0.3)
    made.root = made.root.parent / "scans"
    made.keys["mask_columns"] = {"lesion": "lesion_mask", "lung": "lung_mask"}  # the order of data.classes counts
    rows = ""
    for number in range(6):
        made.draw(f"img/{number}.png", 40 * number)
        made.write(f"lung/{number}.png", png(LUNG))
        made.write(f"lesion/{number}.png", png(LESION))
        rows += f"img/{number}.png,lung/{number}.png,lesion/{number}.png,p{number // 2}\n"
    made.write("index.csv", "image,lung_mask,lesion_mask,patient\n" + rows)
    return made


@pytest.fixture
def ids(scans: Any) -> Any:
    """The same pictures with one column of class ids."""
    rows = ""
    for number in range(6):
        scans.write(f"ids/{number}.png", png((LUNG > 0).astype(np.uint8) + (LESION > 0)))
        rows += f"img/{number}.png,ids/{number}.png,p{number // 2}\n"
    scans.write("index.csv", "image,mask,patient\n" + rows)
    scans.keys["mask_columns"] = {}
    return scans


def test_a_mask_for_each_class(scans: Any) -> None:
    table = scans.load()
    assert (table.class_names, len(table)) == (NAMES, 6)
    expected = np.where(LESION > 0, 2, np.where(LUNG > 0, 1, 0))
    for sample in table.samples:
        np.testing.assert_array_equal(read_mask(sample), expected)
        assert sample.pixels.tolist() == [1200 - 400 - 50, 200, 250]
    assert [sample.group for sample in table.samples] == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_a_drawn_split_keeps_patients_together(scans: Any) -> None:
    drawn = set()
    for seed in range(10):
        table = scans.load(seed=seed)
        held = {s.group for s in table.subset("val").samples}
        assert len(held) == 1
        assert held.isdisjoint({s.group for s in table.subset("train").samples})
        drawn |= held
    assert len(drawn) > 1


def test_split_columns(scans: Any) -> None:
    scans.replace("index.csv", "image,", "image,split,source,")
    for number in range(6):
        split = ("train", "val", "test")[number // 2]
        scans.replace("index.csv", f"img/{number}.png,", f"img/{number}.png,{split},ward,")
    table = scans.load()
    assert [len(table.subset(split)) for split in ("train", "val", "test")] == [2, 2, 2]
    assert {sample.source for sample in table.samples} == {"ward"}
    scans.replace("index.csv", "img/1.png,train", "img/1.png,val")
    message = "group 'p0' is in val (img/1.png) and in train (img/0.png); keep a group in one split, or set"
    assert message in scans.faults()[0].message


def test_an_empty_cell_is_a_class_that_is_not_there(scans: Any) -> None:
    scans.replace("index.csv", "lesion/0.png", "")
    sample = scans.load().samples[0]
    assert sample.pixels.tolist() == [800, 400, 0]
    assert len(sample.masks) == 1


def test_class_ids_in_one_column(ids: Any) -> None:
    sample = ids.load().samples[0]
    assert sample.pixels.tolist() == [1200 - 400 - 50, 200 + 50, 200]
    assert sample.masks[0][1] is None


def test_a_group_column_of_the_usual_name_may_be_missing(scans: Any) -> None:
    assert {s.group for s in scans.load(group_column="group").samples} == {f"img/{n}.png" for n in range(6)}


def edit(old: str, new: str) -> Callable[[Any], None]:
    return lambda scans: scans.replace("index.csv", old, new)


# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no image": (edit("img/0.png,", ","), FILE, "line 2: the image cell is empty"),
    "twice": (
        edit("img/1.png", "img/0.png"),
        FILE,
        "line 3: img/0.png is listed twice (first on line 2); keep one row",
    ),
    "mask leaves the folder": (
        edit("lung/0.png", "../lung/0.png"),
        FILE,
        "line 2: lung_mask '../lung/0.png' leaves the data folder; give it relative to data.root",
    ),
    "mask missing": (edit("lung/0.png", "lung/9.png"), "scans/lung/9.png", "no such file"),
    "mask of another size": (
        lambda scans: scans.write("lesion/0.png", png(np.zeros((30, 41), np.uint8))),
        "scans/lesion/0.png",
        "is 41x30, but its picture is 40x30; it belongs to another picture",
    ),
    "mask of colour": (
        lambda scans: scans.write("lesion/0.png", png(np.zeros((30, 40, 3), np.uint8))),
        "scans/lesion/0.png",
        "has colour pixels",
    ),
    "picture missing": (edit("img/0.png", "img/9.png"), "scans/img/9.png", "no such file"),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "column missing": (
        edit("lung_mask", "lungs"),
        FILE,
        "expected a header with the columns image, lung_mask, lesion_mask and patient, found image, lungs, lesion_mask",
    ),
    "group column missing": (
        lambda scans: scans.keys.update(group_column="case"),
        FILE,
        "expected a header with the columns image, lung_mask, lesion_mask and case, found",
    ),
    "class that is none": (
        lambda scans: scans.keys.update(mask_columns={"lung": "lung_mask", "lesoin": "lesion_mask"}),
        FILE,
        "data.mask_columns: 'lesoin' is not in data.classes; did you mean 'lesion'?",
    ),
    "class without a column": (
        lambda scans: scans.keys.update(mask_columns={"lung": "lung_mask"}),
        FILE,
        "data.mask_columns: expected a column for class 'lesion' of data.classes",
    ),
    "column of the background": (
        lambda scans: scans.keys["mask_columns"].update(ground="x"),
        FILE,
        "data.mask_columns: 'ground' is the background, which has no masks of its own",
    ),
    "column of two classes": (
        lambda scans: scans.keys.update(mask_columns={"lung": "lung_mask", "lesion": "lung_mask"}),
        FILE,
        "data.mask_columns: column 'lung_mask' stands for two classes; give each its own",
    ),
    "class nowhere": (
        lambda scans: [scans.write(f"lesion/{n}.png", png(region(0, 0))) for n in range(6)],
        FILE,
        "class 'lesion' has no pixel in train; add masks that show it",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(scans: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(scans)
    scans.check_fault(file, sentence, fatal=case in FATAL)


@pytest.mark.parametrize(
    ("old", "new", "file", "sentence"),
    [
        ("ids/0.png", "", FILE, "line 2: the mask cell is empty"),
        (",mask,", ",masks,", FILE, "expected a header with the columns image, mask and patient, found image, masks"),
    ],
)
def test_faults_of_class_ids(ids: Any, old: str, new: str, file: str, sentence: str) -> None:
    ids.replace("index.csv", old, new)
    assert [f for f in ids.faults() if f.file == file and sentence in f.message]


def test_unknown_class_ids(ids: Any) -> None:
    ids.write("ids/0.png", png(np.full((30, 40), 3, np.uint8)))
    ids.check_fault("scans/ids/0.png", "has the unknown class id 3; data.classes has 0 to 2 (255: not counted)")
