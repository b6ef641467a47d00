"""Class folders: what becomes of other folders in a name, and names that cannot be folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_photos import photo

from toolkit import images
from toolkit.data import LabelSample, Table
from toolkit.data.writers.folders import write
from toolkit.data.writers.target import Target
from toolkit.errors import UserError


def table(tmp_path: Path, names: list[tuple[str, int]], classes: tuple[str, ...]) -> Table[LabelSample]:
    images.write(tmp_path / "one.jpg", photo(0, (20, 30)))
    samples = (
        LabelSample(path=tmp_path / "one.jpg", name=n, size=(20, 30), split="train", group=n, class_id=class_id)
        for n, class_id in names
    )
    return Table(classes, tuple(samples))


def test_where_pictures_go(tmp_path: Path) -> None:
    rows = [
        ("cat/a.jpg", 0, "cat/a.jpg"),
        ("train/cat/b.jpg", 0, "cat/b.jpg"),
        ("val/dog/b.jpg", 1, "dog/b.jpg"),
        ("../more/dog/c.jpg", 1, "dog/more_c.jpg"),
        ("kitchen/day 1/a.jpg", 1, "dog/kitchen_day 1_a.jpg"),
        ("plain.jpg", 0, "cat/plain.jpg"),
        ("val/cat/a.jpg", 0, "cat/a_2.jpg"),  # taken
    ]
    (tmp_path / "out").mkdir()
    written = write(table(tmp_path, [row[:2] for row in rows], ("cat", "dog")), Target(tmp_path / "out"))
    assert list(written.names) == [row[2] for row in rows]
    assert all((tmp_path / "out" / name).is_file() for name in written.names)
    assert written.lost == ["the name of a picture, as another has it already: cat/a.jpg is cat/a_2.jpg"]


@pytest.mark.parametrize("name", ["a/b", ".hidden", "train", "Thumbs.db"])
def test_classes_that_cannot_be_folders(tmp_path: Path, name: str) -> None:
    sentence = "cannot be the name of a class folder; rename it, or write csv"
    with pytest.raises(UserError, match=sentence):
        write(table(tmp_path, [("x.jpg", 0)], (name,)), Target(tmp_path))
