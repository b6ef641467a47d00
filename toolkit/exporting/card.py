"""The model card: what a bundle is, what it was trained on, what was measured, what it must not be used for."""

from __future__ import annotations

from typing import Any

from toolkit.bundle import BundleSpec
from toolkit.config.schema import CommonConfig
from toolkit.evaluation.table import as_card


def write_card(spec: BundleSpec, metrics: dict[str, Any], certificate: dict[str, Any], config: CommonConfig) -> str:
    """Return ``MODEL_CARD.md``; every figure in it comes from ``metrics`` and ``certificate``."""
    sections = [
        f"# {spec.name} {spec.version}",
        _use(spec),
        "## Data\n\n" + (_bullets(spec.data_sources) or "Not stated."),
        f"Licence: {spec.licence}",
        "## Known flaws\n\n" + (_bullets(spec.flaws) or "None stated."),
        _recipe(spec, config),
        _metrics(metrics),
        _parity(certificate),
    ]
    return "\n\n".join(sections) + "\n"


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {' '.join(line.split())}" for line in lines)


def _use(spec: BundleSpec) -> str:
    wanted = " ".join(spec.intended_use.split()) or "Not stated."
    refused = " ".join(spec.not_for.split()) or "Not stated."
    return f"**Use.** {wanted}\n\n**Not for.** {refused}\n\nClasses: {', '.join(spec.labels)}."


def _recipe(spec: BundleSpec, config: CommonConfig) -> str:
    start = spec.provenance.start_weights or "random weights"
    optimizer = config.train.optimizer
    return (
        "## Recipe\n\n"
        f"{config.model.name} at {spec.preprocessing.size_in_words} pixels, started from {start};"
        f" {config.train.epochs} epochs, batch {config.train.batch_size}, {optimizer.name} at {optimizer.lr:g},"
        f" seed {config.seed}, toolkit {spec.provenance.toolkit}, {spec.provenance.created}."
        " The whole config stands in `bundle.yaml` under `provenance`; `toolkit train` with it repeats the training."
    )


def _metrics(metrics: dict[str, Any]) -> str:
    return f"## Measured\n\n{as_card(metrics)}\n\nWritten by `toolkit export`, repeated by `toolkit evaluate`."


def _parity(certificate: dict[str, Any]) -> str:
    largest = ", ".join(f"{stage} {value:.2g}" for stage, value in certificate["largest_difference"].items())
    return (
        "## Parity\n\n"
        f"{', '.join(certificate['compared'])} agree on {certificate['pictures']} pictures; largest differences:"
        f" {largest}; near-ties: {len(certificate['near_ties'])}. `parity.json` holds the certificate."
    )
