"""Training a detector: crowds are not learnt, and validation is COCO's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from ops import Placement
from toolkit.config import parse_config
from toolkit.data import BoxSample, Table
from toolkit.evaluation.coco_metrics import Detections
from toolkit.evaluation.task import evaluation_task
from toolkit.training.detection import TASK, DetectionModule, DetectionSet, check
from toolkit.training.network import build_network, preprocessing_of

NAMES = ("cat", "dog")
CONFIG = parse_config("""
name: tiny
task: detection
data: {format: coco, root: .}
model: {name: yolox_nano, input_size: [64, 96]}
augment: {mosaic: {probability: 0.0}, zoom: {probability: 0.0}}
""").config


def sample(boxes: list[list[float]], classes: list[int], crowd: list[bool] | None = None, path: str = "x") -> BoxSample:
    array = np.float32(boxes).reshape(-1, 4)
    return BoxSample(
        path=Path(path), name="x.png", size=(64, 96), split="val", group="",
        boxes=array, class_ids=np.array(classes, np.int64), crowd=np.array(crowd or [False] * len(classes), bool),
        areas=(array[:, 2:] - array[:, :2]).prod(1).astype(np.float64),
    )  # fmt: skip


A, B = [10.0, 10, 40, 50], [50.0, 20, 90, 60]
TRUTH = Table(NAMES, (sample([A, B], [0, 1]), sample([], [])))


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(classes, np.int64))


@pytest.mark.parametrize(
    ("answer", "found_at_half"),
    [
        (found([A, B], [0.9, 0.8], [0, 1]), 1.0),
        (found([A], [0.9], [0]), 0.5),
        (found([A, B], [0.9, 0.8], [1, 0]), 0.0),
        (found([], [], []), 0.0),
    ],
)
def test_validation_numbers(answer: Detections, found_at_half: float) -> None:
    module = DetectionModule(nn.Identity(), CONFIG, TRUTH, TRUTH, total_steps=1)
    numbers = module.numbers([answer, found([], [], [])])
    assert numbers["AP50"] == pytest.approx(found_at_half)
    assert tuple(numbers) == TASK.numbers


def test_where_there_is_nothing_to_find_the_numbers_are_zero() -> None:
    """A logger takes no None; COCO's -1 would look like a measurement."""
    empty = Table(NAMES, (sample([], []),))
    module = DetectionModule(nn.Identity(), CONFIG, empty, empty, total_steps=1)
    assert module.numbers([found([], [], [])]) == dict.fromkeys(TASK.numbers, 0.0)


def test_crowds_are_drawn_but_not_learnt(tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    Image.fromarray(np.full((64, 96, 3), 90, np.uint8)).save(picture)
    table = Table(NAMES, (sample([A, B], [0, 1], [False, True], str(picture)),))
    data = DetectionSet(table, CONFIG, preprocessing_of(CONFIG))
    np.testing.assert_array_equal(data.labelled(0).class_ids, [0])
    _, target, _ = data[0, 0]
    np.testing.assert_array_equal(target.class_ids, [0])
    np.testing.assert_allclose(target.boxes, [A], atol=1e-4)
    image = np.full((64, 96, 3), 90, np.uint8)
    drawn = evaluation_task("detection").draw_truth(image, table.samples[0], NAMES)
    assert (drawn[22:58, 50:90] != image[22:58, 50:90]).any()  # around the crowd


def test_an_answer_is_decoded_as_the_bundle_decodes_it() -> None:
    import ops

    network = build_network(CONFIG.model, 2)
    module = DetectionModule(network, CONFIG, TRUTH, TRUTH, total_steps=1)
    cells = sum(64 // s * (96 // s) for s in network.strides)
    raw = np.random.default_rng(0).normal(0, 1, (cells, 7)).astype(np.float32)
    answer = module.answer(raw, Placement(1.0, 1.0, 0, 0), 0)
    expected: Any = ops.decode_detections(
        raw, input_size=(64, 96), strides=network.strides, placement=Placement(1.0, 1.0, 0, 0), image_size=(64, 96),
        score_threshold=0.001, iou_threshold=0.65, max_detections=100,
    )  # fmt: skip
    for part, wanted in zip((answer.boxes, answer.scores, answer.class_ids), expected, strict=True):
        np.testing.assert_array_equal(part, wanted)
    assert len(answer.scores) == 100


def test_any_config_fits_any_boxes() -> None:
    check(CONFIG, TRUTH)
