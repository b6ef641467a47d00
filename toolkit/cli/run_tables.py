"""The tables that ``toolkit runs`` prints for people; programs take the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from toolkit.cli.grid import print_grid
from toolkit.data.fingerprint import DataChanges
from toolkit.runs.diff import Change, Number, RunDiff
from toolkit.runs.listing import RunRow
from toolkit.runs.verdict import shown, told_data, verdict

HASH = 12  # digits of a hash: enough to tell the runs of a folder apart
LONGEST = 60  # of a value; --json has all of it
FIRST = 5  # names shown of the pictures that differ
KINDS = {
    "only_a": "only in A",
    "only_b": "only in B",
    "content": "another file",
    "labels": "other labels",
    "split": "another split",
}


def print_runs(rows: Sequence[RunRow], folder: Path) -> None:
    """A row a run."""
    if not rows:
        typer.echo(f"{folder}: no runs in it; `toolkit train CONFIG` makes one")
        return
    header = ("run", "started", "task", "state", "epochs", "best (at epoch)", "seed", "weights")
    print_grid(f"runs in {folder}", header, [_cells(row, folder) for row in rows], left=4)


def _cells(row: RunRow, folder: Path) -> list[str]:
    name = Path(row.path).relative_to(folder).as_posix()
    best = "-" if row.best is None else f"{row.number} {row.best:.4f} ({row.best_at})"
    return [
        name if name != "." else row.path,
        row.started[:16].replace("T", " "),
        row.task,
        row.state,
        f"{row.epochs}/{row.epochs_asked}",
        best,
        str(row.seed),
        row.weights[:HASH] if row.weights else "-",
    ]


def print_diff(diff: RunDiff) -> None:
    """The verdict in the first line, then a table of each kind of thing that differs."""
    typer.echo(f"{verdict(diff)}\nA: {diff.a}\nB: {diff.b}\n")
    if diff.weights:
        header = ("checkpoint", "weights", "A", "B", "steps A", "steps B")
        print_grid("weights", header, [_hashes(*item) for item in diff.weights.items()], left=4)
    _print_changes("config that differs", diff.config)
    if diff.data:
        _print_data(diff.data)
    _print_changes("environment that differs", diff.environment)
    _print_metrics(diff.metrics)
    _print_changes("last epoch in results.csv", diff.last_epoch)
    for sentence in diff.not_known:
        typer.echo(f"not known: {sentence}")


def _print_changes(title: str, changes: Sequence[Change]) -> None:
    if changes:
        rows = [[change.key, *(_cut(shown(value)) for value in (change.a, change.b))] for change in changes]
        print_grid(title, ("", "A", "B"), rows, left=3)


def _cut(text: str) -> str:
    return f"{text[:LONGEST]}..." if len(text) > LONGEST else text or "-"


def _hashes(name: str, both: dict[str, Any]) -> list[str]:
    a, b = both["a"], both["b"]
    told = "the same" if both["same"] else "differ"
    return [name, told, a["sha256"][:HASH], b["sha256"][:HASH], f"{a['steps']:,}", f"{b['steps']:,}"]


def _print_data(data: DataChanges) -> None:
    kinds = {told: getattr(data, kind) for kind, told in KINDS.items() if getattr(data, kind)}
    rows = [
        [told, f"{len(names):,}", ", ".join(names[:FIRST]) + (", ..." if len(names) > FIRST else "")]
        for told, names in kinds.items()
    ]
    print_grid(f"data: {told_data(data)}", ("", "pictures", "by name"), rows, left=3)


def _print_metrics(numbers: Sequence[Number]) -> None:
    shared = [number for number in numbers if number.difference is not None]
    if shared:
        header = ("", "A", "B", "B - A", "95 % interval A", "95 % interval B", "intervals")
        print_grid("metrics that differ", header, [_metric(number) for number in shared])
    if len(numbers) > len(shared):
        typer.echo(f"numbers that only one of the two has: {len(numbers) - len(shared)}; --json lists them")


def _metric(number: Number) -> list[str]:
    overlap = {None: "-", True: "overlap", False: "apart"}[number.overlap]
    return [
        number.key,
        _figure(number.a),
        _figure(number.b),
        f"{number.difference:+.4g}",
        _range(number.interval_a),
        _range(number.interval_b),
        overlap,
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _range(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
