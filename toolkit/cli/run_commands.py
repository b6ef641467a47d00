"""``toolkit runs``: which runs there are, and what differs between two of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List the runs that trainings have left, and compare two of them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_(
    folder: Annotated[Path | None, typer.Argument(help="Where to look, with all folders in it; default runs/.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder: epochs done, state, best number of the validation, seed, hash of the best weights."""
    from toolkit.cli.run_tables import print_runs
    from toolkit.runs.listing import list_runs
    from toolkit.training.run_folder import RUNS

    rows, faults = list_runs(folder or RUNS)
    for fault in faults:
        typer.echo(f"left out: {fault}", err=True)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        print_runs(rows, folder or RUNS)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run directory.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another run directory.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two runs: config, data, environment, weights, metrics.

    Exit codes as of diff: 0 nothing differs (but the time it took), 1 something does, 2 a run cannot be read.
    """
    from toolkit.cli.run_tables import print_diff
    from toolkit.runs.diff import diff_runs
    from toolkit.runs.record import Record
    from toolkit.runs.verdict import verdict
    from toolkit.training.run_folder import open_run

    found = diff_runs(Record(open_run(a)), Record(open_run(b)))
    if as_json:
        typer.echo(
            json.dumps({"verdict": verdict(found), "same": found.same, **asdict(found)}, indent=2, ensure_ascii=False)
        )
    else:
        print_diff(found)
    if not found.same:
        raise typer.Exit(1)
