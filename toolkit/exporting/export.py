"""From a run's best checkpoint to its bundle: ONNX, parity, measured numbers, golden pictures, card."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import toolkit
from toolkit.bundle import BundleSpec, Provenance, write_bundle
from toolkit.bundle_spec import Calibration, make_spec
from toolkit.config.schema import CalibrationConfig, CommonConfig
from toolkit.data.table import Progress, Table, load_table
from toolkit.errors import UserError
from toolkit.evaluation.evaluate import Measured, measure
from toolkit.evaluation.task import evaluation_task
from toolkit.exporting import parity
from toolkit.exporting.calibrate import fit_calibration
from toolkit.exporting.card import RELIABILITY, write_card
from toolkit.exporting.draft import Draft
from toolkit.exporting.golden_pictures import golden_pictures
from toolkit.exporting.int8 import some_pictures, try_int8
from toolkit.exporting.onnx_export import INPUT, MAP_OUTPUT, OUTPUT, has_map, to_onnx
from toolkit.inference import make_golden
from toolkit.inference.model import Model
from toolkit.inference.speed import time_answers
from toolkit.plotting import small_png
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.run_folder import Run, write_json
from toolkit.training.soften import soften
from toolkit.training.task import training_task
from toolkit.training.weights import network_weights, read_checkpoint

log = logging.getLogger("toolkit")

# Overrides of an export may change how large pictures come in, what is said about the model and how its output is
# filtered: nothing that the weights depend on.
EXPORT_KEYS = (
    "bundle", "postprocess", "calibration", "measures", "export", "preprocess", "data", "name", "model.input_size",
)  # fmt: skip
# Keys of a data block that name places on the machine that trained.
LOCATED_KEYS = ("root", "splits", "extra")


def export_run(
    run: Run, *, table: Table[Any] | None = None, overrides: Sequence[str] = (), progress: Progress | None = None
) -> Measured:
    """Write ``RUN/bundle`` from the best checkpoint and return what was measured on the validation pictures.

    Measured is what the bundle answers unless a call says otherwise: in int8 where that was kept. ``overrides`` change
    the blocks and keys `EXPORT_KEYS` only. Raises ``UserError`` when torch, ONNX Runtime and the service disagree (see
    `parity`); then no bundle is left.
    """
    _check_overrides(overrides)
    trained = run.config().config
    config = run.config(tuple(overrides)).config
    table = table or load_table(config, progress=progress)
    training_task(config.task).check(config, table)
    soften(run, trained, table)
    asked = trained.model_copy(update={"model": config.model})  # of the size that was asked for, else as it was trained
    reference = parity.Reference(_trained_network(run, trained, table), preprocessing_of(asked))
    log.info("exporting ONNX")
    fitting = preprocessing_of(config)
    network = to_onnx(reference.network, fitting.input_size, fitting.pad_multiple)
    draft = Draft(run.path / ".bundle-draft", _spec(config, table, reference.network), {"model.onnx": network})
    try:
        measured = _fill(draft, reference, config, table, progress)
    finally:
        draft.remove()
    write_bundle(run.bundle, draft.spec, draft.files)
    write_json(run.path / "metrics.json", measured.metrics)
    return measured


def _fill(
    draft: Draft, reference: parity.Reference, config: CommonConfig, table: Table[Any], progress: Progress | None
) -> Measured:
    """Give the draft, which holds the fp32 network, all that a bundle has besides."""
    validation = table.subset("val")
    tried = try_int8(draft, validation, config.export, progress) if config.export.int8 == "auto" else None
    model = draft.open()
    if (calibration := _calibration(model, config, table, progress)) is not None:
        draft.spec = draft.spec.model_copy(update={"calibration": calibration})
        model = draft.open()
    models = {model.precision: model} if model.precision == "fp32" else {"fp32": draft.open("fp32"), "int8": model}
    log.info("parity of torch, ONNX Runtime and the service")
    paths = [sample.path for sample in validation.samples]
    with _service(models["fp32"]) as ask:
        certificate = parity.certify(reference, models["fp32"], paths, ask)
    if tried is not None:
        certificate["int8"] = tried
    if "int8" in models:
        with _service(models["int8"]) as ask:
            certificate["int8"]["service"] = parity.certify_service(models["int8"], paths, ask)
    log.info("measuring the bundle on the validation pictures")
    measured = measure(model, validation, "val", progress)
    speed = time_answers(models, some_pictures(validation)).to_dict()
    plot = evaluation_task(config.task).reliability(measured.metrics, validation, measured.predictions)
    draft.files |= make_golden(models["fp32"], golden_pictures(), int8=models.get("int8"))
    draft.files |= {
        "parity.json": parity.to_bytes(certificate),
        "metrics.json": _json(measured.metrics),
        "speed.json": _json(speed),
        **({} if plot is None else {RELIABILITY: small_png(plot.png)}),
    }
    draft.files["MODEL_CARD.md"] = write_card(draft.spec, measured.metrics, certificate, speed, config).encode()
    return measured


def _check_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0]
        if not {key, key.partition(".")[0]} & set(EXPORT_KEYS):
            raise UserError(
                f"override {override}: an export can change {', '.join(EXPORT_KEYS)}; anything else needs training"
            )


def _trained_network(run: Run, config: CommonConfig, table: Table[Any]) -> Any:
    network = build_network(config.model, len(table.class_names))
    network.load_state_dict(network_weights(read_checkpoint(run.checkpoint)))
    return network.eval()


def _spec(config: CommonConfig, table: Table[Any], network: Any) -> BundleSpec:
    """What ``bundle.yaml`` says. Paths of the machine that trained it are cut to their last part."""
    data = config.data.model_dump(mode="json")
    plain = config.model_dump(mode="json", exclude={"data", "bundle"})
    start = config.model.init
    if start and not start.startswith("zoo:"):
        start = plain["model"]["init"] = Path(start).name
    described: dict[str, Any] = {"architecture": config.model.name, "input": INPUT, "output": OUTPUT}
    besides: dict[str, Any] = {}
    if hasattr(network, "strides"):
        described["strides"] = tuple(network.strides)
    if has_map(network):
        described["map_output"] = MAP_OUTPUT
    if measures := getattr(config, "measures", None):
        besides["measures"] = measures.model_dump()
    return make_spec(
        **besides,
        name=config.name,
        task=config.task,
        version=config.bundle.version,
        labels=table.class_names,
        network=described,
        preprocessing=preprocessing_of(config),
        postprocessing=config.postprocess.model_dump(),
        licence=config.bundle.licence,
        data_sources=config.bundle.data_sources,
        intended_use=config.bundle.intended_use,
        not_for=config.bundle.not_for,
        flaws=config.bundle.flaws,
        provenance=Provenance(
            toolkit=toolkit.__version__,
            created=datetime.now(UTC).strftime("%Y-%m-%d"),
            seed=config.seed,
            start_weights=start,
            config=plain,
            data={
                key: _without_folder(value) if key in LOCATED_KEYS and value else value for key, value in data.items()
            },
        ),
    )


def _without_folder(value: Any) -> Any:
    return [Path(path).name for path in value] if isinstance(value, list) else Path(value).name


def _calibration(
    model: Model, config: CommonConfig, table: Table[Any], progress: Progress | None
) -> Calibration | None:
    asked: CalibrationConfig | None = getattr(config, "calibration", None)
    return fit_calibration(model, table.subset("val"), asked, "val", progress) if asked else None


@contextlib.contextmanager
def _service(model: Model) -> Iterator[parity.Ask]:
    # The one place where training looks at the service: its answer is what users get, so it belongs in the certificate.
    from serve.app import create_app
    from serve.inprocess import InProcessClient

    with InProcessClient(create_app(model)) as client:
        yield client.predict


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
