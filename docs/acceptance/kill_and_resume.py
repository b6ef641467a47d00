"""Kill a training at random steps, resume it, and compare the end with that of a run that nobody killed.

    python docs/acceptance/kill_and_resume.py [--kills 20] [--seed 0]

Mosaic, zoom, albumentations and the moving average are on; the kills meet 0 and 2 loader workers in turn. A kill is
SIGKILL at a random moment after a random step has begun: in its forward or backward pass, in a validation, or while a
resume point is being written. Compared are all tensors of the resume point (weights, moving average, optimizer), of the
best checkpoint, and the rows of results.csv but for the time they took.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

EPOCHS, BATCHES = 4, 8
TIMES = ("seconds", "pictures_per_second")
CONFIG = f"""
name: killed
task: detection
seed: 3
data: {{format: shapes, root: shapes, pictures: 40, size: [96, 128], val_fraction: 0.2}}
model: {{name: yolox_nano, input_size: [64, 64], init: "zoo:mask_detection"}}
augment:
  mosaic: {{probability: 0.5, off_epochs: 1}}
  zoom: {{probability: 0.5}}
  albumentations: [{{HorizontalFlip: {{p: 0.5}}}}, {{ColorJitter: {{p: 0.5}}}}, {{GaussNoise: {{p: 0.3}}}}]
train:
  {{epochs: {EPOCHS}, batch_size: 4, validate_every: 2, device: cpu, precision: fp32, checkpoint_every: 3,
    estimate_bn_batches: 2}}
"""

# The command line without the export at its end, in a process that kills itself DELAY seconds after step KILL began.
PROCESS = """
import os, signal, sys, threading, time
kill, delay = int(sys.argv.pop(1)), float(sys.argv.pop(1))
import toolkit.training.train as train
from toolkit.training.module import TaskModule
train._finish = lambda run, *_: run
inner = TaskModule.training_step
def training_step(self, batch, batch_idx):
    if self.trainer.global_step == kill:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return inner(self, batch, batch_idx)
TaskModule.training_step = training_step
sys.argv[0] = "toolkit"
from toolkit.cli.main import main
main()
"""


def toolkit(folder: Path, *arguments: str, kill: int = -1, delay: float = 0) -> int:
    """Run the command line in ``folder`` and return its exit code, negative where a signal ended it."""
    command = [sys.executable, "-c", PROCESS, str(kill), str(delay), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode not in (0, -9):
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.returncode


def digest(run: Path) -> dict[str, str]:
    """A hash of each thing that must come out the same."""
    found = {}
    for name in ("last", "best"):
        state = torch.load(run / f"checkpoints/{name}.ckpt", map_location="cpu", weights_only=True)
        for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
            found[f"{name}.{part}"] = hash_of(state[part])
    with (run / "results.csv").open(newline="") as file:
        rows = [
            {k: v for k, v in row.items() if k not in ("seconds", "pictures_per_second")}
            for row in csv.DictReader(file)
        ]
    return {**found, "results.csv": hash_of(rows)}


def hash_of(value: Any) -> str:
    sha = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, torch.Tensor):
            sha.update(part.contiguous().numpy().tobytes())
        elif isinstance(part, dict):
            for key in sorted(part, key=str):
                sha.update(str(key).encode())
                add(part[key])
        elif isinstance(part, list | tuple):
            for item in part:
                add(item)
        else:
            sha.update(repr(part).encode())

    add(value)
    return sha.hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the steps and moments of the kills")
    given = parser.parse_args()
    draw = random.Random(given.seed)
    equal = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "killed.yaml").write_text(CONFIG)
        toolkit(folder, "train", "killed.yaml", "--run-dir", "whole")
        whole = digest(folder / "whole")
        print(f"nobody killed it: {EPOCHS * BATCHES} steps, {whole}")
        for number in range(given.kills):
            workers, kill, delay = number % 2 * 2, draw.randrange(EPOCHS * BATCHES), round(draw.uniform(0, 0.5), 3)
            run = f"run{number}"
            start = ("train", "killed.yaml", f"data.workers={workers}", "--run-dir", run)
            if toolkit(folder, *start, kill=kill, delay=delay) == 0:
                print(f"{number + 1:2}: was over before the kill")
                continue
            toolkit(folder, "train", "--resume", run)
            log = (folder / run / "train.log").read_text().splitlines()
            again = next((line[9:].split(";")[0] for line in log if "resumed after" in line), "no resume point yet")
            found = digest(folder / run)
            differing = [key for key, value in whole.items() if found[key] != value]
            equal += not differing
            verdict = f"differs in {', '.join(differing)}" if differing else "equal"
            print(
                f"{number + 1:2}: {workers} workers, killed {delay:.3f} s into step {kill}, {again}: {verdict}",
                flush=True,
            )
    print(f"{equal} of {given.kills} resumed runs ended bit-equal")
    sys.exit(equal != given.kills)


if __name__ == "__main__":
    main()
