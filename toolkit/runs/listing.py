"""The runs under a folder, a row each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import UserError
from toolkit.runs.record import Record
from toolkit.training.run_folder import Run, is_run


@dataclass(frozen=True)
class RunRow:
    """A run at a glance. ``best`` is the highest value of ``number``, which chooses the checkpoint, at epoch
    ``best_at``; ``weights`` the SHA-256 of those weights, where the run recorded it.
    """

    path: str
    started: str
    task: str
    epochs: int
    epochs_asked: int
    state: str
    number: str
    best: float | None
    best_at: int | None
    seed: int
    weights: str | None


def find_runs(folder: Path) -> list[Run]:
    """Every run directory in the folder, itself included; hidden folders and links are passed over."""
    found = []
    for where, folders, _ in os.walk(folder):
        if is_run(where) and (Path(where) / "checkpoints").is_dir():
            found.append(Run(Path(where)))
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


def list_runs(folder: Path) -> tuple[list[RunRow], list[str]]:
    """The runs under ``folder`` in the order of their starts, and a sentence for each that cannot be read.

    Raises ``UserError`` where there is no such folder.
    """
    if not folder.is_dir():
        told = "expected a folder of runs, got a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {told}; `toolkit train` puts its runs into runs/")
    rows, faults = [], []
    for run in find_runs(folder):
        try:
            rows.append(_row(Record(run)))
        except UserError as error:
            faults.append(str(error))
    return sorted(rows, key=lambda row: row.started), faults


def _row(record: Record) -> RunRow:
    written = record.written
    try:
        asked, task, seed = int(written["train"]["epochs"]), str(written["task"]), int(written["seed"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{record}: its config.yaml is not one that a training wrote; move the folder away") from None
    number, best, best_at = _best(record.run.results())
    weights = record.ending.get("weights", {}).get("best")
    return RunRow(
        path=str(record),
        started=record.environment.get("started", ""),
        task=task,
        epochs=record.run.epochs,
        epochs_asked=asked,
        state=record.state,
        number=number,
        best=best,
        best_at=best_at,
        seed=seed,
        weights=weights["sha256"] if weights else None,
    )


def _best(rows: list[dict[str, str]]) -> tuple[str, float | None, int | None]:
    """The name, highest value and epoch of the first number of validation."""
    column = next((name for name in rows[0] if name.startswith("val/")), "") if rows else ""
    measured = [(float(row[column]), int(row["epoch"])) for row in rows if row.get(column, "nan") not in ("", "nan")]
    best, epoch = max(measured, key=lambda pair: pair[0], default=(None, None))
    return column.removeprefix("val/"), best, epoch
