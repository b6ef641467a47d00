"""COCO's numbers at the ends that one can tell by hand, intervals, and the operating point counted by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ops
from tests.coco_reference import Scene, accumulated, assert_same_curves, drawn_scene, evaluated, summarised
from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.data.table import BoxSample, Table
from toolkit.evaluation.coco_metrics import Detections, match_detections, precision_curves, summarise
from toolkit.evaluation.detection_metrics import measure_detection
from toolkit.evaluation.operating_point import judge, shipped_answer

NAMES = ("cat", "dog")


def sample(boxes: list[list[float]], classes: list[int], crowd: list[bool] | None = None) -> BoxSample:
    array = np.float32(boxes).reshape(-1, 4)
    areas = (array[:, 2:] - array[:, :2]).prod(1).astype(np.float64)
    flags = np.array(crowd or [False] * len(classes), bool)
    return BoxSample(
        path=Path("x.jpg"), name="x.jpg", size=(100, 100), split="val", group="x",
        boxes=array, class_ids=np.array(classes, np.int64), crowd=flags, areas=areas,
    )  # fmt: skip


def found(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(classes, np.int64))


def summary(table: Table[BoxSample], detections: Sequence[Detections]) -> dict[str, Any]:
    return summarise(match_detections(table, detections), table.class_names)


A, B, FAR = [10.0, 10, 50, 50], [60.0, 60, 90, 90], [0.0, 80, 15, 95]
TABLE = Table(NAMES, (sample([A, B], [0, 1]), sample([A], [0]), sample([], [])))
PERFECT = [found([A, B], [0.9, 0.8], [0, 1]), found([A], [0.7], [0]), found([], [], [])]
NOTHING = [found([], [], [])] * 3


@pytest.mark.parametrize(
    ("detections", "ap50", "cat", "dog"),
    [
        (PERFECT, 1.0, 1.0, 1.0),
        (NOTHING, 0.0, 0.0, 0.0),
        # one of two cats found: precision 1 up to recall 0.5, which covers 51 of COCO's 101 recalls
        ([PERFECT[0], NOTHING[0], NOTHING[0]], (51 / 101 + 1) / 2, 51 / 101, 1.0),
        # classes swapped: nothing is right
        ([found([A, B], [0.9, 0.8], [1, 0]), NOTHING[0], NOTHING[0]], 0.0, 0.0, 0.0),
        # a better scored box elsewhere halves the dog's precision
        ([found([A, B, FAR], [0.9, 0.8, 0.85], [0, 1, 1]), PERFECT[1], NOTHING[0]], 0.75, 1.0, 0.5),
    ],
)
def test_known_ends(detections: list[Detections], ap50: float, cat: float, dog: float) -> None:
    numbers = summary(TABLE, detections)
    assert numbers["AP50"] == pytest.approx(ap50)
    assert numbers["per_class"]["cat"]["AP50"] == pytest.approx(cat)
    assert numbers["per_class"]["dog"]["AP50"] == pytest.approx(dog)
    assert numbers["per_class"]["cat"]["boxes"] == 2
    assert numbers["AP_large"] is None  # no object over 96x96


def test_a_class_without_boxes_has_no_number() -> None:
    numbers = summary(Table(NAMES, (sample([A], [0]),)), [found([A], [0.9], [0])])
    assert numbers["per_class"]["dog"]["AP"] is None
    assert numbers["AP"] == pytest.approx(1.0)


def scattered(pictures: int, seed: int, crowds: bool) -> tuple[Table[BoxSample], list[Detections]]:
    """Objects of two classes, some crowds, and detections of them that are shifted, doubled, missed or wrong."""
    rng = np.random.default_rng(seed)
    samples, answers = [], []
    for _ in range(pictures):
        count = int(rng.integers(0, 5))
        corners = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(8, 40, (count, 2))], axis=1)
        classes = rng.integers(2, size=count)
        samples.append(sample(boxes.tolist(), classes.tolist(), (rng.random(count) < 0.3 * crowds).tolist()))
        given = np.repeat(np.arange(count), rng.integers(0, 3, count))
        moved = boxes[given] + rng.normal(0, 3, (len(given), 4))
        wrong = np.where(rng.random(len(given)) < 0.2, 1 - classes[given], classes[given])
        answers.append(found(moved.tolist(), rng.permutation(1000)[: len(given)] / 1000, wrong.tolist()))
    return Table(NAMES, tuple(samples)), answers


def as_table(scene: Scene) -> tuple[Table[BoxSample], list[Detections]]:
    """What training and evaluation hold of a scene: float32 xyxy, a sample and an answer a picture."""

    def xyxy(boxes: np.ndarray) -> np.ndarray:
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).astype(np.float32)

    samples, answers = [], []
    for i in range(scene.picture_count):
        rows, true = scene.pictures == i, scene.truth_pictures == i
        classes, crowd = scene.truth_class_ids[true].tolist(), scene.crowd[true].tolist()
        samples.append(
            replace(sample(xyxy(scene.truths[true]).tolist(), classes, crowd), areas=scene.truth_areas[true])
        )
        answers.append(Detections(xyxy(scene.found[rows]), np.float32(scene.scores[rows]), scene.class_ids[rows]))
    return Table(tuple(str(k) for k in range(scene.classes)), tuple(samples)), answers


def as_scene(table: Table[BoxSample], answers: list[Detections], scene: Scene) -> Scene:
    """The same in the doubles that pycocotools would read from JSON."""

    def xywh(parts: list[np.ndarray]) -> np.ndarray:
        boxes = np.concatenate(parts).astype(float)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)

    found, truths = xywh([a.boxes for a in answers]), xywh([s.boxes for s in table.samples])
    return replace(scene, found=found, truths=truths, scores=np.concatenate([a.scores for a in answers]).astype(float))


@pytest.mark.parametrize("coarse", [False, True])
def test_validation_as_pycocotools(coarse: bool) -> None:
    """Crowds, areas of the annotations' own, equal scores and overlaps, pictures and a class with nothing in them."""
    scene = drawn_scene(11, pictures=60, classes=5, each=30, coarse=coarse, crowds=0.2)
    table, answers = as_table(scene)
    reference = evaluated(as_scene(table, answers, scene))
    matches = match_detections(table, answers)
    wanted = accumulated(reference)
    assert_same_curves(ops.coco_accumulate(matches), wanted)
    numbers = summarise(matches, table.class_names)
    per_class = numbers.pop("per_class")
    np.testing.assert_allclose(list(numbers.values()), summarised(reference), rtol=0, atol=1e-12)
    assert numbers["AP"] > 0.05
    for k in range(4):
        assert per_class[str(k)]["AP"] == pytest.approx(wanted["precision"][:, :, k, 0, 2].mean(), abs=1e-12)
        assert per_class[str(k)]["AR100"] == pytest.approx(wanted["recall"][:, k, 0, 2].mean(), abs=1e-12)
        assert per_class[str(k)]["boxes"] == (scene.truth_class_ids == k).sum()
    assert per_class["4"] == {"AP": None, "AP50": None, "AR100": None, "boxes": 0}


