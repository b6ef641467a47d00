"""``toolkit train``, ``crossval``, ``evaluate`` and ``export``: thin wrappers of `toolkit.api`."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.predict_commands import Precision
from toolkit.cli.progress import progress_bar
from toolkit.errors import UserError

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the config, such as train.epochs=5 data.root=/pictures."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(train)
    app.command()(crossval)
    app.command()(evaluate)
    app.command()(export)


def train(
    config: Annotated[
        str | None, typer.Argument(help="A config file, or the name of a shipped one (quickstart).", show_default=False)
    ] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where to put the run; default runs/NAME/DATE_TIME.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, which died or was stopped, instead of starting one.")
    ] = None,
) -> None:
    """Train from a config file; ends with a run directory that holds reports and a bundle."""
    from toolkit import api

    changes = overrides or []
    with progress_bar() as progress:
        if resume is not None:
            if run_dir is not None:
                raise UserError("--run-dir: a resumed training stays in its run directory; leave one of the two out")
            changes = [*([config] if config else []), *changes]  # there is no config file: the first is a change too
            run = api.resume_from(resume, changes, progress=progress, bar=sys.stderr.isatty())
        elif config is None:
            raise UserError(
                "expected a config file or the name of a shipped one, or --resume RUN; see `toolkit train -h`"
            )
        else:
            run = api.train_from(config, changes, run_dir=run_dir, progress=progress, bar=sys.stderr.isatty())
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun started, the first has the bundle
        typer.echo(str(run))


def crossval(
    config: Annotated[str, typer.Argument(help="A config file, or the name of a shipped one.")],
    overrides: Overrides = None,
    by: Annotated[
        str, typer.Option(help="What is held out in turn where data.folds says nothing: each source, or each group.")
    ] = "source",
    run_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where the runs are put, and found again when it is called again; default runs/NAME/crossval."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print crossval.json, for programs.")] = False,
) -> None:
    """Train a config once for each fold of sources or groups, without them, and measure it on them."""
    from toolkit import api
    from toolkit.cli.crossval_tables import as_folds
    from toolkit.evaluation.table import as_json

    with progress_bar() as progress:
        result = api.crossval_from(
            config, overrides or [], by=by, run_dir=run_dir, progress=progress, bar=sys.stderr.isatty()
        )
    typer.echo(as_json(result) if json else as_folds(result))


def evaluate(
    target: Annotated[str, typer.Argument(help="A run directory, a bundle, or the name of a shipped bundle.")],
    overrides: Overrides = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of labelled pictures, in any format that training reads; it is told by its looks."),
    ] = None,
    config: Annotated[str | None, typer.Option(help="Take data and measures.changes from this config file.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Which split to measure on: train, val, test, or all. "
            "Default: val, or all of a --data folder that tells no splits."
        ),
    ] = None,
    class_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME=LABEL", help="A class of --data is this one of the model; NAME= leaves it out."
        ),
    ] = None,
    changes: Annotated[
        bool,
        typer.Option("--changes", help="Measure on the pictures changed in each way of measures.changes, too."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report; default evaluations/NAME/DATE_TIME, of a run RUN/evaluation/DATE_TIME."
        ),
    ] = None,
    precision: Precision = "auto",
    no_report: Annotated[bool, typer.Option("--no-report", help="Print the numbers alone.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the metrics as JSON, without a report unless --report asks for one.")
    ] = False,
) -> None:
    """Measure a run or bundle on labelled pictures, with intervals, and write a report with its worst cases."""
    from toolkit import api
    from toolkit.data.fault_log import shown
    from toolkit.evaluation.table import as_json, as_table

    renamed = {name: label for name, _, label in (pair.rpartition("=") for pair in class_map or [])}
    if "" in renamed:
        raise UserError(f"--map {' --map '.join(class_map or [])}: expected NAME=LABEL, or NAME= to leave a class out")
    with progress_bar() as progress:
        done = api.measure_target(
            target,
            overrides or [],
            config=config,
            data=data,
            split=split,
            class_map=renamed,
            changes=changes,
            precision=precision,
            progress=progress,
        )
        for fault in done.measured.table.skipped:
            typer.echo(f"left out: {fault}", err=True)
        if data is not None:
            typer.echo(f"data: {done.about['data']}", err=True)
        typer.echo(as_json(done.metrics) if json else as_table(done.metrics))
        if no_report or (json and report is None):
            return
        page = done.write_report(report or _report_folder(target, done.metrics["bundle"]["name"]), progress)
    typer.echo(f"report: {shown(page)}", err=json)


def _report_folder(target: str, name: str) -> Path:
    from toolkit.training.run_folder import is_run

    above = Path(target) / "evaluation" if is_run(target) else Path("evaluations") / name
    return above / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def export(
    source: Annotated[str, typer.Argument(help="A run directory, a bundle, or the name of a shipped bundle.")],
    overrides: Overrides = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder or .zip to write; default RUN/bundle.")] = None,
    docker: Annotated[bool, typer.Option("--docker", help="Put a Dockerfile beside the bundle.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make the run's bundle anew from its best checkpoint, with parity check.")
    ] = False,
) -> None:
    """Write a run's bundle to a folder or zip; changes to bundle.* or postprocess.* make it anew."""
    from toolkit import api

    with progress_bar() as progress:
        path = api.export_to(source, to, overrides or [], docker=docker, again=again, progress=progress)
    typer.echo(str(path))
