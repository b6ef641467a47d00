"""Entry point: the commands, and the one place where a user's mistake becomes a sentence and exit code 2."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from toolkit.cli import (
    benchmark_commands,
    config_commands,
    data_commands,
    info_commands,
    key_commands,
    predict_commands,
    run_commands,
    train_commands,
    zoo_command,
)
from toolkit.errors import ToldElsewhere, UserError

app = typer.Typer(
    name="toolkit",
    help="Train from one YAML file, predict in one line, deploy an HTTP service.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

train_commands.add_to(app)
predict_commands.add_to(app)
zoo_command.add_to(app)
info_commands.add_to(app)
app.add_typer(config_commands.app, name="config")
app.add_typer(data_commands.app, name="data")
app.add_typer(run_commands.app, name="runs")
app.add_typer(key_commands.app, name="keys")
app.add_typer(benchmark_commands.app, name="benchmark")


def _version(shown: bool) -> None:
    if shown:
        import toolkit

        typer.echo(toolkit.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    return


def main() -> None:
    """Run the command line. Exit codes: 0, 1 (`doctor` found a problem, `runs diff` a difference), 2 (a mistake or bad
    input), 130 (stopped).
    """
    try:
        app()
    except ToldElsewhere:
        sys.exit(2)
    except UserError as error:
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        sys.exit(141)


if __name__ == "__main__":
    main()