SHIPPED = DetectionPostprocessing(score_threshold=0.3, iou_threshold=0.6, max_detections=300)


def measure(table: Table[BoxSample], detections: list[Detections], shipped: Any = SHIPPED) -> dict[str, Any]:
    judged = [judge(s, shipped_answer(d, shipped)) for s, d in zip(table.samples, detections, strict=True)]
    return measure_detection(table, match_detections(table, detections), judged, shipped)


def told(table: Table[BoxSample], groups: Sequence[str], sources: Sequence[str]) -> Table[BoxSample]:
    samples = (replace(s, group=g, source=o) for s, g, o in zip(table.samples, groups, sources, strict=True))
    return Table(NAMES, tuple(samples))


def test_intervals_round_by_round() -> None:
    """The groups are drawn as the seed says, and each round is measured as a set of its own."""
    table, answers = scattered(9, 5, False)
    groups, sources = list("aaabbbccc"), list("xxxxxxyyy")
    metrics = measure(told(table, groups, sources), answers)
    rounds = []
    for drawn in np.random.default_rng(0).integers(3, size=(200, 3)):
        chosen = [3 * g + k for g in drawn for k in range(3)]
        repeated = Table(NAMES, tuple(table.samples[i] for i in chosen))
        rounds.append(summary(repeated, [answers[i] for i in chosen]))
    for name in ("AP", "AP50", "AP75"):
        wanted = np.percentile([numbers[name] for numbers in rounds], [2.5, 97.5])
        assert metrics["intervals"][name] == pytest.approx(wanted.tolist())
    for name in ("AP", "AP50"):
        wanted = np.percentile([numbers["per_class"]["cat"][name] for numbers in rounds], [2.5, 97.5])
        assert metrics["intervals"]["per_class"]["cat"][name] == pytest.approx(wanted.tolist())
    assert metrics["intervals"]["method"].startswith("95 % percentile bootstrap over 3 groups of pictures")


