"""``toolkit zoo``: the shipped bundles with their numbers, or all numbers of one."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from toolkit.cli.grid import print_grid

if TYPE_CHECKING:
    from toolkit.bundle_facts import Facts


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command()(zoo)


def zoo(
    bundle: Annotated[
        str | None,
        typer.Argument(
            help="Tell all numbers of this one: a shipped bundle's name, a bundle's folder or zip, or a run."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the shipped bundles with their numbers and 95 % intervals, or tell all of one."""
    from toolkit.bundle import Bundle
    from toolkit.bundle_facts import Facts
    from toolkit.bundles import find, names, resolve

    if bundle is not None:
        one = Facts.of(Bundle.open(resolve(bundle)))
        typer.echo(_as_json({**one.to_dict(), "metrics": one.metrics}) if json else _told(one))
        return
    every = [Facts.of(Bundle.open(find(name))) for name in names()]
    if json:
        typer.echo(_as_json([facts.to_dict() for facts in every]))
        return
    header = ("bundle", "task", "classes", "input", "MB", "measured, with 95 % interval", "unsure at scores", "int8")
    print_grid("shipped bundles", header, [_row(facts) for facts in every], left=len(header))
    typer.echo("`toolkit zoo NAME` tells all numbers of one.")


def _as_json(value: object) -> str:
    return json_module.dumps(value, indent=2, ensure_ascii=False)


def _row(facts: Facts) -> list[str]:
    bundle = facts.bundle
    return [
        f"{bundle.name} {bundle.version}",
        bundle.task,
        ", ".join(bundle.labels),
        bundle.preprocessing.size_in_words,
        _megabytes(facts),
        "\n".join(f"{name} {cell}" for name, cell in facts.numbers.items()),
        facts.unsure,
        "yes" if "int8" in bundle.spec.network.files() else "no",
    ]


def _megabytes(facts: Facts) -> str:
    return f"{facts.bundle.size / 1e6:.1f}"


def _told(facts: Facts) -> str:
    from toolkit.evaluation.table import as_table

    spec = facts.bundle.spec
    lines = [
        f"{spec.name} {spec.version}: {spec.task}, {spec.preprocessing.size_in_words}, {_megabytes(facts)} MB",
        f"classes: {', '.join(spec.labels)}",
        f"for: {' '.join(spec.intended_use.split()) or 'not stated'}",
        f"not for: {' '.join(spec.not_for.split()) or 'not stated'}",
        f"licence: {spec.licence}",
        f"unsure at scores: {facts.unsure}",
        f"int8: {facts.int8}",
        *_speeds(facts),
        "",
        "measured: nothing" if facts.metrics is None else as_table(facts.metrics),
    ]
    return "\n".join(lines)


def _speeds(facts: Facts) -> list[str]:
    """How long an answer took where the bundle was made."""
    from toolkit.inference.speed import told, told_machine

    speed = facts.to_dict()["speed"]
    if speed is None:
        return []
    each = ", ".join(f"{precision} {told(speed, precision)}" for precision in speed["milliseconds"])
    return [f"picture to answer: {each}; {told_machine(speed)}"]
