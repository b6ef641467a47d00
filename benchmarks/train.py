"""Training throughput beside a plain PyTorch loop on the same network and pictures.

    python -m benchmarks.train [--task classification detection] [--rounds 3] [--epochs 3] [--pictures 320]
                               [--data DATA]

Each measurement is a process of its own and the two take turns. Ours is `toolkit train` with its defaults, read from
the run's results.csv; the peer is `benchmarks/plain_train.py`. Pictures are drawn, or taken from
DATA/garbage_classification and DATA/mask_detection. Only epochs of training count: no start, no validation, no export.
Ours decodes pictures in the first epoch only, so that one stands by itself. Then
`toolkit benchmark train` times loading and computing each alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from toolkit.config import parse_config
from toolkit.data import load_table
from toolkit.data.shapes import draw_set

JITTER = {"ColorJitter": {"brightness": [0.6, 1.4], "contrast": [0.6, 1.4], "saturation": [0.5, 1.5],
                          "hue": [-0.03, 0.03], "p": 0.8}}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "classification": {
        "model": {"name": "mobilenet_v2", "input_size": [224, 224]},
        "augment": {
            "albumentations": [
                {"RandomResizedCrop": {"size": [224, 224], "scale": [0.4, 1.0], "p": 1.0}},
                {"HorizontalFlip": {"p": 0.5}},
                JITTER,
            ]
        },
        "loss": {"smoothing": 0.1},
        "train": {"batch_size": 32, "clip_norm": 5.0, "ema_decay": 0.998},
    },
    "detection": {
        "model": {"name": "yolox_nano", "input_size": [416, 416]},
        "augment": {
            "mosaic": {"probability": 0.5, "off_epochs": 0},
            "zoom": {"probability": 0.8, "object_size": [24, 350]},
            "albumentations": [{"HorizontalFlip": {"p": 0.5}}, JITTER],
        },
        "train": {"batch_size": 16, "clip_norm": 10.0, "ema_decay": 0.996},
    },
}
LR = 1e-3

# The run ends with its last epoch: what the toolkit does after it, the peer does not do.
OURS = """
import sys
from toolkit import api
from toolkit.training import train
train._finish = lambda run, *_: run
api.train_from(sys.argv[1], run_dir=sys.argv[2])
"""


def data_block(task: str, data: Path | None, pictures: int, folder: Path) -> dict[str, Any]:
    """The pictures, drawn or a part of the given ones, as links."""
    if data is None:
        size = (288, 288) if task == "classification" else (480, 640)
        draw_set(folder, pictures=pictures, size=size, val_fraction=0.1, kind=TO_DRAW[task])
        return {"format": "shapes", "root": str(folder), "pictures": pictures, "size": list(size)}
    if task == "classification":
        source = data / "garbage_classification"
        classes = sorted(each for each in source.iterdir() if each.is_dir())
        for each in classes:
            (folder / each.name).mkdir(parents=True)
            for file in sorted(each.iterdir())[: pictures // len(classes)]:
                (folder / each.name / file.name).symlink_to(file.resolve())
        return {"format": "folders", "root": str(folder)}
    source = data / "mask_detection"
    labels = json.loads((source / "annotations.json").read_text())
    labels["images"] = labels["images"][:pictures]
    known = {each["id"] for each in labels["images"]}
    labels["annotations"] = [each for each in labels["annotations"] if each["image_id"] in known]
    (folder / "images").mkdir(parents=True)
    for each in labels["images"]:
        (folder / "images" / each["file_name"]).symlink_to((source / "images" / each["file_name"]).resolve())
    (folder / "annotations.json").write_text(json.dumps(labels))
    return {"format": "coco", "root": str(folder)}


TO_DRAW = {"classification": "labels", "detection": "boxes"}


def prepare(task: str, given: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Write the config of ours and the specification of the peer's; both train on the same pictures."""
    data = data_block(task, given.data and given.data.resolve(), given.pictures, folder / "pictures")
    config = {"name": "benchmark", "task": task, "data": data, **CONFIGS[task]}
    config["train"] = {
        **config["train"], "epochs": given.epochs, "validate_every": given.epochs, "device": given.device,
        "optimizer": {"name": "adamw", "lr": LR},
    }  # fmt: skip
    text = yaml.safe_dump(config)
    (folder / "ours.yaml").write_text(text)
    checked = parse_config(text, name="ours.yaml", directory=folder).config
    table = load_table(checked)
    samples = [
        [str(s.path), s.boxes[~s.crowd].tolist(), s.class_ids[~s.crowd].tolist()]
        if task == "detection"
        else [str(s.path), s.class_id]
        for s in table.subset("train").samples
    ]
    augment, train = config["augment"], config["train"]
    spec = {
        "task": task, "device": given.device, "samples": samples, "classes": len(table.class_names), "lr": LR,
        "size": config["model"]["input_size"], "albumentations": augment["albumentations"], "epochs": given.epochs,
        "batch_size": train["batch_size"], "clip_norm": train["clip_norm"], "ema_decay": train["ema_decay"],
        "smoothing": config.get("loss", {}).get("smoothing", 0.0),
        "mosaic": augment.get("mosaic", {}).get("probability"), "zoom": augment.get("zoom", {}).get("probability"),
        "object_size": augment.get("zoom", {}).get("object_size"),
    }  # fmt: skip
    (folder / "plain.json").write_text(json.dumps(spec))
    print(f"{len(samples)} pictures to train on, {given.epochs} epochs")
    return folder / "ours.yaml", folder / "plain.json"


