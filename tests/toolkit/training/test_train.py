"""A whole training on drawn pictures: what the run directory holds, and what stops a run before its first step."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.api import export_to, train_from
from toolkit.config import load_config, parse_config
from toolkit.config.registry import NETWORKS
from toolkit.data import load_table
from toolkit.errors import DataFaults, UserError
from toolkit.training.callbacks import ramped_average
from toolkit.training.module import warmup_cosine
from toolkit.training.network import build_network
from toolkit.training.weights import network_weights, read_checkpoint

TASKS = ("detection", "classification", "segmentation")
Runs = Callable[[str], Path]

FILES = (
    "config.yaml", "environment.json", "train.log", "labels.json", "labels.png", "augmented_0.jpg", "results.csv",
    "results.png", "confusion_matrix.png", "metrics.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt",
    "bundle/bundle.yaml", "bundle/model.onnx", "bundle/parity.json", "bundle/metrics.json", "bundle/MODEL_CARD.md",
    "bundle/golden/expected.json", "bundle/speed.json", "evaluation/index.html",
)  # fmt: skip
OWN_PLOTS = {"detection": "pr_curves.png", "classification": "reliability.png", "segmentation": "dice.png"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", [*FILES, "plot of its own"])
def test_the_run_directory_holds(task: str, name: str, quick_runs: Runs) -> None:
    path = quick_runs(task) / (OWN_PLOTS[task] if name == "plot of its own" else name)
    assert path.stat().st_size > 0
    if path.suffix in (".png", ".jpg"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.std() > 5  # something is drawn in it


@pytest.mark.parametrize("task", TASKS)
def test_tensorboard_and_validation_pictures(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    assert list((run / "tensorboard").glob("events.*"))
    held_out = [
        sample for sample in load_table(load_config(run / "config.yaml").config).samples if sample.split == "val"
    ]
    pairs = sorted((run / "validation").glob("*.jpg"))
    assert len(pairs) == min(12, len(held_out))
    height, width = held_out[0].size
    assert Image.open(pairs[0]).size == (2 * width + 6, height)  # truth beside prediction


# Of a network that says the same of every picture: a third of the answers are right, and the larger class's Dice is
# 0.43 where all is said to be of it, 0.22 as a mean of both classes.
LEARNT = [("classification", "top1", 0.8), ("classification", "macro_f1", 0.75), ("segmentation", "mean_dice", 0.75)]


@pytest.mark.parametrize(("task", "number", "least"), LEARNT)
def test_a_quick_run_learns_far_more_than_chance(task: str, number: str, least: float, quick_runs: Runs) -> None:
    metrics = json.loads((quick_runs(task) / "metrics.json").read_text(encoding="utf-8"))
    assert metrics[number] >= least


NUMBERS = {
    "detection": ("AP", "AP50", "AP75", "AR100"),
    "classification": ("top1", "macro_f1", "negative_log_likelihood"),
    "segmentation": ("mean_dice", "mean_iou", "pixel_accuracy"),
}


@pytest.mark.parametrize("task", TASKS)
def test_results_have_a_row_an_epoch(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    train = load_config(run / "config.yaml").config.train
    rows = list(csv.DictReader((run / "results.csv").open(encoding="utf-8")))
    assert [int(row["epoch"]) for row in rows] == list(range(1, train.epochs + 1))
    assert all(float(row["train/loss"]) > 0 for row in rows)
    validated = [int(row["epoch"]) for row in rows if row[f"val/{NUMBERS[task][0]}"]]
    assert validated == list(range(train.validate_every, train.epochs + 1, train.validate_every))
    for name in NUMBERS[task]:
        assert rows[-1][f"val/{name}"]


@pytest.mark.parametrize("task", TASKS)
def test_the_bundle_measures_what_the_best_epoch_did(task: str, quick_runs: Runs) -> None:
    """Validation while training (torch, moving average) and the bundle (ONNX Runtime) see the same pictures."""
    run = quick_runs(task)
    best = max(
        float(row[f"val/{NUMBERS[task][0]}"])
        for row in csv.DictReader((run / "results.csv").open(encoding="utf-8"))
        if row[f"val/{NUMBERS[task][0]}"]
    )
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    measured = (metrics["coco"] if task == "detection" else metrics)[NUMBERS[task][0]]
    assert measured == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_the_resolved_config_trains_the_same_thing_again(
    task: str, quick_runs: Runs, quick_configs: dict[str, Path]
) -> None:
    assert load_config(quick_runs(task) / "config.yaml").config == load_config(quick_configs[task]).config


@pytest.mark.parametrize("task", TASKS)
def test_the_run_predicts(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    sample = load_table(load_config(run / "config.yaml").config).samples[0]
    result = toolkit.predict(run, sample.path)
    kinds = {"detection": "DetectionResult", "classification": "ClassificationResult",
             "segmentation": "SegmentationResult"}  # fmt: skip
    assert type(result).__name__ == kinds[task]
    assert result.image_size == sample.size
    assert result.draw().shape == (*sample.size, 3)


@pytest.mark.parametrize("task", TASKS)
def test_the_best_checkpoint_holds_the_moving_average(task: str, quick_runs: Runs) -> None:
    checkpoint = torch.load(quick_runs(task) / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if name.endswith(".weight"))
    assert not torch.equal(checkpoint["state_dict"][name], checkpoint["current_model_state"][name])


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end with their checkpoints, which saves the seconds of an export."""
    monkeypatch.setattr("toolkit.training.train._finish", lambda run, *_: run)


