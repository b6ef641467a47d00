"""What the labels of a data set say before any picture is opened: the common form that every format is parsed into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from toolkit.data.table import Progress

Labels = TypeVar("Labels")


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[Labels]):
    """One listed picture.

    ``name`` is what a split file calls it, ``shown`` what messages call it; ``labels`` are the format's own, and
    ``told_in`` is the file that holds them, for messages. ``size`` is (height, width) as the labels say. ``split``,
    ``group`` and ``source`` are what the data itself says ("" if nothing); ``pinned`` puts the picture into ``split``
    whatever a split file says.
    """

    name: str
    path: Path
    shown: str
    labels: Labels
    told_in: str
    size: tuple[int, int] | None = None
    split: str = ""
    pinned: bool = False
    group: str = ""
    source: str = ""


@dataclass(kw_only=True)
class Listing(Generic[Labels]):
    """All listed pictures. ``shown`` names the list in messages; ``refused`` are pictures that are faults already."""

    shown: str
    entries: list[Entry[Labels]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of a ``data`` block that every format of a user's own files has, the seed, and who is told.

    ``whole``: nothing is drawn and no class is asked for; to look at a set, measure on it or convert it, not to train.
    """

    splits: Path | None = None
    classes: Sequence[str] | None = None
    val_fraction: float = 0.1
    check_groups: bool = True
    hold_out: Sequence[str] = ()
    on_fault: str = "stop"
    seed: int = 0
    progress: Progress | None = None
    whole: bool = False

    @classmethod
    def of(cls, config: Any, seed: int, progress: Progress | None) -> Settings:
        """Take the keys from a ``data`` block."""
        return cls(
            splits=None if config.splits is None else Path(config.splits),
            classes=config.classes,
            val_fraction=config.val_fraction,
            check_groups=config.check_groups,
            hold_out=config.hold_out,
            on_fault=config.on_fault,
            seed=seed,
            progress=progress,
            whole=getattr(config, "whole", False),
        )
