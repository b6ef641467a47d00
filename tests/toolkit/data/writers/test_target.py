"""Names in a new set, and what the writers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.data import LabelSample
from toolkit.data.table import BoxSample
from toolkit.data.writers.target import Target, distinct, group_names, lost_areas, plain_names, stem
from toolkit.errors import UserError


def sample(name: str, group: str = "") -> LabelSample:
    return LabelSample(path=Path(name), name=name, size=(4, 5), split="train", group=group or name, class_id=0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "sub/b.jpg"], ["a.jpg", "sub/b.jpg"]),
        (["../more/cat/a.jpg", "cat/a.jpg"], ["more/cat/a.jpg", "cat/a.jpg"]),
        (["/abs/a.jpg"], ["abs/a.jpg"]),
        (["images/a.jpg", "images/sub/b.jpg"], ["a.jpg", "sub/b.jpg"]),  # the writers put it back
        (["images/a.jpg", "b.jpg"], ["images/a.jpg", "b.jpg"]),
        (["images"], ["images"]),
    ],
)
def test_plain_names(names: list[str], expected: list[str]) -> None:
    assert plain_names([sample(name) for name in names]) == expected


@pytest.mark.parametrize(
    ("names", "key", "expected"),
    [
        (["a.jpg", "b.jpg"], stem, ["a.jpg", "b.jpg"]),
        (["a.jpg", "a.png", "a.gif"], stem, ["a.jpg", "a_2.png", "a_3.gif"]),
        (["a.jpg", "a.png"], str, ["a.jpg", "a.png"]),
        (["a.jpg", "a_2.jpg", "a.png"], stem, ["a.jpg", "a_2.jpg", "a_3.png"]),  # a later name is not taken away
        (["a.jpg", "a.png", "a_2.jpg"], stem, ["a.jpg", "a_3.png", "a_2.jpg"]),
        (["x/a.jpg", "y/a.jpg"], stem, ["x/a.jpg", "y/a.jpg"]),
        (["v1.2/a.b.jpg", "v1.2/a.b.png"], stem, ["v1.2/a.b.jpg", "v1.2/a.b_2.png"]),
    ],
)
def test_distinct(names: list[str], key: object, expected: list[str]) -> None:
    found, notes = distinct(names, key=key)  # type: ignore[arg-type]
    assert found == expected
    changed = sum(a != b for a, b in zip(names, expected, strict=True))
    assert len(notes) == bool(changed)
    assert (f" and {changed - 1} more" in "".join(notes)) == (changed > 1)


def test_groups_named_after_a_picture_follow_its_name() -> None:
    samples = [sample("a.jpg"), sample("b.jpg", "a.jpg"), sample("c.jpg", "walk")]
    assert group_names(samples, ["x/a.jpg", "x/b.jpg", "x/c.jpg"]) == ["x/a.jpg", "x/a.jpg", "walk"]


def test_areas_of_their_own_are_counted() -> None:
    boxes = np.array([[0, 0, 10, 10], [0.1, 0.2, 9.9, 20.3], [0, 0, 10, 10]], np.float32)
    areas = np.array([100.0, 9.8 * 20.1, 70.0])
    one = BoxSample(
        path=Path("a"), name="a", size=(30, 30), split="train", group="a",
        boxes=boxes, class_ids=np.zeros(3, np.int64), crowd=np.zeros(3, np.bool_), areas=areas,
    )  # fmt: skip
    assert lost_areas([one]) == ["the areas of 1 boxes, which are those of the objects' outlines"]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.txt: cannot be written"):
        Target(tmp_path).lines("file/a.txt", [])
    with pytest.raises(UserError, match=r"gone\.jpg: cannot be written as a\.jpg"):
        Target(tmp_path).file(tmp_path / "gone.jpg", "a.jpg")
    with pytest.raises(UserError, match="--copy does without links"):
        Target(tmp_path, link=True).file(tmp_path / "file", "file")


def test_tables_quote_what_needs_it(tmp_path: Path) -> None:
    Target(tmp_path).table("sub/a.csv", ("image", "label"), [('a "b", c.jpg', "猫")])
    assert (tmp_path / "sub/a.csv").read_bytes() == 'image,label\n"a ""b"", c.jpg",猫\n'.encode()
