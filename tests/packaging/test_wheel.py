"""The built wheel in an environment without torch, outside the clone: configs and bundle are in it, and it serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
BASE = Path(os.environ.get("TOOLKIT_BASE_ENV", ROOT / ".venv-base")) / "bin"
ABSENT = ("torch", "lightning", "albumentations", "pycocotools", "onnx", "matplotlib")


@pytest.fixture(scope="module")
def base() -> Path:
    """The scripts' folder of the base environment, which `make` builds."""
    assert (BASE / "python").exists(), f"{BASE.parent} is missing: run `make` first, it builds the wheel into it"
    return BASE


def run(base: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(base / command[0]), *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_environment_is_the_wheel_without_training(base: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, toolkit, json; "
        f"print(json.dumps([toolkit.__file__, [n for n in {ABSENT!r} if u.find_spec(n)]]))"
    )
    where, present = json.loads(run(base, tmp_path, "python", "-c", code).stdout)
    assert Path(where).is_relative_to(BASE.parent.resolve()) or Path(where).is_relative_to(BASE.parent)
    assert present == []


def test_configs_and_bundle_are_inside(base: Path, tmp_path: Path) -> None:
    assert "mask_detection" in run(base, tmp_path, "toolkit", "zoo").stdout
    assert "yolox_nano" in run(base, tmp_path, "toolkit", "config", "show", "quickstart").stdout
    assert (
        "py.typed"
        in run(
            base, tmp_path, "python", "-c", "import toolkit, os; print(os.listdir(os.path.dirname(toolkit.__file__)))"
        ).stdout
    )


def test_the_clone_finds_its_configs_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.cli.main", "config", "show", "quickstart"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "yolox_nano" in done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "zoo/bundles").iterdir() if path.is_dir()))
def test_it_predicts_and_serves_without_torch(name: str, base: Path, tmp_path: Path) -> None:
    """Every shipped bundle, by the command line and over HTTP."""
    picture = tmp_path / "street.jpg"
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(picture)
    predicted = json.loads(run(base, tmp_path, "toolkit", "predict", name, "street.jpg", "--json").stdout)
    code = (
        "from toolkit.demo import service; import urllib.request as r\n"
        f"with service({name!r}) as url:\n"
        "    request = r.Request(url.rstrip('/') + '/predict', open('street.jpg','rb').read())\n"
        "    print(r.urlopen(request).read().decode())\n"
    )
    told = run(base, tmp_path, "python", "-c", code).stdout.splitlines()
    answered = json.loads(next(line for line in told if line.startswith("{")))
    for answer in (predicted, answered):
        del answer["source"], answer["timing"]
    assert predicted == answered


def test_training_without_its_extra_says_what_to_install(base: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(base / "toolkit"), "train", "quickstart"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "pip install 'cv-toolkit[train]'" in done.stderr
    assert "Traceback" not in done.stderr
