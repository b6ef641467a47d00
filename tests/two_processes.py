"""Trains on the same batches in one process and in two, and writes down what each process sees of every step.

    python tests/two_processes.py [--steps 20]

prints the losses of a detector side by side, with batch norm in evaluation mode (where both compute the same; that they
are further apart than `BOUND` is a failure) and in training mode (where each process on the CPU normalises by its own
share of a batch).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BOUND = 1e-4

# SGD: to AdamW a gradient that is wrong by a factor is as good as the right one. The learning rate is one at which the
# losses fall with batch norm in evaluation mode; where they rise, every step multiplies the rounding of the one before.
DETECTION = """
name: shared
task: detection
seed: 2
data: {{format: coco, root: {root}, images: images, splits: {root}/splits.csv}}
model: {{name: yolox_nano, input_size: [64, 64], init: {init}}}
augment: {{zoom: {{probability: 0.5}}, albumentations: [{{HorizontalFlip: {{p: 0.5}}}}]}}
train:
  {{epochs: 3, batch_size: 8, validate_every: 3, device: cpu, precision: fp32, estimate_bn_batches: 7,
   optimizer: {{name: sgd, lr: 1e-4}}}}
"""


class Job(dict[str, Any]):
    """A training: ``config`` (path), ``overrides``, ``run`` (folder).

    ``frozen``: batch norm in evaluation mode; ``fails``: it is to end with a mistake that is told.
    """


def draw(root: Path, pictures: int = 70) -> None:
    """A COCO set in which more than half of the pictures show nothing, with an odd number to validate on."""
    from toolkit.config.load import parse_config
    from toolkit.data.table import load_table

    text = "{name: drawn, task: detection, data: {format: shapes, root: %s, pictures: %d, size: [96, 96]}, model: %s}"
    load_table(parse_config(text % (root, pictures, "{name: yolox_nano}")).config)
    labels = json.loads((root / "annotations.json").read_text())
    empty = {image["id"] for image in labels["images"] if image["id"] % 10 < 6}
    labels["annotations"] = [box for box in labels["annotations"] if box["image_id"] not in empty]
    (root / "annotations.json").write_text(json.dumps(labels))
    splits = (root / "splits.csv").read_text()
    (root / "splits.csv").write_text(splits.replace(",val", ",train", 1))


def write_config(folder: Path) -> Path:
    """Return the detector's config, with its pictures and start weights beside it; these come from a short training.

    Of weights that do not fit at all, every step multiplies the rounding of the one before.
    """
    from safetensors.torch import save_file

    from toolkit.training.run_folder import LAST
    from toolkit.training.weights import network_weights, read_checkpoint

    draw(folder / "pictures")
    config = folder / "shared.yaml"
    config.write_text(DETECTION.format(root=folder / "pictures", init="zoo:mask_detection"))
    quicker = ["train.epochs=4", "train.optimizer={name: adamw, lr: 3e-3}"]
    train_all([Job(config=str(config), overrides=quicker, run=str(folder / "start"))])
    weights = network_weights(read_checkpoint(folder / "start" / LAST))
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "start.safetensors")
    config.write_text(DETECTION.format(root=folder / "pictures", init=folder / "start.safetensors"))
    return config


def train_all(jobs: Sequence[Job]) -> None:
    """Do the jobs in this process, one of those that the environment speaks of; write RUN-RANK.json for each."""
    import torch

    import toolkit.training.train as train
    from toolkit.api import train_from
    from toolkit.errors import UserError
    from toolkit.training.module import TaskModule
    from toolkit.training.weights import weights_sha256

    steps: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    frozen = False
    inner = {
        name: getattr(TaskModule, name) for name in ("training_step", "validation_step", "on_validation_epoch_end")
    }

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        for layer in self.network.modules():
            if frozen and isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eval()
        outputs = inner["training_step"](self, batch, batch_idx)
        boxes = getattr(batch.targets, "boxes", ())
        parts = {name: float(value) for name, value in outputs["parts"].items()}
        steps.append({**parts, "pictures": batch.indices, "objects": sum(map(len, boxes))})
        return outputs

    def validation_step(self: Any, batch: Any, batch_idx: int) -> None:
        if not self._found:
            checks.append({"weights": weights_sha256(dict(self.network.state_dict())), "pictures": []})
        checks[-1]["pictures"] += [index for part in batch for index in part.indices]
        inner["validation_step"](self, batch, batch_idx)

    def on_validation_epoch_end(self: Any) -> None:
        inner["on_validation_epoch_end"](self)
        checks[-1]["numbers"] = {name: float(value) for name, value in self.trainer.callback_metrics.items()}

    changed = {each.__name__: each for each in (training_step, validation_step, on_validation_epoch_end)}
    finish, train._finish = train._finish, lambda run, *_: run
    try:
        for name, method in changed.items():
            setattr(TaskModule, name, method)
        for job in jobs:
            frozen, told = job.get("frozen", False), None
            try:
                train_from(job["config"], job["overrides"], run_dir=job["run"])
            except UserError as error:
                if not job.get("fails"):
                    raise
                told = [type(error).__name__, str(error)]
            rank = os.environ.get("RANK", "0")
            Path(f"{job['run']}-{rank}.json").write_text(json.dumps({"steps": steps, "checks": checks, "told": told}))
            steps.clear(), checks.clear()
    finally:
        train._finish = finish
        for name, method in inner.items():
            setattr(TaskModule, name, method)


def in_two_processes(jobs: Sequence[Job]) -> None:
    """Do the jobs in two processes, as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--jobs", json.dumps(jobs)]
    everyone = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryFile("w+") as said:
        started = [
            subprocess.Popen(
                command, env={**os.environ, **everyone, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=said
            )
            for rank in (0, 1)
        ]
        codes = [process.wait() for process in started]
        said.seek(0)
        assert codes == [0, 0], said.read()


def seen(run: Path, rank: int = 0) -> Any:
    """What process ``rank`` wrote down of a run."""
    return json.loads(Path(f"{run}-{rank}.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--jobs", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.jobs is not None:
        train_all(given.jobs)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.exit(0 if compare(folder, write_config(folder), given.steps) else 1)


def compare(folder: Path, config: Path, steps: int) -> bool:
    """Print the losses of both ways, and how far they are apart; return whether that is near enough."""
    kinds = {"evaluation": True, "training": False}
    jobs = {
        devices: [
            Job(config=str(config), overrides=[f"train.devices={devices}", f"train.epochs={-(-steps // 7)}"],
                run=str(folder / f"{kind}{devices}"), frozen=frozen)
            for kind, frozen in kinds.items()
        ]
        for devices in (1, 2)
    }  # fmt: skip
    train_all(jobs[1])
    in_two_processes(jobs[2])
    losses = {
        (kind, devices): [step["loss"] for step in seen(folder / f"{kind}{devices}")["steps"]][:steps]
        for kind in kinds
        for devices in (1, 2)
    }
    shares = [seen(folder / "evaluation2", rank)["steps"] for rank in (0, 1)]
    print("       objects in    batch norm in evaluation mode             in training mode")
    print("step   each share    1 process  2 processes  difference    1 process  2 processes  difference")
    apart: dict[str, list[float]] = {kind: [] for kind in kinds}
    for step in range(steps):
        row = f"{step + 1:4}   {shares[0][step]['objects']:4} {shares[1][step]['objects']:4}    "
        for kind in kinds:
            one, two = (losses[kind, devices][step] for devices in (1, 2))
            apart[kind].append(abs(one - two))
            row += f" {one:9.5f}    {two:9.5f}    {abs(one - two):8.1e} "
        print(row.rstrip())
    one, two = (sum(losses["training", devices]) / steps for devices in (1, 2))
    print(f"training mode: mean loss of the {steps} steps {one:.3f} with 1 process, {two:.3f} with 2")
    largest = max(apart["evaluation"])
    passed = largest <= BOUND
    print(f"evaluation mode: largest difference {largest:.1e}, {'pass' if passed else 'FAIL'} (at most {BOUND:g})")
    return passed


if __name__ == "__main__":
    main()
