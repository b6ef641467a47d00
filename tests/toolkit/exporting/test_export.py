"""A bundle is refused when it would not answer as the trained network does, and names the stage that differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import toolkit
from toolkit.api import export_to
from toolkit.bundle import Bundle
from toolkit.errors import UserError
from toolkit.exporting import parity
from toolkit.inference.model import Model
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.run_folder import open_run


@pytest.fixture
def run_copy(quick_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(quick_run, tmp_path / "run"))


def test_a_swapped_colour_order_is_refused_at_preprocess(run_copy: Path) -> None:
    """The network was trained on BGR; a bundle that feeds it RGB must not come into being."""
    shutil.rmtree(run_copy / "bundle")
    with pytest.raises(UserError, match=r"parity check at stage 'preprocess' on .*\.jpg"):
        export_to(run_copy, overrides=["preprocess.color=rgb"])
    assert not (run_copy / "bundle").exists()
    assert not list(run_copy.glob(".bundle-draft*"))


def reference_and_model(run: Path) -> tuple[parity.Reference, Model, list[Path]]:
    config = open_run(run).config().config
    network = build_network(config.model.name, 3)
    state = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in state.items()})
    model = toolkit.load(run, "cpu")
    pictures = [p for p in sorted((config.data.root / "images").glob("*.jpg")) if len(model.predict_one(p).scores)]
    assert len(pictures) >= 2, "the quick run finds nothing: there is nothing to compare"
    return parity.Reference(network.eval(), preprocessing_of(config)), model, pictures[:2]


def ask(model: Model):  # type: ignore[no-untyped-def]
    return lambda data: model.predict_one(data).to_dict()


def test_both_sides_agree(quick_run: Path) -> None:
    reference, model, pictures = reference_and_model(quick_run)
    certificate = parity.certify(reference, model, pictures, ask(model))
    assert certificate["passed"]
    assert certificate["pictures"] == 2
    assert certificate["largest_difference"]["logits"] < 1e-3


def break_decode(model: Model, reference: parity.Reference) -> None:
    model.decode = lambda data, name=None: lambda: Model.decode(model, data, name=name)()[:, :, ::-1].copy()  # type: ignore


def break_logits(model: Model, reference: parity.Reference) -> None:
    with torch.no_grad():
        reference.network.head.obj_preds[0].bias += 0.5  # type: ignore[index,union-attr,operator]


@pytest.mark.parametrize(("breaking", "stage"), [(break_decode, "decode"), (break_logits, "logits")])
def test_the_stage_that_differs_is_named(quick_run: Path, breaking, stage: str) -> None:  # type: ignore[no-untyped-def]
    reference, model, pictures = reference_and_model(quick_run)
    breaking(model, reference)
    with pytest.raises(UserError, match=f"stage '{stage}' on {pictures[0].name}"):
        parity.certify(reference, model, pictures, ask(toolkit.load(quick_run, "cpu")))


def test_a_service_that_answers_otherwise_is_refused(quick_run: Path) -> None:
    reference, model, pictures = reference_and_model(quick_run)

    def loses_the_best(data: bytes) -> dict:
        answer = model.predict_one(data).to_dict()
        return {key: value[1:] if key in ("boxes", "scores", "class_ids", "labels") else value
                for key, value in answer.items()}  # fmt: skip

    with pytest.raises(UserError, match=r"stage 'result'.*is missing"):
        parity.certify(reference, model, pictures, loses_the_best)


def test_near_ties_are_listed_not_refused(quick_run: Path) -> None:
    """A detection within 1e-4 of the threshold may come or go."""
    reference, model, pictures = reference_and_model(quick_run)
    best = model.predict_one(pictures[0]).scores[-1]
    spec = model.spec.model_copy(
        update={"postprocessing": model.spec.postprocessing.model_copy(update={"score_threshold": float(best) - 5e-5})}
    )
    object.__setattr__(model.bundle, "spec", spec)

    def drops_the_last(data: bytes) -> dict:
        answer = model.predict_one(data).to_dict()
        keep = np.asarray(answer["scores"]) > best + 1e-6
        return {key: [v for v, k in zip(value, keep, strict=True) if k]
                if key in ("boxes", "scores", "class_ids", "labels") else value
                for key, value in answer.items()}  # fmt: skip

    certificate = parity.certify(reference, model, pictures[:1], drops_the_last)
    assert len(certificate["near_ties"]) >= 1


def test_the_bundle_tells_nothing_of_this_machine(quick_run: Path) -> None:
    for path in (quick_run / "bundle").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (str(Path.home()), str(quick_run.parent), "site-packages", str(Path(toolkit.__file__).parent)):
                assert word.encode() not in content, f"{path.name} holds {word}"


def test_thresholds_and_words_can_be_changed_after_training(run_copy: Path) -> None:
    export_to(run_copy, overrides=["postprocess.score_threshold=0.4", "bundle.licence=MIT"])
    bundle = Bundle.open(run_copy)
    assert bundle.postprocessing.score_threshold == 0.4
    assert bundle.spec.licence == "MIT"


@pytest.mark.parametrize("override", ["model.input_size=[96,96]", "train.epochs=3"])
def test_what_needs_training_cannot_be_changed_by_an_export(run_copy: Path, override: str) -> None:
    with pytest.raises(UserError, match="an export can change bundle, postprocess"):
        export_to(run_copy, overrides=[override])


@pytest.mark.parametrize("name", ["copy", "copy.zip"])
def test_a_bundle_travels_as_a_folder_or_a_zip(quick_run: Path, tmp_path: Path, name: str) -> None:
    path = toolkit.export(quick_run, tmp_path / name)
    assert Bundle.open(path).spec == Bundle.open(quick_run).spec
    picture = np.full((50, 70, 3), 128, np.uint8)
    assert toolkit.predict(path, picture) == toolkit.predict(quick_run, picture)


def test_docker(quick_run: Path, tmp_path: Path) -> None:
    toolkit.export(quick_run, tmp_path / "image/bundle", docker=True)
    assert "toolkit" in (tmp_path / "image/Dockerfile").read_text()
    with pytest.raises(UserError, match="give a folder"):
        toolkit.export(quick_run, tmp_path / "b.zip", docker=True)


def test_the_card_repeats_the_measured_numbers(quick_run: Path) -> None:
    card = (quick_run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = json.loads((quick_run / "bundle/metrics.json").read_text(encoding="utf-8"))
    assert f"{metrics['coco']['AP50']:.3f}" in card
    assert "CC0-1.0" in card
    assert "circle" in card


def test_a_checkpoint_that_is_missing_is_named(run_copy: Path) -> None:
    shutil.rmtree(run_copy / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint in it"):
        export_to(run_copy, overrides=["bundle.licence=MIT"])
