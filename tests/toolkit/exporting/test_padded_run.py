"""A run whose pictures are padded to a multiple only: validated, exported, measured and served by that one rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import ops
import toolkit
from serve.app import create_app
from serve.inprocess import InProcessClient
from toolkit import images
from toolkit.api import train_from
from toolkit.bundle import Bundle, write_bundle
from toolkit.config import load_config
from toolkit.data import BoxSample, Table
from toolkit.demo import sample_photo
from toolkit.inference import Model, check_golden, load
from toolkit.training.dataset import ValidationSet
from toolkit.training.detection import DetectionModule
from toolkit.training.loader import validation_loader
from toolkit.training.network import build_network, preprocessing_of
from toolkit.training.weights import network_weights, read_checkpoint

# It begins with the shipped face detector, and at this learning rate and with its batch-norm statistics it stays one.
CONFIG = """
name: padded
task: detection
data: {{format: shapes, root: {root}, pictures: 12, size: [96, 160], val_fraction: 0.3}}
model: {{name: yolox_nano, input_size: [256, 256], init: "zoo:mask_detection"}}
preprocess: {{pad_multiple: 32}}
train:
  {{epochs: 1, batch_size: 4, optimizer: {{name: adamw, lr: 1e-8}}, freeze_bn_statistics: true, ema_decay: null,
    device: cpu, precision: fp32}}
postprocess: {{score_threshold: 0.25}}
"""
SIZES = [(200, 400), (400, 200), (300, 300), (200, 300), (150, 400)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("padded")
    (folder / "padded.yaml").write_text(CONFIG.format(root=folder / "pictures"), encoding="utf-8")
    return train_from(folder / "padded.yaml", run_dir=folder / "run").path


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load(run, "cpu", threads=1)


@pytest.fixture(scope="module")
def whole(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same network in a bundle that pads all pictures to the same square."""
    bundle = Bundle.open(run / "bundle")
    square = bundle.spec.preprocessing.model_copy(update={"pad_multiple": None})
    spec = bundle.spec.model_copy(update={"preprocessing": square, "files": {}})
    path = tmp_path_factory.mktemp("whole") / "bundle"
    write_bundle(path, spec, {"model.onnx": bundle.network_bytes()})
    return load(path, "cpu", threads=1)


def faces(size: tuple[int, int]) -> np.ndarray:
    """A picture of that (height, width) with a face or two in it, away from its borders."""
    portrait = images.decode(sample_photo())
    side = min(size) * 3 // 4
    small, _ = ops.resize_normalize(portrait[20:420, 60:460], (side, side))
    picture = np.full((*size, 3), 128, np.uint8)
    face = np.clip(np.round(small.transpose(1, 2, 0)), 0, 255).astype(np.uint8)
    for share in (0.0, 1.0) if max(size) >= 2 * side else (0.5,):
        top, left = (int((length - side) * (share if length == max(size) else 0.5)) for length in size)
        picture[top : top + side, left : left + side] = face
    return picture


def test_the_bundle_says_so(run: Path, model: Model) -> None:
    assert (
        yaml.safe_load((run / "bundle/bundle.yaml").read_text(encoding="utf-8"))["preprocessing"]["pad_multiple"] == 32
    )
    assert [model.input_size_for(*size) for size in SIZES] == [
        (128, 256), (256, 128), (256, 256), (192, 256), (96, 256)
    ]  # fmt: skip
    certificate = json.loads((run / "bundle/parity.json").read_text(encoding="utf-8"))
    assert certificate["passed"]
    assert certificate["pictures"] == 4
    assert "yolox_nano at up to 256x256 pixels" in (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    golden = {model.input_size_for(*images.decode(path).shape[:2]) for path in (run / "bundle/golden").glob("*.png")}
    assert len(golden) == 2  # of several shapes
    assert check_golden(model) == []


def test_it_is_measured_to_the_same_bytes(run: Path) -> None:
    measured = toolkit.evaluate(run)
    assert measured == json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert measured["settings"]["input_size"] == [256, 256]
    assert measured["settings"]["pad_multiple"] == 32


def test_a_square_picture_has_the_same_answer_to_the_bit(model: Model, whole: Model) -> None:
    picture = faces((300, 300))
    for score_threshold in (None, 0.001):
        answers = [each.run_batch([picture], score_threshold=score_threshold)[0] for each in (model, whole)]
        assert len(answers[0].boxes)
        for name in ("boxes", "scores", "class_ids"):
            np.testing.assert_array_equal(*(getattr(answer, name) for answer in answers))


@pytest.mark.parametrize("size", [(200, 400), (400, 200), (150, 400)])
def test_an_oblong_picture_has_the_same_boxes_but_for_what_lies_beyond_it(
    size: tuple[int, int], model: Model, whole: Model
) -> None:
    """Where the square has grey below the picture, the padded one ends: the network sees that far, and faintly."""
    picture = faces(size)
    padded, square = (each.run_batch([picture])[0] for each in (model, whole))
    assert len(square.boxes) == 2
    assert sorted(padded.class_ids) == sorted(square.class_ids)
    overlap = ops.box_iou(padded.boxes, square.boxes)
    assert overlap.max(1).min() > 0.9
    np.testing.assert_allclose(padded.scores, square.scores[overlap.argmax(1)], atol=0.1)


def test_shapes_in_one_call_and_the_service_answer_alike(model: Model) -> None:
    pictures = [faces(size) for size in SIZES]
    with InProcessClient(create_app(model)) as client:
        for picture, together in zip(pictures, model.run_batch(pictures), strict=True):
            served: dict[str, Any] = client.predict(images.encode(picture, ".png"))
            assert served["image_size"] == list(together.image_size) == list(picture.shape[:2])
            assert served["labels"] == together.labels
            np.testing.assert_allclose(served["boxes"], together.boxes, atol=0.1)
            assert len(together.boxes)


def test_validation_pads_as_prediction_does(run: Path, model: Model, tmp_path: Path) -> None:
    """Each picture's answer in training, in batches of mixed shapes, is the bundle's."""
    samples = []
    for index, size in enumerate(SIZES):
        path = tmp_path / f"{index}.png"
        path.write_bytes(images.encode(faces(size), ".png"))
        nothing = {"boxes": np.empty((0, 4), np.float32), "class_ids": np.empty(0, np.int64)}
        empty = {"crowd": np.empty(0, bool), "areas": np.empty(0)}
        samples.append(BoxSample(path=path, name=path.name, size=size, split="val", group="", **nothing, **empty))
    table = Table(model.labels, tuple(samples))
    config = load_config(run / "config.yaml").config
    network = build_network(config.model, 3)
    network.load_state_dict(network_weights(read_checkpoint(run / "checkpoints/best.ckpt")))
    module = DetectionModule(network, config, table, table, total_steps=1).eval()
    with torch.inference_mode():
        for number, batch in enumerate(validation_loader(ValidationSet(table, preprocessing_of(config), 1), 4)):
            module.validation_step(module.transfer_batch_to_device(batch, torch.device("cpu"), 0), number)
    options = {"score_threshold": 0.25, "iou_threshold": 0.65, "max_detections": 100}
    for index, path in enumerate(sorted(tmp_path.iterdir())):
        bundles, trainings = model.predict_one(path, **options), module._found[index]  # type: ignore[arg-type]
        surest = trainings.scores >= 0.25  # it keeps all of them
        assert surest.sum() == len(bundles.boxes) > 0
        np.testing.assert_allclose(trainings.boxes[surest], bundles.boxes, atol=0.05)
        np.testing.assert_array_equal(trainings.class_ids[surest], bundles.class_ids)
