"""What several test files share: helpers lie in this folder, and a small bundle that needs no torch is made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle folder, shared by the whole run: a test that changes files makes its own."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny")


QUICK = """
name: quick
task: detection
seed: 1
data: {{format: shapes, root: {root}, pictures: 20, size: [96, 96], val_fraction: 0.3}}
model: {{name: yolox_nano, input_size: [64, 64], init: "zoo:mask_detection"}}
augment: {{zoom: {{probability: 0.5}}, albumentations: [{{HorizontalFlip: {{p: 0.5}}}}]}}
train: {{epochs: 2, batch_size: 4, validate_every: 1, device: cpu, estimate_bn_batches: 2}}
postprocess: {{score_threshold: 0.005}}
bundle: {{intended_use: Tests., licence: CC0-1.0}}
"""


@pytest.fixture(scope="session")
def quick_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that trains in seconds on drawn pictures."""
    folder = tmp_path_factory.mktemp("quick")
    config = folder / "quick.yaml"
    config.write_text(QUICK.format(root=folder / "shapes"), encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def quick_run(quick_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of `quick_config`, shared: a test that changes it makes a copy."""
    from toolkit.api import train_from

    return train_from(quick_config, run_dir=tmp_path_factory.mktemp("runs") / "quick").path
