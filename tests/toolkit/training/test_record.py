"""What a run writes down about itself, and that one seed gives one hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.api import train_from
from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.data.fingerprint import fingerprint, read_fingerprint
from toolkit.training.record import recorded
from toolkit.training.run_folder import Run, open_run
from toolkit.training.start_weights import read_tensors
from toolkit.training.weights import weights_sha256

Runs = Callable[[str], Path]


def record(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("task", ["detection", "classification", "segmentation"])
def test_a_finished_run_tells_how_it_ended(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    config, told = load_config(run / "config.yaml").config, record(run)
    assert told["started"] <= told["ended"]
    assert (told["seed"], told["epochs"], told["resumed"]) == (config.seed, config.train.epochs, [])
    assert (told["device"], told["threads"]) == ("cpu", torch.get_num_threads())
    checkpoints = {
        name: torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True, map_location="cpu")
        for name in ("best", "last")
    }
    assert told["steps"] == checkpoints["last"]["global_step"]
    for name, checkpoint in checkpoints.items():
        network = {
            key.removeprefix("network."): value
            for key, value in checkpoint["state_dict"].items()
            if key.startswith("network.")
        }
        assert told["weights"][name] == {"steps": checkpoint["global_step"], "sha256": weights_sha256(network)}


@pytest.mark.parametrize("task", ["detection", "classification", "segmentation"])
def test_a_run_keeps_a_row_for_every_picture(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    table = load_table(load_config(run / "config.yaml").config)
    rows = read_fingerprint(run / "data.csv")
    assert rows == fingerprint(table)
    assert record(run)["classes"] == list(table.class_names)
    for row, sample in zip(rows, table.samples, strict=True):
        assert row.content == hashlib.sha256(sample.path.read_bytes()).hexdigest()[:16]


def test_the_start_weights_are_hashed(quick_runs: Runs) -> None:
    assert record(quick_runs("detection"))["start_weights"] == weights_sha256(read_tensors("zoo:mask_detection"))
    assert record(quick_runs("classification"))["start_weights"] is None


@pytest.fixture(scope="module")
def hashes(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Called with overrides, the hash of the weights that the classifier's first two epochs end with."""

    def hash_of(*overrides: str) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("toolkit.training.train._finish", lambda run, *_: run)  # no need of a bundle
            shorter = ("model.dropout=0.2", "train.epochs=2", "train.validate_every=1", *overrides)
            run = train_from(quick_configs["classification"], shorter, run_dir=tmp_path_factory.mktemp("seeds") / "run")
        return str(record(run.path)["weights"]["last"]["sha256"])

    return hash_of


def test_one_seed_one_hash(hashes: Callable[..., str]) -> None:
    first = hashes()
    assert hashes("data.workers=2") == first
    assert hashes("seed=2") != first


def test_a_run_that_stops_and_goes_on_tells_so(quick_runs: Runs, tmp_path: Path) -> None:
    finished = open_run(quick_runs("classification"))
    config = finished.config().config
    table, run = load_table(config), Run(tmp_path)
    with pytest.raises(KeyboardInterrupt), recorded(run, config, table):
        raise KeyboardInterrupt
    stopped = record(tmp_path)
    assert (stopped["ended"], "weights" in stopped) == (None, False)
    (tmp_path / "checkpoints").symlink_to(finished.path / "checkpoints")
    for times in (1, 2):
        with recorded(run, config, table):
            pass
        resumed = record(tmp_path)
        assert (resumed["started"], len(resumed["resumed"])) == (stopped["started"], times)
        assert resumed["weights"] == record(finished.path)["weights"]
