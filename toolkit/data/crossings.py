"""Near-duplicates on both sides of a split: a picture that was trained on and is measured on says too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.data.duplicates import find_duplicates
from toolkit.data.table import Progress, Table


@dataclass(frozen=True)
class Crossing:
    """Two alike pictures by name, and their splits; ``likeness`` up to 1."""

    first: str
    first_split: str
    second: str
    second_split: str
    likeness: float
    mirrored: bool

    def __str__(self) -> str:
        turned = " mirrored" if self.mirrored else ""
        splits = f"{self.first} ({self.first_split}) and {self.second} ({self.second_split})"
        return f"{splits} are near-duplicates{turned}, likeness {self.likeness:.2f}"


def find_crossings(table: Table[Any], *, progress: Progress | None = None) -> list[Crossing]:
    """Pairs in two splits, the likest first; of a cluster of many alike pictures in two splits at least one pair."""
    samples = table.samples
    pairs = find_duplicates([sample.path for sample in samples], progress=progress)
    crossing = [pair for pair in pairs if samples[pair.first].split != samples[pair.second].split]
    return [
        Crossing(
            samples[pair.first].name,
            samples[pair.first].split,
            samples[pair.second].name,
            samples[pair.second].split,
            pair.likeness,
            pair.mirrored,
        )
        for pair in sorted(crossing, key=lambda pair: -pair.likeness)
    ]


def told(crossings: Sequence[Crossing], shown: int = 20) -> list[str]:
    """A line for each of the first ``shown``, and one about the rest and what to do."""
    if not crossings:
        return []
    more = [f"... and {len(crossings) - shown} more"] if len(crossings) > shown else []
    hint = "what is measured on them flatters; `toolkit data split` draws splits that keep such pictures together"
    return [*(str(crossing) for crossing in crossings[:shown]), *more, hint]
