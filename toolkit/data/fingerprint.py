"""What a table is made of, a row a picture with hashes of file and labels: kept by a run, to compare two runs' data."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.data.table import Sample, Table
from toolkit.errors import UserError

DIGITS = 16  # of a SHA-256 in hexadecimal: two versions of a picture share them by chance once in 2**64


class Picture(NamedTuple):
    """A picture by its name in the labels; ``content`` hashes the file's bytes, ``labels`` what it is taught as."""

    image: str
    split: str
    content: str
    labels: str


@dataclass(frozen=True)
class DataChanges:
    """How the pictures of two tables differ, by name; ``content``, ``labels`` and ``split`` are of those in both.

    ``order`` says that the same pictures stand in another order, which training draws from.
    """

    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    content: tuple[str, ...]
    labels: tuple[str, ...]
    split: tuple[str, ...]
    order: bool

    @property
    def pictures(self) -> int:
        """How many pictures differ."""
        return len({*self.only_a, *self.only_b, *self.content, *self.labels, *self.split})

    def __bool__(self) -> bool:
        return self.order or self.pictures > 0


def compare(a: Sequence[Picture], b: Sequence[Picture]) -> DataChanges:
    """What differs between two fingerprints."""
    rows_a, rows_b = ({row.image: row for row in rows} for rows in (a, b))
    both = [name for name in rows_a if name in rows_b]

    def other(field: str) -> tuple[str, ...]:
        return tuple(name for name in both if getattr(rows_a[name], field) != getattr(rows_b[name], field))

    return DataChanges(
        only_a=tuple(name for name in rows_a if name not in rows_b),
        only_b=tuple(name for name in rows_b if name not in rows_a),
        content=other("content"),
        labels=other("labels"),
        split=other("split"),
        order=both != [name for name in rows_b if name in rows_a],
    )


def fingerprint(table: Table[Any]) -> list[Picture]:
    """A row for each sample, in the table's order, which training draws from. Reads no file that was hashed before."""
    return [
        Picture(
            sample.name,
            sample.split,
            (sample.digest or hashlib.sha256(sample.path.read_bytes()).hexdigest())[:DIGITS],
            _labels(sample, table.class_names),
        )
        for sample in table.samples
    ]


def _labels(sample: Sample, class_names: Sequence[str]) -> str:
    return hashlib.sha256(sample.label_bytes(class_names)).hexdigest()[:DIGITS]


def write_fingerprint(path: Path, pictures: Sequence[Picture]) -> None:
    """Write the rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Picture._fields)
        writer.writerows(pictures)


def read_fingerprint(path: Path) -> list[Picture]:
    """Read what `write_fingerprint` wrote; ``UserError`` where a row is not of that kind."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if rows[:1] != [list(Picture._fields)] or any(len(row) != len(Picture._fields) for row in rows):
        raise UserError(f"{path}: expected the columns {', '.join(Picture._fields)} as a training writes them")
    return [Picture(*row) for row in rows[1:]]
