"""Tables on the terminal, drawn alike by every command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

WIDE = 200  # columns where nobody looks: a file or a pipe has no width of its own


def print_grid(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print rows of cells under a title; the first ``left`` columns are of text, the others of numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid

    grid = Grid(box=SIMPLE_HEAD)
    for number, name in enumerate(header):
        grid.add_column(name, justify="right" if number >= left else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    # Names in brackets are names, not colours. A grid's own title would be folded to the grid's width.
    console = Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(title)
    console.print(grid)