@pytest.mark.usefixtures("without_export")
def test_training_starts_from_another_run(quick_run: Path, quick_config: Path, tmp_path: Path) -> None:
    run = train_from(quick_config, [f"model.init={quick_run}", "train.epochs=1"], run_dir=tmp_path / "second")
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert "538 tensors loaded, 0 of another shape" in log
    assert "0 not in the file" in log


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.init=zoo:mask_detecton"], "did you mean 'mask_detection'?"),
        (["model.init=/nowhere/w.safetensors"], "model.init: /nowhere/w.safetensors does not exist"),
        (["model.init={run}", "model.name=yolox_s"], "does not fit this network"),
        (["model.init={broken}"], "not a safetensors file"),
        (["train.device=cuda"], "torch finds no CUDA device"),
    ],
)
def test_start_weights_that_do_not_fit_stop_the_run(
    overrides: list[str], sentence: str, quick_run: Path, quick_config: Path, tmp_path: Path
) -> None:
    if "cuda" in overrides[0] and torch.cuda.is_available():
        overrides, sentence = ["model.init=nowhere"], "does not exist"  # the machine has what this row misses
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not weights")
    changes = [o.format(run=quick_run, broken=broken) for o in overrides]
    with pytest.raises(UserError) as caught:
        train_from(quick_config, changes, run_dir=tmp_path / "run")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("task", "override", "sentence"),
    [
        ("classification", "model.init={detector}", "does not fit this network"),
        ("segmentation", "loss.class_weights=[1, 2]", "loss.class_weights: expected 3 numbers"),
        ("segmentation", "postprocess.regions={thing: [warm, clod]}", "did you mean 'cold'?"),
    ],
)
def test_a_config_that_does_not_fit_stops_the_run(
    task: str, override: str, sentence: str, quick_runs: Runs, quick_configs: dict[str, Path], tmp_path: Path
) -> None:
    change = override.replace("{detector}", str(quick_runs("detection")))
    with pytest.raises(UserError) as caught:
        train_from(quick_configs[task], [change], run_dir=tmp_path / "run")
    assert sentence in str(caught.value)
    assert "init" in override or not (tmp_path / "run").exists()  # before anything is written


