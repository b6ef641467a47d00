"""The demo scripts run as a person would run them, and `toolkit demo` does the whole line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.data.shapes import draw_set
from toolkit.demo import sample_photo

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_predict(tmp_path: Path) -> None:
    out = run(tmp_path, str(ROOT / "demos/predict.py"), str(sample_photo()))
    assert "without_mask" in out
    assert (tmp_path / "seen.jpg").stat().st_size > 10_000


def test_train_own_folder(tmp_path: Path) -> None:
    draw_set(tmp_path / "mine", pictures=20, size=(96, 96), val_fraction=0.3, seed=0)
    settings = ["train.epochs=1", "model.input_size=[64,64]", "data.classes=null", "train.batch_size=4"]
    out = run(tmp_path, str(ROOT / "demos/train_own_folder.py"), "mine", *settings)
    assert "AP50" in out
    assert (tmp_path / "bundle/bundle.yaml").is_file()


def test_export_serve_call(tmp_path: Path) -> None:
    out = run(tmp_path, str(ROOT / "demos/export_serve_call.py"), "mask_detection", str(sample_photo()))
    assert '"labels"' in out
    assert "without_mask" in out


@pytest.mark.parametrize("script", ["predict.py", "train_own_folder.py", "export_serve_call.py"])
def test_a_demo_without_arguments_says_how_to_call_it(script: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "demos" / script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"python demos/{script}" in done.stderr
