"""``toolkit config``: what a config may say, and what one does say."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(help="Explain configs: keys, meaning, defaults, schema.", no_args_is_help=True)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(help="A key such as train.epochs or a block such as train; empty for all.")
    ] = "",
    config: Annotated[str | None, typer.Option(help="Also tell this config's value and where it came from.")] = None,
) -> None:
    """Tell what a key means: type, default, bounds, and where its present value came from."""
    from toolkit.config import explain as explain_key
    from toolkit.config import load_config

    typer.echo(explain_key(key, load_config(config) if config else None))


@app.command()
def schema() -> None:
    """Print the JSON Schema of configs, for editors."""
    from toolkit.config import schema as config_schema

    typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@app.command()
def show(
    config: Annotated[str, typer.Argument(help="A config file, or the name of a shipped one.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
) -> None:
    """Print a config as it is understood, every default written out."""
    from toolkit.config import load_config

    typer.echo(load_config(config, overrides or []).to_yaml(), nl=False)
