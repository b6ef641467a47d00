"""New splits for a table: no group or near-duplicate in two of them, every class and source in its share; and the file
that keeps them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.data.csv_file import read_csv
from toolkit.data.duplicates import find_duplicates, find_identical, linked
from toolkit.data.fault_log import FaultLog, shown
from toolkit.data.open_set import open_set
from toolkit.data.stratify import deal
from toolkit.data.table import SPLITS, Progress, Sample, Table
from toolkit.errors import UserError, suggest

COLUMNS = ("image", "source", "group", "split")
# What pictures can be grouped by without a column of that name.
FIELDS = ("group", "source", "folder", "picture")


@dataclass(frozen=True)
class Shares:
    """The parts of the pictures that are held out; the rest trains."""

    val: float = 0.15
    test: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.val < 1:
            raise UserError(f"--val: expected a share above 0 and below 1, got {self.val:g}")
        if not 0 <= self.test < 1 or self.val + self.test >= 1:
            raise UserError(f"--test: expected a share from 0 that leaves something to train on, got {self.test:g}")

    @property
    def of_splits(self) -> tuple[float, float, float]:
        return 1 - self.val - self.test, self.val, self.test


def split_config(
    config: Any,
    shares: Shares,
    *,
    group_by: str = "group",
    near_duplicates: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Table[Any], list[Sample]]:
    """Read a config's data set and split it anew: the table, and the samples that a split file may list.

    The pictures of ``data.extra`` train, whatever is drawn, and stand in no split file. Raises ``UserError``, and
    ``DataFaults`` for what is wrong with the data.
    """
    if config.data.format == "shapes":
        raise UserError("data.format: shapes bring their own split; nothing could read another")
    if config.data.splits is not None and not config.data.splits.exists():  # it is what shall be written
        config = config.model_copy(update={"data": config.data.model_copy(update={"splits": None})})
    table = open_set(config, progress=progress, redraw=True)
    pinned = [sample.pinned for sample in table.samples]
    table = split_anew(
        table,
        shares,
        groups=group_names(table, group_by, config.data),
        pinned=pinned,
        near_duplicates=near_duplicates,
        seed=seed,
        progress=progress,
    )
    return table, [sample for sample in table.samples if not sample.pinned]


def split_anew(
    table: Table[Any],
    shares: Shares,
    *,
    groups: Sequence[str],
    pinned: Sequence[bool] | None = None,
    near_duplicates: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Table[Any]:
    """The table with a new split for each sample, and in ``group`` what was kept together.

    ``groups`` are given names, one a sample; those that share near-duplicates or identical files become one, under
    the first sample's name. ``pinned`` samples train, with all that belongs to them. Fewer groups than splits
    are a ``UserError``.
    """
    lead = _together(table, groups, near_duplicates, progress)
    _, group_of = np.unique(lead, return_inverse=True)
    bound = np.zeros(len(table), np.bool_) if pinned is None else np.asarray(pinned, np.bool_)
    fixed = np.zeros(group_of.max(initial=-1) + 1, np.bool_)
    fixed[group_of[bound]] = True
    held_out = sum(share > 0 for share in shares.of_splits[1:])
    if len(fixed) <= held_out or np.sum(~fixed) < held_out:
        told = f"found {len(table)} pictures in {len(fixed)} groups that stay together"
        raise UserError(f"{held_out + 1} splits need a group of pictures each; {told}")
    strata, counts = _strata(table)
    strata[bound] = 0  # the shares are of what is dealt
    split_of = deal(_summed(strata, group_of), _summed(counts, group_of) > 0, shares.of_splits, seed=seed, fixed=fixed)
    samples = (
        replace(sample, split=SPLITS[split_of[group]], group=groups[first])
        for sample, group, first in zip(table.samples, group_of.tolist(), lead.tolist(), strict=True)
    )
    return Table(table.class_names, tuple(samples), table.skipped)


def group_names(table: Table[Any], field: str, data: Any) -> list[str]:
    """What each sample is grouped by: one of `FIELDS`, or a column of the CSV files that a ``data`` block names.

    ``folder`` is the one that the picture's name tells, ``picture`` keeps nothing together. A picture for which
    nothing is said is its own group. Raises ``UserError`` for a field that is not there.
    """
    told: dict[str, Callable[[Sample], str]] = {
        "group": lambda sample: sample.group,
        "source": lambda sample: sample.source,
        "folder": lambda sample: str(PurePosixPath(sample.name).parent),
        "picture": lambda sample: sample.name,
    }
    if field in told:
        names = [told[field](sample) for sample in table.samples]
    else:
        column = _column(field, data)
        names = [column.get(sample.name, "") for sample in table.samples]
    if not any(names):
        raise UserError(f"--group-by {field}: no picture has one; group by {', '.join(FIELDS)} or a column of a CSV")
    return [name or sample.name for name, sample in zip(names, table.samples, strict=True)]


def split_rows(samples: Iterable[Sample]) -> Iterator[tuple[str, str, str, str]]:
    """The cells of `COLUMNS` for each sample."""
    return ((sample.name, sample.source, sample.group, sample.split) for sample in samples)


def write_split_file(path: Path, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write a CSV that ``data.splits`` can name; the folder is made when it is missing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"{shown(path)}: cannot be written ({error.strerror})") from None


def shortcomings(table: Table[Any], shares: Shares) -> list[str]:
    """A sentence for each class that a split should have and has not."""
    asked = [split for split, share in zip(SPLITS, shares.of_splits, strict=True) if share > 0]
    held = {name: [split for split in asked if counts[split]] for name, counts in table.counts().items()}
    return [
        f"class {name!r} is in {' and '.join(splits)} only; its pictures make too few groups for every split"
        if splits
        else f"class {name!r} is in no picture"
        for name, splits in held.items()
        if len(splits) < len(asked)
    ]


def _together(
    table: Table[Any], groups: Sequence[str], near_duplicates: bool, progress: Progress | None
) -> NDArray[np.int64]:
    """For each sample the first one that it must stay with."""
    paths = [sample.path for sample in table.samples]
    first: dict[str, int] = {}
    pairs = [(first.setdefault(group, index), index) for index, group in enumerate(groups)]
    pairs += find_identical(paths, progress)
    if near_duplicates:
        pairs += [(pair.first, pair.second) for pair in find_duplicates(paths, progress=progress)]
    return linked(len(paths), pairs)


def _strata(table: Table[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is balanced, float64 [N,S]: pictures, each class, pictures of no class, all of it for each source too; and
    each class alone, [N,C].
    """
    classes = len(table.class_names)
    counts = np.array([sample.class_counts(classes) for sample in table.samples], np.float64).reshape(-1, classes)
    empty = counts.sum(axis=1, keepdims=True) == 0
    whole = np.concatenate([np.ones_like(empty, np.float64), counts, empty], axis=1)
    sources, source_of = np.unique([sample.source for sample in table.samples], return_inverse=True)
    if len(sources) < 2:
        return whole, counts
    return np.concatenate([whole, *(whole * (source_of == k)[:, None] for k in range(len(sources)))], axis=1), counts


def _summed(values: NDArray[np.float64], group_of: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.zeros((group_of.max() + 1, values.shape[1]))
    np.add.at(total, group_of, values)
    return total


def _column(field: str, data: Any) -> dict[str, str]:
    """The cells of a column by picture, from the data's own CSV or its split file."""
    root = getattr(data, "root", None)
    index = getattr(data, "index", None)
    files = [Path(root) / index] if root and index else []
    files += [Path(data.splits)] if getattr(data, "splits", None) else []
    known: list[str] = []
    for path in files:
        log = FaultLog()
        rows = read_csv(path, ("image",), "it is named in the data block", log)
        log.settle()
        if rows and field in rows[0][1]:
            return {str(PurePosixPath(cells["image"])): cells[field] for _, cells in rows}
        known += [name for name in (rows[0][1] if rows else ()) if name not in known]
    columns = f", or a column ({', '.join(known)})" if known else "; this data has no CSV with more columns"
    hint = suggest(field, [*FIELDS, *known])
    raise UserError(f"--group-by {field}: expected one of {', '.join(FIELDS)}{columns}{hint}")
