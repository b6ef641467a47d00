"""A new data format, network and loss: each is one new file and one new line, and nothing else is touched.

It is done to a copy of the source, as a person would do it, and a process of its own trains with each.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_sets import draw_masks
from PIL import Image

ROOT = Path(__file__).parents[2]
REGISTRY = "toolkit/config/registry.py"

# What is added: the file, its content, the line in the registry, and the line that it stands under.
READER = '''
"""Pictures whose mask lies beside them: a.jpg and a.mask.png. Every third is held out."""

from pathlib import Path

import numpy as np

from toolkit import images
from toolkit.data.mask_files import read_png
from toolkit.data.table import MaskSample, Table


def read(config, seed, progress=None):
    samples = []
    for index, path in enumerate(sorted(Path(config.root).glob("*.jpg"))):
        file = path.with_suffix(".mask.png")
        mask = read_png(file, str(file))
        samples.append(MaskSample(
            path=path, name=path.name, size=images.decode(path).shape[:2], split="val" if index % 3 == 0 else "train",
            group=path.name, masks=((file, None),), pixels=np.bincount(mask.ravel(), minlength=len(config.classes)),
        ))
    return Table(tuple(config.classes), tuple(samples))
'''
NETWORK = '''
"""Three convolutions."""

from torch import nn


def three_layers(*, num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, num_classes, 1),
    )
'''
LOSS = '''
"""Squared distance of the probabilities to the labels."""

import torch.nn.functional as F


def brier_loss(logits, targets, *, ignore, dice_weight, dice_over, class_weights, kind):
    logits = F.interpolate(logits, size=targets.shape[1:], mode="bilinear")
    valid = targets != ignore
    truth = F.one_hot(targets.long().masked_fill(~valid, 0), logits.shape[1]).movedim(-1, 1)
    distance = (logits.softmax(1) - truth).square().sum(1)
    return {"loss": (distance * valid).sum() / valid.sum(), "pixels": distance.detach().mean()}
'''
ADDED = {
    "format": (
        "toolkit/data/beside.py",
        READER,
        '"beside": "toolkit.data.beside:read",',
        '"masks": "toolkit.data.masks',
    ),
    "network": (
        "zoo/three_layers.py",
        NETWORK,
        '"three_layers": "zoo.three_layers:three_layers",',
        '"unet": "zoo.unet',
    ),
    "loss": ("zoo/brier_loss.py", LOSS, '"brier": "zoo.brier_loss:brier_loss",', '"ce": "zoo.segmentation_loss'),
}

CONFIG = """
name: extended
task: segmentation
data: {{root: {root}, classes: [background, warm, cold], {data}}}
model: {{name: three_layers, input_size: [32, 32]}}
loss: {{kind: {loss}}}
train: {{epochs: 1, batch_size: 4, device: cpu, precision: fp32, ema_decay: null}}
"""
MASK_COLUMNS = "format: csv, group_column: patient, mask_columns: {warm: warm, cold: cold}"
# The network is small, so that its export is quick; the format and the loss are trained with it.
CONFIGS = {"format": ("format: beside", "ce"), "network": (MASK_COLUMNS, "ce"), "loss": (MASK_COLUMNS, "brier")}


def copy_source(copy: Path) -> None:
    """What is imported, as files that can be changed; the operators, with their compiled kernels, as a link."""
    unused = shutil.ignore_patterns("__pycache__", "bundles")
    for folder in ("toolkit", "zoo"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=unused)
    for folder in ("ops", "serve", "configs"):
        (copy / folder).symlink_to(ROOT / folder)


def add(copy: Path, file: str, content: str, line: str, under: str) -> None:
    """Write the new file and the new line, in a place where no file stands."""
    assert not (copy / file).exists()
    (copy / file).write_text(content, encoding="utf-8")
    lines = (copy / REGISTRY).read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = (number for number, text in enumerate(lines) if text.strip().startswith(under))
    indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    lines.insert(place + 1, f"{indent}{line}\n")
    (copy / REGISTRY).write_text("".join(lines), encoding="utf-8")


def masks_beside(folder: Path, drawn: Path) -> None:
    """The drawn pictures in the new format."""
    folder.mkdir()
    for picture in sorted((drawn / "images").glob("*.jpg")):
        shutil.copy(picture, folder / picture.name)
        mask = np.zeros(Image.open(picture).size[::-1], np.uint8)
        for class_id, name in enumerate(("warm", "cold"), 1):
            layer = drawn / "masks" / f"{picture.stem}_{name}.png"
            if layer.exists():
                mask[np.asarray(Image.open(layer)) > 0] = class_id
        Image.fromarray(mask).save(folder / f"{picture.stem}.mask.png")


TRAIN_ALL = """
import sys
from toolkit import api
for name in sys.argv[1:]:
    api.train_from(f"{name}.yaml", run_dir=name)
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each addition, trained by the changed copy of the source."""
    folder = tmp_path_factory.mktemp("extending")
    copy_source(folder / "source")
    for addition in ADDED.values():
        add(folder / "source", *addition)
    (folder / "drawn").mkdir()
    draw_masks(folder / "drawn", pictures=18)
    masks_beside(folder / "beside", folder / "drawn")
    for name, (data, loss) in CONFIGS.items():
        root = folder / ("beside" if name == "format" else "drawn")
        (folder / f"{name}.yaml").write_text(CONFIG.format(root=root, data=data, loss=loss), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder / "source"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_ALL, *CONFIGS], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", sorted(ADDED))
def test_it_trains_measures_and_exports(name: str, workplace: Path) -> None:
    run = workplace / name
    assert json.loads((run / "bundle/parity.json").read_text())["passed"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["confusion_labels"] == ["background", "warm", "cold"]
    assert "epoch 1/1: loss " in (run / "train.log").read_text()


def test_the_new_format_was_read(workplace: Path) -> None:
    """Its own split: every third picture, where the table of the drawn set holds back six of one patient."""
    labels = json.loads((workplace / "format/labels.json").read_text())
    assert labels["pictures"] == {"train": 12, "val": 6, "test": 0}
    seen = {path.stem.split("_")[-1] for path in (workplace / "format/validation").glob("*.jpg")}
    assert seen == {"000", "003", "006", "009", "012", "015"}


def test_the_new_network_was_trained(workplace: Path) -> None:
    """Anyone can predict with its bundle: it needs none of the code."""
    import toolkit

    model = toolkit.load(workplace / "network", "cpu")
    assert model.spec.network.architecture == "three_layers"
    picture = workplace / "drawn/images/000.jpg"
    assert model.predict_one(picture).image_size == Image.open(picture).size[::-1]


def test_the_new_loss_was_minimised(workplace: Path) -> None:
    """Its values: a squared distance of probabilities is at most 2, and it has no Dice."""
    header, row = (workplace / "loss/results.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert 0 < float(values["train/loss"]) < 2
    assert values["train/dice"] == ""
    other = (workplace / "network/results.csv").read_text().splitlines()
    assert dict(zip(header.split(","), other[1].split(","), strict=True))["train/dice"] != ""


def test_nothing_else_was_touched(workplace: Path) -> None:
    """Three files more and three lines more than the source has; every other file is the same."""
    copy = workplace / "source"
    for folder in ("toolkit", "zoo"):
        for path in (copy / folder).rglob("*.py"):
            name = path.relative_to(copy).as_posix()
            if name in {file for file, *_ in ADDED.values()}:
                assert not (ROOT / name).exists()
            elif name == REGISTRY:
                lines, before = (p.read_text(encoding="utf-8").splitlines() for p in (path, ROOT / name))
                added = [line.strip() for line in lines if line not in before]
                assert sorted(added) == sorted(line for _, _, line, _ in ADDED.values())
                assert [line for line in lines if line.strip() not in added] == before
            else:
                assert path.read_bytes() == (ROOT / name).read_bytes(), name


def test_a_config_knows_the_new_names(workplace: Path) -> None:
    """They are suggested, explained and in the schema for editors like any other."""
    environment = {**os.environ, "PYTHONPATH": str(workplace / "source"), "PYTHONDONTWRITEBYTECODE": "1"}
    code = (
        "from toolkit.config import explain, parse_config, schema; from toolkit.errors import UserError\n"
        "assert all(name in str(schema()) for name in ('beside', 'three_layers', 'brier'))\n"
        "print(explain('model.name'), explain('data.format'), explain('loss.kind'))\n"
        "try: parse_config(open('network.yaml').read(), overrides=['model.name=three_layer'])\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for words in ("three_layers", "beside", "'brier'", "did you mean 'three_layers'?"):
        assert words in done.stdout
