"""The tables in which every task tells its numbers, on a terminal, in a model card and in a report alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

DIGITS = 3
LISTED = 12  # sources or groups on a terminal and in a card; more hide the rest


@dataclass(frozen=True)
class Ranged:
    """A number and its 95 % interval; None where there was nothing to measure."""

    value: float | None
    around: Sequence[float] | None = None

    def __str__(self) -> str:
        return ranged(self.value, self.around)


Cell: TypeAlias = Ranged | int | str
Row: TypeAlias = tuple[str, tuple[Cell, ...]]


@dataclass(frozen=True)
class Section:
    """A table: ``title`` says what its rows are, ``head`` names their columns.

    With ``ranked``, of more rows than are shown those whose first number is lowest come first.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    ranked: bool = False

    def shown(self, most: int) -> tuple[Row, ...]:
        """The rows that a reader gets where there is room for ``most``."""
        if not self.ranked or len(self.rows) <= most:
            return self.rows
        return tuple(sorted(self.rows, key=lambda row: _rank(row[1][0]))[:most])

    def left_out(self, most: int) -> str:
        """What is said of the others; "" where all are shown."""
        missing = len(self.rows) - len(self.shown(most))
        return f"the lowest {most} of {len(self.rows)}; metrics.json has all" if missing else ""


def overall(*rows: tuple[str, Ranged, str] | None) -> Section:
    """The numbers of all pictures together, each with its meaning in a few words."""
    return Section("overall", ("", ""), tuple((row[0], (row[1], row[2])) for row in rows if row is not None))


def of_parts(metrics: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]]) -> list[Section]:
    """A section of the sources and one of the groups, where told; a column is named and has its key path."""
    sections = []
    for title, key in (("source", "per_source"), ("group", "per_group")):
        rows = [
            (name, (*(at(row, metrics["intervals"][key][name], *path) for path in columns.values()), row["pictures"]))
            for name, row in metrics[key].items()
        ]
        if rows:
            sections.append(Section(title, (*columns, "pictures"), tuple(rows), ranked=True))
    return sections


def at(values: Mapping[str, Any], intervals: Mapping[str, Any] | None, *path: str) -> Ranged:
    """The number at a key path, with the interval at the same path."""
    value: Any = values
    around: Any = intervals
    for key in path:
        value, around = value[key], around.get(key) if around is not None else None
    return Ranged(value, around)


def as_lines(section: Section, most: int = LISTED) -> list[str]:
    """The section for a terminal, its columns one under the other."""
    rows = [(section.title, section.head), *section.shown(most)]
    texts = [[name, *map(str, cells)] for name, cells in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ["  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in texts]
    remark = section.left_out(most)
    return [*lines, f"({remark})"] if remark else lines


def as_markdown(section: Section, most: int = LISTED) -> list[str]:
    """The section for a model card."""
    rows = ((name, *map(str, cells)) for name, cells in section.shown(most))
    lines = markdown_table((section.title, *section.head), rows)
    remark = section.left_out(most)
    return [*lines, "", f"({remark[:1].upper()}{remark[1:]}.)"] if remark else lines


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(map(_in_a_cell, cells))} |" for cells in (head, ["---"] * len(head), *rows)]


def number(value: float | None, digits: int = DIGITS) -> str:
    """A metric as text; "-" where there was nothing to measure."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def ranged(value: float | None, around: Sequence[float | None] | None, digits: int = DIGITS) -> str:
    """A metric with its interval: ``0.823 [0.757, 0.894]``."""
    if around is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(around[0], digits)}, {number(around[1], digits)}]"


def _rank(cell: Cell) -> float:
    value = cell.value if isinstance(cell, Ranged) else None
    return float("inf") if value is None else value


def _in_a_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
