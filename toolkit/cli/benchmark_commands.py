"""``toolkit benchmark``: how fast this machine trains a config, and answers with a bundle, and what bounds it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.grid import print_grid
from toolkit.cli.progress import progress_bar
from toolkit.cli.train_commands import Overrides

if TYPE_CHECKING:
    from toolkit.inference.speed import Speed
    from toolkit.training.step_times import StepTimes

app = typer.Typer(help="Measure how fast this machine does it, and what bounds it.", no_args_is_help=True)


@app.callback()
def _commands() -> None:
    return


@app.command()
def predict(
    bundle: Annotated[str, typer.Argument(help="A shipped bundle's name, a bundle's folder or zip, or a run.")],
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Pictures to answer for; default the bundle's golden ones.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of an answer; default every usable core.")] = None,
    answers: Annotated[int, typer.Option(min=4, help="Answers to time, of each precision in turn.")] = 60,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Time a bundle's answers, encoded picture to result, one at a time: fp32, and int8 where the bundle has it."""
    from toolkit import images
    from toolkit.inference import load
    from toolkit.inference.golden import golden_files
    from toolkit.inference.speed import time_answers

    first = load(bundle, device, precision="fp32", threads=threads)
    models = {"fp32": first}
    if first.device == "cpu" and "int8" in first.spec.network.files():
        models["int8"] = load(bundle, device, precision="int8", threads=threads)
    for path in pictures or []:
        first.decode(path)()  # what cannot be used is named before anything is timed
    contents = [images.read_bytes(path) for path in pictures or []] or golden_files(first.bundle)
    speed = time_answers(models, contents, answers)
    if as_json:
        typer.echo(json.dumps(speed.to_dict(), indent=2))
    else:
        _print_speed(f"{first.name} {first.spec.version}", speed)


def _print_speed(title: str, speed: Speed) -> None:
    from toolkit.inference.speed import told_machine

    rows = [
        [precision, stage, f"{quartiles[1]:.2f}", f"{quartiles[0]:.2f}-{quartiles[2]:.2f}"]
        for precision, stages in speed.milliseconds.items()
        for stage, quartiles in stages.items()
    ]
    of = f"{speed.pictures} picture{'s' if speed.pictures > 1 else ''}"
    told = f"{title}: {speed.answers} answers on {of}, one at a time; {told_machine(speed.to_dict())}"
    print_grid(told, ("", "stage", "ms", "quartiles"), rows, left=2)


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
