"""The demo scripts run as a person would run them, and `toolkit demo` does the whole line."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
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
    settings = ["train.epochs=1", "train.batch_size=4", "train.precision=fp32"]
    settings += ["model.input_size=[64,64]", "data.classes=null"]
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


def test_sort_garbage(tmp_path: Path) -> None:
    """The drawn box looks most like cardboard to a classifier that shows why, and is found by a detector."""
    out = run(tmp_path, str(ROOT / "demos/sort_garbage.py"))
    assert "cardboard_box.jpg: unsure, because cardboard has" in out  # it is a drawing, and so it is well said
    assert re.search(r"^  cardboard 0\.[5-9]", out, re.MULTILINE)
    assert "1 paper" in out  # TrashNet's cardboard counts as paper there
    assert {path.name for path in tmp_path.iterdir()} == {"material_cardboard_box.jpg", "found_cardboard_box.jpg"}


def test_measure_pneumonia(tmp_path: Path) -> None:
    """The drawn slice has two patches that take 19 % of its lungs."""
    out = run(tmp_path, str(ROOT / "demos/measure_pneumonia.py"))
    share = float(out.rsplit(":", 1)[1].split("%")[0])
    assert 10 < share < 30
    assert {path.name for path in tmp_path.iterdir()} == {"measured_chest_slice.jpg", "mask_chest_slice.png"}


def test_night_picture(tmp_path: Path) -> None:
    """The drawn night becomes brighter, and one pass gives what NumPy's do."""
    out = run(tmp_path, str(ROOT / "demos/night_picture.py"))
    before, after = (float(number) for number in re.findall(r"[\d.]+\d", out.splitlines()[0]))
    assert after > 2 * before
    assert float(out.splitlines()[1].split()[-1]) < 1e-5
    seen = cv2.imread(str(tmp_path / "brightened.jpg"))
    assert seen.shape == (1080, 1920, 3)
    assert abs(seen.mean() - after) < 2  # JPEG


def test_the_drawn_pictures_are_those_of_their_script() -> None:
    spec = importlib.util.spec_from_file_location("draw", ROOT / "demos/pictures/draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    committed = cv2.imread(str(ROOT / "demos/pictures/chest_slice.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(committed.astype(int) - module.chest_slice()).max() <= 2  # of grey: libraries may round otherwise
    box = cv2.imread(str(ROOT / "demos/pictures/cardboard_box.jpg"))
    assert np.abs(box.astype(int) - module.cardboard_box()).mean() < 4  # JPEG
