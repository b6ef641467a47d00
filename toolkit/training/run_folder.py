"""The run directory: where a training keeps its config, log, checkpoints, plots and bundle."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.config.load import LoadedConfig, load_config
from toolkit.errors import UserError, suggest

CONFIG, BEST, LAST = "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"
START, SOFTENED = "checkpoints/start.ckpt", "checkpoints/softened.ckpt"  # see `toolkit.training.soften`
RECORD, DATA, RESULTS = "run.json", "data.csv", "results.csv"
LOCK = ".lock"  # held with flock by the process that trains in the directory
RUNS = Path("runs")
SHORT = 16  # hexadecimal digits of a SHA-256 that tell two things apart for a person
SOURCES, HOUSES = Path(__file__).parents[2], ("ops", "toolkit", "zoo")


@dataclass(frozen=True)
class Run:
    """A run directory. ``str(run)`` is its path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def bundle(self) -> Path:
        """Where the exported bundle is, or will be."""
        return self.path / "bundle"

    @property
    def checkpoint(self) -> Path:
        """What is exported: the softened checkpoint where the config asked for one, else `tuned`."""
        softened = self.path / SOFTENED
        return softened if softened.is_file() else self.tuned

    @property
    def tuned(self) -> Path:
        """The best checkpoint, or the last one where none was validated; raises ``UserError`` when there is neither."""
        for name in (BEST, LAST):
            if (self.path / name).is_file():
                return self.path / name
        raise UserError(f"{self.path}: no checkpoint in it; the training stopped before the first one was written")

    @property
    def epochs(self) -> int:
        """How many epochs ``results.csv`` tells of."""
        rows = self.results()
        return int(rows[-1]["epoch"]) if rows else 0

    def results(self) -> list[dict[str, str]]:
        """The rows of ``results.csv``, one an epoch; none before the first epoch has ended."""
        path = self.path / RESULTS
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [row for row in rows if None not in row.values()]  # a kill may cut the last one off

    def config(self, overrides: tuple[str, ...] = ()) -> LoadedConfig:
        """The resolved config that the run was started with."""
        return load_config(self.path / CONFIG, overrides)


def open_run(path: str | Path) -> Run:
    """Return the run at ``path``; raises ``UserError`` when there is none."""
    run = Run(Path(path))
    if (run.path / CONFIG).is_file():
        return run
    if not run.path.exists():
        near = suggest(run.path.name, [each.name for each in run.path.parent.glob("*") if is_run(each)])
        raise UserError(f"{path}: no such run directory{near or '; `toolkit runs list FOLDER` shows what is there'}")
    if run.path.suffix == ".zip" or (run.path / "bundle.yaml").is_file():
        whose = f"the run of this one is {run.path.parent}" if is_run(run.path.parent) else "give a run directory"
        raise UserError(f"{path}: is a bundle, which keeps no record of its training; {whose}")
    raise UserError(f"{path}: expected a run directory with {CONFIG} in it (made by `toolkit train`)")


def is_run(path: str | Path) -> bool:
    """Whether ``path`` is a run directory."""
    return (Path(path) / CONFIG).is_file()


def create_run(loaded: LoadedConfig, folder: str | Path | None) -> Run:
    """Make the run directory, ``runs/NAME/DATE_TIME`` if no folder is given, and write config and environment."""
    path = (
        Path(folder) if folder is not None else RUNS / loaded.config.name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    )
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: the run directory exists and is not empty; give another with --run-dir")
    (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    (path / CONFIG).write_text(loaded.to_yaml(), encoding="utf-8")
    write_json(path / "environment.json", environment())
    return Run(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented UTF-8 JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions and machine, as far as they may change a result."""
    packages = ("cv-toolkit", "torch", "lightning", "numpy", "numba", "opencv-python-headless", "pillow",
                "albumentations", "onnx", "onnxruntime")  # fmt: skip
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": versions,
        "code": _code(),
        "started": now(),
    }


def now() -> str:
    """The time as a run writes it down: ISO 8601 with seconds and the zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _processor() -> str:
    """The processor's model, which kernels and so the last bits of a result depend on."""
    with contextlib.suppress(OSError):  # other systems than Linux
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _code() -> str:
    """A hash of the sources: in a clone they change without a new version."""
    digest = hashlib.sha256()
    for path in sorted(path for house in HOUSES for path in (SOURCES / house).rglob("*.py")):
        digest.update(f"{path.relative_to(SOURCES).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:SHORT]
