"""``toolkit benchmark``: how fast this machine trains a config, and what bounds it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.grid import print_grid
from toolkit.cli.progress import progress_bar
from toolkit.cli.train_commands import Overrides

if TYPE_CHECKING:
    from toolkit.training.step_times import StepTimes

app = typer.Typer(help="Measure how fast this machine does it, and what bounds it.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    return


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A config file, or the name of a shipped one (quickstart).")],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=4, help="Steps to time of each kind.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say where the time of a config's training steps goes: loading, transfer, computing; trains and writes nothing."""
    from toolkit import api

    with progress_bar() as progress:
        times, told = api.benchmark_training(config, overrides or [], steps=steps, progress=progress)
    if as_json:
        typer.echo(json.dumps({**asdict(times), "bound": times.bound, "advice": told}, indent=2))
    else:
        _print(times, told)


def _print(times: StepTimes, told: list[str]) -> None:
    height, width = times.input_size
    print_grid(
        f"{times.config}: {times.batch_size} pictures a step, {width}x{height}, {times.precision}, {times.device},"
        f" {times.cores} cores, {times.threads} threads, {times.workers} loader workers",
        ("part of a step", "ms", "quartiles", "share"),
        _rows(times),
    )
    rates = times.pictures_per_second
    print_grid(
        "pictures/s",
        ("", "pictures/s"),
        [
            ["loading alone, pictures to be decoded", f"{rates['data_cold']:.1f}"],
            ["loading alone, pictures in the cache", f"{rates['data_warm']:.1f}"],
            ["transfer and computing alone", f"{rates['compute']:.1f}"],
            ["both together, as in training", f"{rates['together']:.1f}"],
        ],
    )
    shares = ", ".join(f"{name} {share:.0%}" for name, share in times.shares.items())
    typer.echo(f"of a step of both together: {shares}")
    for sentence in told:
        typer.echo(f"- {sentence}")


NAMES = {
    "transfer": "to the device",
    "forward": "forward",
    "loss": "loss",
    "backward": "backward",
    "optimizer": "optimizer",
    "average": "moving average",
}


def _rows(times: StepTimes) -> list[list[str]]:
    medians = {name: quartiles[1] for name, quartiles in times.parts.items()}
    whole = sum(medians.values())
    return [
        [NAMES[name], f"{medians[name]:.1f}", f"{low:.1f}-{high:.1f}", f"{medians[name] / whole:.0%}"]
        for name, (low, _, high) in times.parts.items()
    ]
