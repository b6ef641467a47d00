"""The one table of pictures and labels, and the call that reads any format into it.

It holds no pixels: pictures are decoded where they are used.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from toolkit.config.registry import READERS as READERS
from toolkit.config.registry import resolve
from toolkit.errors import Fault, UserError, suggest

SPLITS = ("train", "val", "test")

# Called as progress(label, done, total) while a data set is drawn or checked, always from the calling thread.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(ABC):
    """One picture and its labels.

    ``size`` is (height, width) after EXIF orientation. ``name`` is the file's name in the labels, ``group`` what must
    stay together in one split, ``source`` where the picture came from ("" if not told), ``digest`` the SHA-256 of the
    file's bytes in hexadecimal digits ("" if the reader of the format did not look). ``pinned`` pictures, those of
    ``data.extra``, train whatever is drawn.
    """

    path: Path
    name: str
    size: tuple[int, int]
    split: str
    group: str
    source: str = ""
    digest: str = ""
    pinned: bool = False
    unit: ClassVar[str]

    @abstractmethod
    def class_counts(self, classes: int) -> NDArray[np.int64]:
        """How often each class is in this picture, int64 [classes], in ``unit``."""

    @abstractmethod
    def label_bytes(self, class_names: Sequence[str]) -> bytes:
        """The labels as bytes: for one list of class names they are equal exactly where the labels are."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxSample(Sample):
    """A picture with its true boxes.

    ``boxes`` float32 [N,4] xyxy in pixels of the picture, inside it; ``class_ids`` int64 [N], positions in
    ``Table.class_names``; ``crowd`` bool [N], boxes around many objects, which count neither for nor against a
    detector; ``areas`` float64 [N] square pixels, the annotation's own (the mask's area where there is one).
    """

    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    unit: ClassVar[str] = "boxes"

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        return np.bincount(self.class_ids[~self.crowd], minlength=classes)

    def label_bytes(self, class_names: Sequence[str]) -> bytes:
        names = "\n".join(class_names[class_id] for class_id in self.class_ids).encode()
        return b"".join((names, b"\0", self.boxes.tobytes(), self.crowd.tobytes(), self.areas.tobytes()))


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelSample(Sample):
    """A picture of one class."""

    class_id: int
    unit: ClassVar[str] = "pictures"

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        return np.bincount([self.class_id], minlength=classes)

    def label_bytes(self, class_names: Sequence[str]) -> bytes:
        return class_names[self.class_id].encode()


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskSample(Sample):
    """A picture whose every pixel has a class.

    ``masks`` are PNG files of the picture's size, each with the class that its pixels other than 0 belong to (a later
    file lies on top), or with None where its pixels are the class ids. ``pixels`` int64 [C] counts each class's;
    ``mask_digest`` is the SHA-256 of the class ids of all pixels in hexadecimal digits ("" if nobody looked);
    ``renumbered`` gives the class id of each number in the files, where that is another (255: not counted).
    """

    masks: tuple[tuple[Path, int | None], ...]
    pixels: NDArray[np.int64]
    mask_digest: str = ""
    renumbered: tuple[int, ...] | None = None
    unit: ClassVar[str] = "pixels"

    def class_counts(self, classes: int) -> NDArray[np.int64]:
        return self.pixels

    def label_bytes(self, class_names: Sequence[str]) -> bytes:
        if self.mask_digest:
            return self.mask_digest.encode()
        files = (f"{hashlib.sha256(path.read_bytes()).hexdigest()} {class_id}" for path, class_id in self.masks)
        return "\n".join(files).encode()


Kind = TypeVar("Kind", bound=Sample, covariant=True)


@dataclass(frozen=True, eq=False)
class Table(Generic[Kind]):
    """Checked samples; ``class_names[k]`` names class id k; ``skipped`` is what ``on_fault: skip`` left out."""

    class_names: tuple[str, ...]
    samples: tuple[Kind, ...]
    skipped: tuple[Fault, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.samples)

    def subset(self, split: str) -> Table[Kind]:
        """The samples of one split, in the same order; UserError for a name that is no split."""
        if split not in SPLITS:
            raise UserError(f"split {split!r}: expected one of {', '.join(SPLITS)}{suggest(split, SPLITS)}")
        return Table(self.class_names, tuple(s for s in self.samples if s.split == split), self.skipped)

    @property
    def unit(self) -> str:
        """What `counts` counts: boxes, pictures or pixels."""
        return self.samples[0].unit if self.samples else "pictures"

    def counts(self) -> dict[str, dict[str, int]]:
        """How often each class is in each split, ``{"mask": {"train": 10, "val": 2, "test": 0}}``, see `unit`."""
        totals = {split: np.zeros(len(self.class_names), np.int64) for split in SPLITS}
        for sample in self.samples:
            totals[sample.split] += sample.class_counts(len(self.class_names))
        return {
            name: {split: int(totals[split][class_id]) for split in SPLITS}
            for class_id, name in enumerate(self.class_names)
        }


def load_table(config: Any, *, progress: Progress | None = None) -> Table[Any]:
    """Read and check the data set of a config: its ``data`` block, by its ``task`` and ``seed``.

    The seed draws the split where the data set brings none. Every picture is decoded once. Raises ``DataFaults``
    with all faults at once; under ``on_fault: skip`` only with those that leave nothing to train on.
    """
    readers, name = READERS[config.task], config.data.format
    if name not in readers:
        known = ", ".join(readers)
        raise UserError(f"data.format: {name!r} is unknown; expected one of {known}{suggest(name, readers)}")
    table: Table[Any] = resolve(readers[name])(config.data, config.seed, progress)
    return table