def test_faulty_data_stops_before_a_run_directory_is_made(quick_config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "annotations.json").write_text('{"images": [], "annotations": [], "categories": []}')
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: x\ntask: detection\ndata: {format: coco, root: data}\nmodel: {name: yolox_nano}\n", encoding="utf-8"
    )
    with pytest.raises(DataFaults):
        train_from(config, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_directory_is_not_overwritten(quick_run: Path, quick_config: Path) -> None:
    with pytest.raises(UserError, match="exists and is not empty"):
        train_from(quick_config, run_dir=quick_run)


def test_a_time_limit_still_ends_with_a_bundle(quick_config: Path, tmp_path: Path) -> None:
    run = train_from(quick_config, ["train.time_limit_minutes=0.0001", "train.epochs=50"], run_dir=tmp_path / "run")
    assert (run.bundle / "bundle.yaml").is_file()
    rows = (run.path / "results.csv").read_text().splitlines()
    assert len(rows) < 10


def test_the_schedule_rises_then_falls_along_a_cosine() -> None:
    factor = warmup_cosine(total=100, warmup=10, floor=0.05)
    assert factor(0) == pytest.approx(0.1)
    assert factor(9) == pytest.approx(1.0)
    assert factor(55) == pytest.approx(0.05 + 0.95 * 0.5)
    assert factor(100) == factor(500) == pytest.approx(0.05)


@pytest.mark.parametrize(("count", "decay"), [(1, 2 / 11), (10, 11 / 20), (10_000, 0.9)])
def test_the_average_ramps_up_to_its_decay(count: int, decay: float) -> None:
    averaged, current = [torch.tensor([1.0])], [torch.tensor([0.0])]
    ramped_average(0.9)(averaged, current, torch.tensor(count))
    assert averaged[0].item() == pytest.approx(decay)


def test_counters_are_copied_not_averaged() -> None:
    averaged, current = [torch.tensor([3])], [torch.tensor([8])]
    ramped_average(0.9)(averaged, current, 5)
    assert averaged[0].item() == 8


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in NETWORKS.items() for name in names])
def test_every_network_of_the_schema_can_be_built(task: str, name: str) -> None:
    config = parse_config(f"name: x\ntask: {task}\ndata: {{format: shapes}}\nmodel: {{name: {name}}}\n").config
    assert build_network(config.model, 3).num_classes == 3


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("{name: mobilenet_v2, width: 0.5}", "features.0.0.out_channels", 16),
        ("{name: mobilenet_v2, dropout: 0.5}", "classifier.0.p", 0.5),
        ("{name: unet, encoder: resnet18}", "encoder.channels", (64, 64, 128, 256, 512)),
        ("{name: deeplabv3, encoder: resnet18}", "encoder.channels", (64, 64, 128, 256, 512)),
    ],
)
def test_a_networks_own_keys_reach_its_constructor(text: str, attribute: str, value: object) -> None:
    task = "segmentation" if "encoder" in text else "classification"
    config = parse_config(f"name: x\ntask: {task}\ndata: {{format: shapes}}\nmodel: {text}\n").config
    assert attrgetter(attribute)(build_network(config.model, 3)) == value


# A process that is started in the background of a script inherits an ignored Ctrl-C; this one must hear it.
HEARS_CTRL_C = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from toolkit.cli.main import main; sys.argv[0] = 'toolkit'; main()"
)


def test_ctrl_c_says_what_is_kept(quick_config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HEARS_CTRL_C, "train", str(quick_config), "train.epochs=500"]
    with subprocess.Popen([*command, "--run-dir", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "epoch 2/500" in line:
                process.send_signal(signal.SIGINT)
            if "stopped by Ctrl-C" in line:
                break
            if "epoch 60/500" in line:
                process.kill()
        process.stderr.read()
    assert process.returncode == 130, "".join(seen)
    assert f"toolkit train --resume {tmp_path / 'run'}" in seen[-1]
    export_to(tmp_path / "run")
    assert (tmp_path / "run/bundle/bundle.yaml").is_file()


@pytest.mark.usefixtures("without_export")
def test_statistics_that_are_frozen_come_out_as_they_went_in(quick_configs: dict[str, Path], tmp_path: Path) -> None:
    """Through validations and the moving average, too."""
    changes = ["train.epochs=2", "train.validate_every=1", "train.freeze_bn_statistics=true"]
    run = train_from(quick_configs["classification"], changes, run_dir=tmp_path / "run")
    weights = network_weights(read_checkpoint(run.checkpoint))
    means = {name: value for name, value in weights.items() if name.endswith("running_mean")}
    assert len(means) == 52
    assert not any(value.any() for value in means.values())
