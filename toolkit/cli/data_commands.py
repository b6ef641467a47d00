"""``toolkit data``: look at a data set before training on it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from toolkit.cli.progress import progress_bar

app = typer.Typer(help="Check the pictures and labels that a config names.", no_args_is_help=True)


@app.command()
def check(
    config: Annotated[str, typer.Argument(help="A config file, or the name of a shipped one.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """Check every picture and label, list all faults at once, and print what is there as JSON."""
    from toolkit.config import load_config
    from toolkit.data import load_table
    from toolkit.data.check import summarise

    loaded = load_config(config, overrides or []).config
    with progress_bar() as progress:
        table = load_table(loaded.data, loaded.seed, progress=progress)
    for fault in table.skipped:
        typer.echo(f"left out: {fault}", err=True)
    typer.echo(json.dumps(summarise(table).to_dict(), indent=2, ensure_ascii=False))
