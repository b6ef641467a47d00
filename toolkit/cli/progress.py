"""A progress bar on standard error for anything that reports (label, done, total); silent when nobody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function ``(label, done, total)`` that moves a bar, one for each label."""
    if not sys.stderr.isatty():
        yield lambda label, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    live: dict[str, Progress] = {}

    def move(label: str, done: int, total: int) -> None:
        if label not in live:
            live[label] = Progress(*columns, console=Console(stderr=True))
            live[label].add_task(label, total=total)
            live[label].start()
        live[label].update(live[label].task_ids[0], completed=done, total=total)
        if done >= total:  # a finished bar must not be drawn again under what is printed after it
            live.pop(label).stop()

    try:
        yield move
    finally:
        for bar in live.values():
            bar.stop()