def ours(config: Path, run: Path) -> dict[str, list[float]]:
    called([sys.executable, "-c", OURS, str(config), str(run)])
    with (run / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    precision = yaml.safe_load((run / "config.yaml").read_text())["train"]["precision"]
    return {
        "rates": [float(row["pictures_per_second"]) for row in rows],
        "losses": [float(row["train/loss"]) for row in rows],
        "precision": precision,
    }


def plain(spec: Path) -> dict[str, list[float]]:
    return json.loads(called([sys.executable, "-m", "benchmarks.plain_train", str(spec)]).splitlines()[-1])


def parts(config: Path) -> dict[str, float]:
    """Pictures a second of loading alone and of computing alone, by `toolkit benchmark train`."""
    command = [sys.executable, "-m", "toolkit.cli.main", "benchmark", "train", str(config), "--steps", "16", "--json"]
    return json.loads(called(command))["pictures_per_second"]


def called(command: list[str]) -> str:
    """What a process prints, started without the settings that this one may have of torch's threads and memory."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_", "LD_PRELOAD"))
    }
    done = subprocess.run(command, env={**kept, "NO_ALBUMENTATIONS_UPDATE": "1"}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def told(values: list[float], digits: int = 1) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def compare(task: str, given: argparse.Namespace, folder: Path) -> None:
    network = CONFIGS[task]["model"]
    print(f"\n{task}: {network['name']} at {network['input_size']}, {CONFIGS[task]['train']['batch_size']} a step")
    config, spec = prepare(task, given, folder)
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "plain": []}
    for number in range(given.rounds):
        found["ours"].append(ours(config, folder / f"run{number}"))
        found["plain"].append(plain(spec))
    print("| | first epoch, pictures/s | later epochs, pictures/s | loss of the last epoch |\n|---|---|---|---|")
    later: dict[str, list[float]] = {}
    for name, runs in found.items():
        later[name] = [statistics.mean(run["rates"][1:]) for run in runs]
        label = f"{name} ({runs[0]['precision']})" if name == "ours" else f"{name} (fp32)"
        first, loss = [run["rates"][0] for run in runs], [run["losses"][-1] for run in runs]
        print(f"| {label} | {told(first)} | {told(later[name])} | {told(loss, 3)} |")
    ratios = [a / b for a, b in zip(later["ours"], later["plain"], strict=True)]
    print(f"ours / plain, later epochs: {told(ratios, 2)}")
    alone = [parts(config) for _ in range(given.rounds)]
    for name, key in (("pictures in the cache", "data_warm"), ("pictures to be decoded", "data_cold")):
        rates = [each[key] for each in alone]
        ratios = [each[key] / each["compute"] for each in alone]
        print(f"loading alone, {name}: {told(rates)} pictures/s, {told(ratios)} times what the network consumes alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=320)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, help="folder with garbage_classification and mask_detection")
    given = parser.parse_args()
    if given.epochs < 2:
        parser.error("--epochs: expected 2 or more, as the first epoch stands by itself")
    versions = {
        n: metadata.version(n) for n in ("torch", "numba", "albumentations", "opencv-python-headless", "pillow")
    }
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"{given.rounds} rounds, a process each in turn; median (lowest-highest)")
    for task in given.task:
        with tempfile.TemporaryDirectory() as folder:
            compare(task, given, Path(folder))


if __name__ == "__main__":
    main()
