"""A folder of pictures and one of masks: sound ones arrive as they are, every fault has its sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from toolkit.config.data_blocks import MasksData
from toolkit.data.mask_files import read_mask

PICTURES, FILES = "pets/images/", "pets/masks/"
NAMES = ("ground", "cat", "dog")


def png(numbers: NDArray[Any]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(numbers).save(target, "PNG")
    return target.getvalue()


def mask(cat: int = 100, dog: int = 200, other: int = 0, size: tuple[int, int] = (30, 40)) -> NDArray[np.uint8]:
    """So many pixels of each class, and of 255, row by row."""
    numbers = np.repeat(np.array([1, 2, 255, 0], np.uint8), [cat, dog, other, size[0] * size[1] - cat - dog - other])
    return numbers.reshape(size)


@pytest.fixture
def pets(folder: Callable[..., Any]) -> Any:
    """Five pictures of 40x30, a to d with 100 pixels of cat and 200 of dog, e all ground."""
    made = folder("segmentation", MasksData, format="masks", classes=NAMES)
    for number, name in enumerate("abcde"):
        made.draw(f"images/{name}.jpg", 40 * number)
        made.write(f"masks/{name}.png", png(mask() if name != "e" else mask(0, 0)))
    made.write("splits.csv", "image,split\na.jpg,train\nb.jpg,train\nc.jpg,train\nd.jpg,val\ne.jpg,train\n")
    made.keys["splits"] = made.root / "splits.csv"
    return made


def test_a_sound_set(pets: Any) -> None:
    table = pets.load()
    assert (table.class_names, table.unit) == (NAMES, "pixels")
    assert [(s.name, s.split, s.size) for s in table.samples] == [
        (f"{name}.jpg", "val" if name == "d" else "train", (30, 40)) for name in "abcde"
    ]
    first, last = table.samples[0], table.samples[-1]
    assert (first.pixels.tolist(), last.pixels.tolist()) == ([900, 100, 200], [1200, 0, 0])
    assert table.counts()["dog"] == {"train": 600, "val": 200, "test": 0}
    np.testing.assert_array_equal(read_mask(first), mask())


def test_255_is_not_counted(pets: Any) -> None:
    pets.write("masks/a.png", png(mask(50, 60, 70)))
    first = pets.load().samples[0]
    assert first.pixels.tolist() == [1200 - 180, 50, 60]
    assert (read_mask(first) == 255).sum() == 70


def test_palette_and_one_bit(pets: Any) -> None:
    picture = Image.fromarray(mask())
    picture.putpalette(list(range(255, 0, -1)) * 3)
    picture.save(pets.root / "masks/a.png")
    Image.fromarray(mask() == 1).save(pets.root / "masks/b.png")
    assert [s.pixels.tolist() for s in pets.load().samples[:2]] == [[900, 100, 200], [1100, 100, 0]]


def test_names_of_many_hands(pets: Any) -> None:
    pets.draw("images/街道/口罩, 1.v2.JPG", 7)
    pets.write("masks/街道/口罩, 1.v2.png", png(mask()))
    pets.replace("splits.csv", "split\n", 'split\n"街道/口罩, 1.v2.JPG",train\n')
    pets.write("masks/.DS_Store", "x")
    pets.write("masks/notes.txt", "x")
    assert len(pets.load()) == 6


def test_splits_by_folder_and_drawn(pets: Any) -> None:
    assert len(pets.load(splits=None).subset("val")) == 1
    for name in "abcde":
        split = "val" if name == "d" else "train"
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            (pets.root / kind / split).mkdir(exist_ok=True)
            (pets.root / kind / f"{name}.{suffix}").rename(pets.root / kind / split / f"{name}.{suffix}")
    assert [s.name for s in pets.load(splits=None).subset("val").samples] == ["val/d.jpg"]


def test_a_set_without_background(pets: Any) -> None:
    for name in "abcde":
        pets.write(f"masks/{name}.png", png(mask(500, 700)))
    assert pets.load().counts()["ground"] == {"train": 0, "val": 0, "test": 0}


def write(numbers: NDArray[Any]) -> Callable[[Any], None]:
    return lambda pets: pets.write("masks/a.png", png(numbers))


# What goes wrong, the file that is named, and a part of the sentence.
FAULTS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "unknown class id": (
        write(np.where(mask() == 2, np.uint8(7), mask())),
        FILES + "a.png",
        "has the unknown class id 7; data.classes has 0 to 2 (255: not counted)",
    ),
    "unknown class ids": (
        write(np.arange(1200).reshape(30, 40).astype(np.uint8)),
        FILES + "a.png",
        "has the unknown class ids 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 242 more; data.classes has 0 to 2",
    ),
    "another size": (
        write(mask(size=(30, 50))),
        FILES + "a.png",
        "is 50x30, but its picture is 40x30; it belongs to another picture",
    ),
    "colour": (
        write(np.zeros((30, 40, 3), np.uint8)),
        FILES + "a.png",
        "has colour pixels; expected a PNG of 8-bit grey, palette or 1-bit pixels, whose numbers are classes",
    ),
    "truncated": (
        lambda pets: pets.write("masks/a.png", png(mask())[:60]),
        FILES + "a.png",
        "the PNG is truncated or damaged",
    ),
    "text": (lambda pets: pets.write("masks/a.png", "hello"), FILES + "a.png", "is not a PNG (starts with b'hello')"),
    "no mask": (
        lambda pets: (pets.root / "masks/a.png").unlink(),
        PICTURES + "a.jpg",
        "has no label file; expected pets/masks/a.png",
    ),
    "mask as JPEG": (
        lambda pets: (pets.root / "masks/a.png").rename(pets.root / "masks/a.jpg"),
        PICTURES + "a.jpg",
        "has no label file; expected pets/masks/a.png",
    ),
    "no picture": (
        lambda pets: pets.write("masks/z.png", png(mask())),
        FILES + "z.png",
        "has no picture of its name in pets/images; add it, or remove this file",
    ),
    "two pictures of one name": (
        lambda pets: pets.draw("images/a.webp", 3),
        PICTURES + "a.webp",
        "has the name of a.jpg up to the suffix, and would share its labels; rename it",
    ),
    "picture broken": (lambda pets: pets.write("images/a.jpg", "x"), PICTURES + "a.jpg", "is not a picture"),
}

FATAL: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "class nowhere in train": (
        lambda pets: [pets.write(f"masks/{name}.png", png(mask(100, 0))) for name in "abc"],
        "pets/images",
        "class 'dog' has no pixel in train; add masks that show it, or take it out of data.classes",
    ),
    # 0 and 255 are what many tools write for two classes.
    "masks of black and white": (
        lambda pets: [pets.write(f"masks/{name}.png", png(mask(0, 0, 300))) for name in "abcde"],
        "pets/images",
        "255 in a mask of class ids is not counted",
    ),
    "no masks": (
        lambda pets: [path.unlink() for path in (pets.root / "masks").iterdir()],
        "pets/masks",
        "holds no .png file; is data.masks right?",
    ),
    "no val": (
        lambda pets: pets.write("masks/d.png", "x"),
        "pets/images",
        "no usable picture is in split val",
    ),
}


@pytest.mark.parametrize("case", [*FAULTS, *FATAL])
def test_fault(pets: Any, case: str) -> None:
    bend, file, sentence = {**FAULTS, **FATAL}[case]
    bend(pets)
    pets.check_fault(file, sentence, fatal=case in FATAL)


@pytest.mark.parametrize("case", FAULTS)
def test_a_picture_without_a_sound_mask_is_left_out(pets: Any, case: str) -> None:
    FAULTS[case][0](pets)
    names = [sample.name for sample in pets.load(on_fault="skip").samples]
    assert names == ["a.jpg"] * (case == "no picture") + ["b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_a_mask_drawn_before_the_picture_was_turned(pets: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(pets.root / "images/a.jpg", exif=exif)
    assert pets.load().samples[0].size == (30, 40)
    pets.write("masks/a.png", png(mask(size=(40, 30))))
    sentence = "it was drawn before the picture's EXIF orientation turned it; turn the mask too"
    pets.check_fault(FILES + "a.png", f"is 30x40, but its picture is 40x30; {sentence}")


def test_all_faults_come_together(pets: Any) -> None:
    pets.write("masks/a.png", png(mask(size=(30, 50))))
    pets.write("masks/b.png", png(np.full((30, 40), 9, np.uint8)))
    pets.write("images/e.jpg", "")
    pets.write("masks/z.png", png(mask()))
    assert [fault.file for fault in pets.faults()] == [
        PICTURES + "e.jpg",
        FILES + "a.png",
        FILES + "b.png",
        FILES + "z.png",
    ]


def test_folders_that_are_missing(pets: Any) -> None:
    assert [str(fault) for fault in pets.faults(masks=Path("labels"))] == [
        "pets/labels: no such folder; data.masks names the folder of the .png files"
    ]
