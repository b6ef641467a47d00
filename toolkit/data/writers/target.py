"""The folder that a format is written into, and what a writer says when it is done."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.data.fault_log import shown
from toolkit.data.table import BoxSample, Progress, Sample
from toolkit.errors import UserError


@dataclass(frozen=True)
class Written:
    """``names`` are the samples' in the new set, in the table's order, as a split file lists them; ``block`` the keys
    of its ``data`` block beside format, root, classes and splits; ``lost`` a sentence for each thing that the format
    has no place for or that was changed; ``holds_splits`` says that the labels themselves tell the splits.
    """

    names: Sequence[str]
    block: dict[str, Any] = field(default_factory=dict)
    lost: Sequence[str] = ()
    holds_splits: bool = False


@dataclass(frozen=True)
class Target:
    """``folder`` is there and empty; ``link`` puts symbolic links in the place of copies."""

    folder: Path
    link: bool = False
    progress: Progress | None = None

    def pictures(self, samples: Sequence[Sample], names: Sequence[str]) -> None:
        """Put the samples' pictures under these names, relative to the folder."""
        for done, (sample, name) in enumerate(zip(samples, names, strict=True), 1):
            self.file(sample.path, name)
            if self.progress:
                self.progress("writing pictures", done, len(samples))

    def file(self, source: Path, name: str) -> None:
        """Copy or link one file."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.link:
                path.symlink_to(os.path.realpath(source))
            else:
                shutil.copyfile(source, path)
        except OSError as error:
            hint = "; --copy does without links" if self.link else ""
            raise UserError(f"{shown(source)}: cannot be written as {name} ({error.strerror}){hint}") from None

    def data(self, name: str, content: bytes) -> None:
        """Write one file, with the folders around it."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise UserError(f"{name}: cannot be written ({error.strerror})") from None

    def lines(self, name: str, lines: Iterable[str]) -> None:
        """Write a text file of these lines, UTF-8."""
        self.data(name, "".join(f"{line}\n" for line in lines).encode())

    def table(self, name: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Write a CSV file, UTF-8."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
        self.data(name, text.getvalue().encode())


def stem(name: str) -> str:
    """The name up to its suffix, with the folders before it: what pairs a picture with its label file."""
    return str(PurePosixPath(name).with_suffix(""))


def plain_names(samples: Sequence[Sample]) -> list[str]:
    """The samples' names without steps that lead out of the folder, and without an ``images/`` that all of them have,
    as the writers put it back.
    """
    parts = [[part for part in PurePosixPath(sample.name).parts if part not in ("..", "/")] for sample in samples]
    if all(len(each) > 1 and each[0] == "images" for each in parts):
        parts = [each[1:] for each in parts]
    return ["/".join(each) for each in parts]


def distinct(names: Sequence[str], key: Callable[[str], str] = stem) -> tuple[list[str], list[str]]:
    """The names with a number added where another has the same ``key``, and a sentence that says so."""
    taken = {key(name) for name in names}
    seen: set[str] = set()
    found: list[str] = []
    renamed: list[str] = []
    for name in names:
        free, number = name, 1
        if key(name) in seen:
            while key(free) in taken:
                number += 1
                free = f"{stem(name)}_{number}{PurePosixPath(name).suffix}"
            renamed.append(f"{name} is {free}")
        taken.add(key(free))
        seen.add(key(free))
        found.append(free)
    if not renamed:
        return found, []
    more = f" and {len(renamed) - 1} more" if len(renamed) > 1 else ""
    told = "the name of a picture" if len(renamed) == 1 else f"the names of {len(renamed)} pictures"
    return found, [f"{told}, as another has it already: {renamed[0]}{more}"]


def group_names(samples: Sequence[Sample], names: Sequence[str]) -> list[str]:
    """The samples' groups, where a group is named after a picture by that picture's new name."""
    renamed = {sample.name: name for sample, name in zip(samples, names, strict=True)}
    return [renamed.get(sample.group, sample.group) for sample in samples]


def lost_areas(samples: Iterable[BoxSample]) -> list[str]:
    """A sentence where boxes have areas of their own, as the objects in them are outlined."""
    count = 0
    for sample in samples:
        sides = sample.boxes[:, 2:].astype(float) - sample.boxes[:, :2]
        count += int((abs(sample.areas - sides.prod(axis=1)) > 0.01 * sample.areas + 0.1).sum())
    return [f"the areas of {count} boxes, which are those of the objects' outlines"] if count else []


def lost_crowds(samples: Iterable[BoxSample]) -> list[str]:
    """A sentence where boxes are crowds, which are left out where they cannot be told from others."""
    count = sum(int(sample.crowd.sum()) for sample in samples)
    return [f"{count} crowd boxes, which would count as objects there"] if count else []
