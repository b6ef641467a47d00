"""Near-duplicates on both sides of a split."""

from __future__ import annotations

from pathlib import Path

from drawn_photos import photo

from toolkit import images
from toolkit.data import LabelSample, Table
from toolkit.data.crossings import Crossing, find_crossings, told


def table(tmp_path: Path, rows: list[tuple[int, str]]) -> Table[LabelSample]:
    """A picture a row: its seed and split; the size differs each time, so that no two files are the same."""
    samples = []
    for number, (seed, split) in enumerate(rows):
        path = tmp_path / f"{number}.jpg"
        images.write(path, photo(seed, (60 + number, 80)))
        samples.append(
            LabelSample(path=path, name=path.name, size=(1, 1), split=split, group=str(number), class_id=0)
        )  # fmt: skip
    return Table(("a",), tuple(samples))


def test_pairs_in_two_splits(tmp_path: Path) -> None:
    rows = [(1, "train"), (2, "train"), (1, "val"), (2, "train"), (3, "test"), (4, "val")]
    (crossing,) = find_crossings(table(tmp_path, rows))
    assert (crossing.first, crossing.first_split, crossing.second, crossing.second_split) == (
        "0.jpg", "train", "2.jpg", "val"
    )  # fmt: skip
    assert str(crossing).startswith("0.jpg (train) and 2.jpg (val) are near-duplicates, likeness 0.9")


def test_a_cluster_in_two_splits_is_told_at_least_once(tmp_path: Path) -> None:
    """Whichever pairs link it: one of them must cross."""
    rows = [(1, "train")] * 4 + [(1, "test")] + [(1, "train")] * 2
    assert {crossing.second_split for crossing in find_crossings(table(tmp_path, rows))} == {"test"}


def test_what_is_told() -> None:
    found = [Crossing(f"{k}.jpg", "train", "x.jpg", "val", 1 - k / 100, k == 0) for k in range(5)]
    lines = told(found, shown=2)
    assert lines[0] == "0.jpg (train) and x.jpg (val) are near-duplicates mirrored, likeness 1.00"
    assert lines[2] == "... and 3 more"
    assert "toolkit data split" in lines[3]
    assert (len(lines), len(told(found)), told([])) == (4, 6, [])