def test_sources_and_groups_are_measured_alone_with_intervals() -> None:
    table, answers = scattered(10, 6, False)
    groups, sources = list("aaabbbcccd"), [*"xxxxxxyyy", ""]
    metrics = measure(told(table, groups, sources), answers)
    assert list(metrics["per_group"]) == ["a", "b", "c"]  # d is one picture
    assert list(metrics["per_source"]) == ["x", "y"]
    for key, name, rows in (("per_group", "b", [3, 4, 5]), ("per_source", "x", list(range(6)))):
        alone = measure(Table(NAMES, tuple(table.samples[i] for i in rows)), [answers[i] for i in rows])
        row = metrics[key][name]
        assert row["pictures"] == len(rows)
        assert row["AP"] == pytest.approx(alone["coco"]["AP"])
        assert row["AP50"] == pytest.approx(alone["coco"]["AP50"])
        for number in ("found", "precision_of_boxes", "class_right_of_found"):
            assert row[number] == pytest.approx(alone["operating_point"][number])
        low, high = metrics["intervals"][key][name]["found"]
        assert low <= row["found"] <= high
    assert metrics["intervals"]["per_source"]["y"]["AP"] is None  # one group: nothing is known of others
    assert metrics["intervals"]["per_group"]["c"]["AP"] is not None  # of that group its pictures speak


def test_a_certain_result_has_a_narrow_interval() -> None:
    metrics = measure(told(TABLE, "abc", [""] * 3), PERFECT)
    assert metrics["intervals"]["per_class"]["cat"] == {"AP": pytest.approx([1, 1]), "AP50": pytest.approx([1, 1])}
    assert metrics["intervals"]["operating_point"]["found"] == [1.0, 1.0]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_precision_curves() -> None:
    curves = precision_curves(match_detections(TABLE, PERFECT))
    assert curves.shape == (101, 2)
    np.testing.assert_allclose(curves, 1)


def test_confusion_matrix_counted_by_hand() -> None:
    table = Table(NAMES, (sample([A, B], [0, 1]), sample([A, B], [0, 1], crowd=[False, True])))
    detections = [
        found([A, B, FAR], [0.9, 0.8, 0.7], [1, 1, 0]),  # cat called dog, dog right, a cat out of nothing
        found([B, B], [0.9, 0.1], [1, 1]),  # on a crowd: counts neither way; the other is under the threshold
    ]
    #                          cat dog nothing
    assert measure(table, detections)["operating_point"]["confusion_matrix"] == [[0, 1, 1], [0, 1, 0], [1, 0, 0]]
    judged = judge(table.samples[1], shipped_answer(detections[1], SHIPPED))
    assert (judged.truth.tolist(), judged.missed.tolist()) == ([-2], [0])


def test_the_operating_point() -> None:
    detections = [PERFECT[0], NOTHING[0], found([FAR], [0.6], [0])]
    point = measure(TABLE, detections)["operating_point"]
    assert point["found"] == pytest.approx(2 / 3)
    assert point["precision_of_boxes"] == pytest.approx(2 / 3)
    assert point["class_right_of_found"] == 1.0
    assert point["per_class"]["cat"] == {"recall": 0.5, "precision": 0.5}


@pytest.mark.parametrize(
    ("shipped", "kept"),
    [
        ({}, [0.9, 0.8]),  # B again, at an IoU of 0.65
        ({"iou_threshold": 0.7}, [0.9, 0.8, 0.7]),
        ({"score_threshold": 0.85}, [0.9]),
        ({"max_detections": 1}, [0.9]),
    ],
)
def test_the_shipped_answer(shipped: dict[str, Any], kept: list[float]) -> None:
    """Evaluation asks for more than a bundle gives."""
    near = [60.0, 60, 90, 79.5]
    all_found = found([A, B, near, FAR], [0.9, 0.8, 0.7, 0.1], [0, 1, 1, 0])
    given = shipped_answer(all_found, SHIPPED.model_copy(update=shipped))
    assert given.scores.tolist() == pytest.approx(kept)
