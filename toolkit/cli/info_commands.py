"""``toolkit doctor``, ``warmup`` and ``demo``: whether what is here works, and a first tour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(doctor)
    app.command()(warmup)
    app.command()(demo)


def doctor() -> None:
    """Check the installation: versions, devices, threads, caches, names in the way; exit code 1 on a problem."""
    from toolkit.doctor import examine

    lines, problems = examine()
    for line in lines:
        typer.echo(line)
    for problem in problems:
        typer.echo(f"problem: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def warmup() -> None:
    """Compile every operator now, so that no first call waits for it."""
    from toolkit.doctor import compile_all

    for name, seconds in compile_all():
        typer.echo(f"{name}: {seconds:.2f} s")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures, run and bundle.")] = Path("runs/demo"),
    photo: Annotated[
        Path | None, typer.Option(help="A photograph with faces; default is matplotlib's portrait.")
    ] = None,
) -> None:
    """The whole line in a few minutes, offline: predict, train, evaluate, export, serve, ask."""
    from toolkit.demo import run

    run(out, photo)
