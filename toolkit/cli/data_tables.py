"""The tables that ``toolkit data`` prints for people; programs take the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from toolkit.cli.grid import print_grid

if TYPE_CHECKING:
    from toolkit.data import Table


def print_counts(table: Table[Any]) -> None:
    """A row a class, with its count and share in every split that has pictures, then pictures and sources."""
    from toolkit.data.table import SPLITS

    pictures = Counter(sample.split for sample in table.samples)
    splits = [split for split in SPLITS if pictures[split]]
    rows = [(name, [counts[split] for split in splits]) for name, counts in table.counts().items()]
    print_grid(f"{table.unit} of each class", ("class", *splits, "all"), [_counted(*row) for row in rows])
    per_source = Counter((sample.source, sample.split) for sample in table.samples)
    sources = sorted({sample.source for sample in table.samples})
    told = [(name or "no source told", [per_source[name, split] for split in splits]) for name in sources]
    whole = [("all pictures", [pictures[split] for split in splits])]
    print_grid(
        "pictures", ("source", *splits, "all"), [_counted(*row) for row in (told if len(sources) > 1 else []) + whole]
    )


def print_sizes(figures: dict[str, Any]) -> None:
    """The sizes of pictures, boxes or regions in a summary's figures, and what else can be said in a line."""
    quantiles = figures["quantiles"]
    low, middle, high = (quantiles.index(share) for share in (0.05, 0.5, 0.95))

    def row(name: str, values: Sequence[float], number: str = "{:,.0f}") -> list[str]:
        return [name, *(number.format(values[place]) if values else "-" for place in (low, middle, high))]

    rows = [row("picture height", figures["heights"]), row("picture width", figures["widths"])]
    if "box_sides" in figures:
        rows += [row(f"side of {name}", sides) for name, sides in figures["box_sides"].items()]
        rows.append(row("boxes in a picture", figures["boxes_per_picture"]))
    print_grid("sizes in pixels, quantiles", ("", "5 %", "median", "95 %"), rows)
    if "pixel_shares" in figures:
        _print_regions(figures)
    for line in _remarks(figures):
        typer.echo(line)


def _print_regions(figures: dict[str, Any]) -> None:
    pictures = {name: sum(counts.values()) for name, counts in figures["pictures_with_class"].items()}
    total = sum(sum(counts.values()) for counts in figures["counts"].values())
    rows = [
        [name, f"{sum(counts.values()) / max(1, total):.2%}", f"{pictures[name]:,}"]
        for name, counts in figures["counts"].items()
    ]
    print_grid("regions", ("class", "of all pixels", "pictures that show it"), rows)


def _remarks(figures: dict[str, Any]) -> list[str]:
    told = [f"{_many(figures['groups'], 'group')}, each of which stays in one split"]
    counted = {
        "without_boxes": ("picture", "without boxes"),
        "crowd_boxes": ("crowd box", "not counted"),
        "not_counted": ("pixel", "of no class"),
        "skipped": ("fault", "passed over"),
    }
    for key, (noun, rest) in counted.items():
        value = figures.get(key, 0)
        count = sum(value.values()) if isinstance(value, dict) else value
        if count:
            told.append(f"{_many(count, noun)} {rest}")
    return told


def _many(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("x") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def _counted(name: str, counts: Sequence[int]) -> list[str]:
    total = sum(counts)
    return [name, *(f"{count:,} ({count / total:.0%})" if total else "0" for count in counts), f"{total:,}"]
