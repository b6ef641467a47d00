"""``toolkit train``, ``evaluate`` and ``export``: thin wrappers of `toolkit.api`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.progress import progress_bar
from toolkit.errors import UserError

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the config, such as train.epochs=5 data.root=/pictures."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(train)
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
    typer.echo(str(run))


def evaluate(
    target: Annotated[str, typer.Argument(help="A run directory, a bundle, or the name of a shipped bundle.")],
    overrides: Overrides = None,
    data: Annotated[
        Path | None, typer.Option(help="The labelled data set's folder (stands for data.root=...).")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Take the data block from this config file.")] = None,
    split: Annotated[str, typer.Option(help="Which split to measure on: train, val, test, or all.")] = "val",
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False,
) -> None:
    """Measure a run or bundle on labelled pictures: the task's numbers, per class, with intervals."""
    from toolkit import api
    from toolkit.evaluation.table import as_json, as_table

    changes = [*(overrides or []), *([f"data.root={data}"] if data else [])]
    with progress_bar() as progress:
        metrics = api.evaluate_with(target, changes, config=config, split=split, progress=progress)
    typer.echo(as_json(metrics) if json else as_table(metrics))


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
