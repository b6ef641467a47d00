"""A whole training on drawn pictures: what the run directory holds, and what stops a run before its first step."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from toolkit.api import export_to, train_from
from toolkit.config import load_config
from toolkit.errors import DataFaults, UserError
from toolkit.training.callbacks import ramped_average
from toolkit.training.module import warmup_cosine
from toolkit.training.network import NETWORKS, build_network

FILES = (
    "config.yaml", "environment.json", "train.log", "labels.json", "labels.png", "augmented_0.jpg", "results.csv",
    "results.png", "confusion_matrix.png", "pr_curves.png", "metrics.json", "checkpoints/best.ckpt",
    "checkpoints/last.ckpt", "bundle/bundle.yaml", "bundle/model.onnx", "bundle/parity.json", "bundle/metrics.json",
    "bundle/MODEL_CARD.md", "bundle/golden/expected.json",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_run_directory_holds(quick_run: Path, name: str) -> None:
    path = quick_run / name
    assert path.stat().st_size > 0
    if path.suffix in (".png", ".jpg"):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert pixels.std() > 5  # something is drawn in it


def test_tensorboard_and_validation_pictures(quick_run: Path) -> None:
    assert list((quick_run / "tensorboard").glob("events.*"))
    pairs = sorted((quick_run / "validation").glob("*.jpg"))
    assert len(pairs) == 6
    assert Image.open(pairs[0]).size == (2 * 96 + 6, 96)  # truth beside prediction


def test_results_have_a_row_an_epoch(quick_run: Path) -> None:
    rows = list(csv.DictReader((quick_run / "results.csv").open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["train/loss"]) > 0 and row["val/AP50"] for row in rows)


def test_the_resolved_config_trains_the_same_thing_again(quick_run: Path, quick_config: Path) -> None:
    assert load_config(quick_run / "config.yaml").config == load_config(quick_config).config


def test_the_run_predicts_and_evaluates_to_the_last_digit(quick_run: Path) -> None:
    shipped = json.loads((quick_run / "bundle/metrics.json").read_text(encoding="utf-8"))
    assert toolkit.evaluate(quick_run) == shipped
    picture = next(iter((quick_run.parent.parent).rglob("shapes/images/*.jpg")), None)
    result = toolkit.predict(quick_run, picture or np.zeros((96, 96, 3), np.uint8))
    assert result.class_names == ("circle", "square", "triangle")


def test_the_best_checkpoint_holds_the_moving_average(quick_run: Path) -> None:
    checkpoint = torch.load(quick_run / "checkpoints/best.ckpt", map_location="cpu", weights_only=True)
    name = "network.backbone.backbone.stem.conv.conv.weight"
    assert not torch.equal(checkpoint["state_dict"][name], checkpoint["current_model_state"][name])


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


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_of_the_schema_can_be_built(name: str) -> None:
    assert build_network(name, 3).num_classes == 3


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
    assert f"toolkit export {tmp_path / 'run'}" in seen[-1]
    export_to(tmp_path / "run")
    assert (tmp_path / "run/bundle/bundle.yaml").is_file()
