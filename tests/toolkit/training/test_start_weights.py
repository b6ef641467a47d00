"""Weights to start from: a bundle of the same network, a file of an encoder, and what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from toolkit.config import load_config
from toolkit.errors import UserError
from toolkit.training.network import build_network
from toolkit.training.start_weights import read_tensors, start_from
from zoo.mobilenet_v2 import mobilenet_v2
from zoo.resnet import resnet18
from zoo.unet import unet

TASKS = ("detection", "classification", "segmentation")


def fresh(run: Path, classes: int) -> torch.nn.Module:
    """The run's network with other weights than it started from."""
    torch.manual_seed(99)
    return build_network(load_config(run / "config.yaml").config.model, classes)  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["run", "folder", "zip"])
def test_a_bundle_starts_a_network_of_its_kind(
    task: str, kind: str, quick_runs: Callable[[str], Path], tmp_path: Path
) -> None:
    """Every tensor of the exported file arrives, and is what the best checkpoint holds."""
    run = quick_runs(task)
    paths = {"run": run, "folder": run / "bundle", "zip": tmp_path / "b.zip"}
    if kind == "zip":
        import toolkit

        toolkit.export(run, paths["zip"])
    network = fresh(run, 3)
    report = start_from(network, str(paths[kind]))
    assert (report.fraction, report.missing, report.reshaped, report.unused) == (1.0, [], [], [])
    best = torch.load(run / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, best[f"network.{name}"]), name


def test_a_bundle_of_other_classes_starts_all_but_the_last_layer(quick_runs: Callable[[str], Path]) -> None:
    run = quick_runs("classification")
    report = start_from(fresh(run, 7), str(run))
    assert sorted(report.reshaped) == ["classifier.1.bias", "classifier.1.weight"]
    assert report.missing == report.unused == []


@pytest.mark.parametrize(
    ("make", "network"),
    [
        (lambda: mobilenet_v2(num_classes=10), lambda: unet(num_classes=3)),
        (lambda: resnet18(num_classes=10), lambda: unet(num_classes=3, encoder="resnet18")),
    ],
    ids=["mobilenet_v2", "resnet18"],
)
def test_a_classifiers_file_starts_an_encoder(
    make: Callable[[], torch.nn.Module], network: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    classifier, segmenter = make(), network()
    save_file(classifier.state_dict(), tmp_path / "w.safetensors")
    before = {name: value.clone() for name, value in segmenter.state_dict().items()}
    report = start_from(segmenter, str(tmp_path / "w.safetensors"))
    assert report.fraction == 1.0
    source = classifier.state_dict()
    for name, value in segmenter.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.startswith("encoder."):
            assert torch.equal(value, source[name.removeprefix("encoder.")]), name
        else:
            assert torch.equal(value, before[name]), name  # the decoder starts as it was
    assert set(report.outside) == {
        name for name in before if not name.startswith("encoder.") and not name.endswith("num_batches_tracked")
    }
    assert "outside the encoder left at their start values" in str(report)


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ("detection", "classification"),
        ("detection", "segmentation"),
        ("classification", "detection"),
        ("classification", "segmentation"),
        ("segmentation", "detection"),
    ],
)
def test_another_tasks_weights_are_refused_in_one_sentence(
    task: str, source: str, quick_runs: Callable[[str], Path]
) -> None:
    with pytest.raises(UserError) as caught:
        start_from(fresh(quick_runs(task), 3), str(quick_runs(source)))
    told = str(caught.value)
    assert told.startswith(f"model.init: {quick_runs(source)} does not fit this network (")
    assert told.endswith("choose the model it was made with, or leave init out to start from scratch")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "nowhere", "nowhere does not exist; expected zoo:NAME, a bundle, a run or a"),
        (lambda folder: write(folder / "notes.txt", b"x"), "expected zoo:NAME, a bundle, a run or a .safetensors file"),
        (lambda folder: write(folder / "w.safetensors", b"x"), "not a safetensors file"),
        (lambda folder: "zoo:mask_detecton", "did you mean 'mask_detection'?"),
    ],
)
def test_what_cannot_be_read_is_named(make, sentence: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=r"model\.init|mask_detection") as caught:
        read_tensors(str(make(tmp_path)))
    assert sentence in str(caught.value)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_bundle_that_was_changed_does_not_start_anything(quick_runs: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(quick_runs("classification") / "bundle", tmp_path / "bundle"))
    (bundle / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="does not match its recorded SHA-256"):
        read_tensors(str(bundle))
