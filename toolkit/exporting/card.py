"""The model card: what a bundle is, what it was trained on, what was measured, what it must not be used for."""

from __future__ import annotations

from typing import Any

from toolkit.bundle import BundleSpec
from toolkit.bundle_spec import Calibration, ClassifierCalibration, DetectorCalibration
from toolkit.config.schema import CommonConfig
from toolkit.evaluation.sections import at
from toolkit.evaluation.table import as_card
from toolkit.inference.speed import told, told_machine

RELIABILITY = "reliability.png"


def write_card(
    spec: BundleSpec,
    metrics: dict[str, Any],
    certificate: dict[str, Any],
    speed: dict[str, Any],
    config: CommonConfig,
) -> str:
    """Return ``MODEL_CARD.md``; every figure in it comes from ``spec``, ``metrics``, ``certificate`` and ``speed``."""
    sections = [
        f"# {spec.name} {spec.version}",
        _use(spec),
        "## Data\n\n" + (_bullets(spec.data_sources) or "Not stated."),
        f"Licence: {spec.licence}",
        "## Known flaws\n\n" + (_bullets(spec.flaws) or "None stated."),
        _recipe(spec, config),
        _metrics(metrics),
        _trust(spec, metrics),
        _speed(spec, speed),
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


def _trust(spec: BundleSpec, metrics: dict[str, Any]) -> str:
    """How far the scores can be trusted, with the plot of it."""
    if "calibration" not in metrics:
        return "## Calibration\n\nThe answers are masks without scores: there is nothing to calibrate."
    error = at(metrics, metrics["intervals"], "calibration", "expected_calibration_error")
    return (
        f"## Calibration\n\n{fitted(getattr(spec, 'calibration', None))} Expected calibration error {error}."
        f"\n\n![How often answers of each score are right]({RELIABILITY})\n\n"
        "How often answers of each score are right, on the validation pictures; over a bar, how many there are."
    )


def fitted(calibration: Calibration | None) -> str:
    """What was fitted, and when it abstains, in a sentence each."""
    if calibration is None:
        return "The scores are as the network gives them; nothing was fitted to them, and every answer is given."
    if isinstance(calibration, ClassifierCalibration):
        form = f"The logits are divided by the temperature {calibration.temperature:.3f}"
    else:
        assert isinstance(calibration, DetectorCalibration)
        slope, offset = calibration.slope, calibration.offset
        form = f"A score s becomes sigmoid({slope:.3f} * logit(s) {offset:+.3f})"
    said = f"{form}, fitted to {calibration.fitted_on or 'the validation pictures'}."
    rule = calibration.abstention
    if rule is None:
        return f"{said} Every answer is given."
    unsure = f"{said} Answers with a score up to {rule.at:.3f} are unsure"
    if calibration.kept_in == "cross-validation":
        level = f"{100 * rule.error_level:g} % of the others were wrong"
        return f"{unsure}, as at most {level} in a cross-validation over what was left out of training."
    return f"{unsure}, so that on pictures like those at most {100 * rule.error_level:g} % of the others are wrong."


def _speed(spec: BundleSpec, speed: dict[str, Any]) -> str:
    """How long an answer takes, and what came of int8."""
    lines = [f"- {precision}: {told(speed, precision)}" for precision in speed["milliseconds"]]
    tried = spec.network.int8
    if tried is not None:
        lines.append(f"- {tried.told}." + (' `precision="fp32"` asks for fp32.' if tried.file else ""))
    return (
        f"## Speed\n\nFrom an encoded picture to the answer, one at a time, median of {speed['answers']} answers on"
        f" {speed['pictures']} validation pictures; {told_machine(speed)}:\n\n"
        + "\n".join(lines)
        + f"\n\nMeasured when the bundle was made. On your machine: `toolkit benchmark predict {spec.name} PICTURE`."
    )


def _parity(certificate: dict[str, Any]) -> str:
    largest = ", ".join(f"{stage} {value:.2g}" for stage, value in certificate["largest_difference"].items())
    return (
        "## Parity\n\n"
        f"{', '.join(certificate['compared'])} agree on {certificate['pictures']} pictures; largest differences:"
        f" {largest}; near-ties: {len(certificate['near_ties'])}.{_int8(certificate)}"
        " `parity.json` holds the certificate."
    )


def _int8(certificate: dict[str, Any]) -> str:
    """What the int8 network is held to, as no torch network computes what it does."""
    tried = certificate.get("int8")
    if tried is None or not tried["kept"]:
        return ""
    return (
        f" The int8 network is held to its numbers instead: no class may lose more than"
        f" {100 * tried['largest_loss']:g} points of {tried['number']}; the service answers as it does on"
        f" {tried['service']['pictures']} pictures."
    )
