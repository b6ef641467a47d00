"""coco_accumulate of some pictures or a resample of them, and CocoStream: against pycocotools on the same pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops
from tests.coco_reference import Scene, accumulated, assert_same_curves, drawn_scene, evaluated, resampled

SCENE = drawn_scene(0, pictures=10, coarse=True)
MATCHES = SCENE.match()
REFERENCE = evaluated(SCENE)

DRAWS = {
    "each once": np.arange(10),
    "backwards": np.arange(10)[::-1].copy(),
    "some": np.array([7, 2, 3]),
    "one, many times": np.full(6, 4),
    "those without true objects": np.array([8, 9]),
    "that without detections": np.array([1]),
    "none": np.empty(0, np.int64),
}
DRAWS |= {f"resample {seed}": np.random.default_rng(seed).integers(10, size=10) for seed in range(20)}


@pytest.mark.parametrize("name", DRAWS)
def test_drawn_pictures_as_pycocotools(name: str) -> None:
    """With few scores, so that rows of different pictures tie: these go in the order of the draws."""
    wanted = accumulated(resampled(REFERENCE, DRAWS[name]))
    assert_same_curves(ops.coco_accumulate(MATCHES, pictures=DRAWS[name]), wanted)


@pytest.mark.parametrize("seed", range(5))
def test_a_bootstrap_of_distinct_scores_as_pycocotools(seed: int) -> None:
    scene = drawn_scene(seed, pictures=30)
    drawn = np.random.default_rng(seed).integers(30, size=30)
    wanted = accumulated(resampled(evaluated(scene), drawn))
    assert_same_curves(ops.coco_accumulate(scene.match(), pictures=drawn), wanted)


def test_a_choice_of_areas_and_numbers_of_detections() -> None:
    whole = ops.coco_accumulate(MATCHES)
    part = ops.coco_accumulate(MATCHES, areas=["large", "all"], max_detections=[5, 100])
    assert (part.area_names, part.max_detections) == (("large", "all"), (5, 100))
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(getattr(part, name)[..., 1], getattr(whole, name)[..., [3, 0], 2])
    five = ops.coco_accumulate(SCENE.match(protocol=ops.CocoProtocol(max_detections=[5])))
    np.testing.assert_array_equal(part.recall[..., 1, 0], five.recall[..., 0, 0])
    assert list(part.numbers()) == ["AP", "AP50", "AP75", "AP_all", "AR5", "AR100", "AR_all"]


def picture(scene: Scene, i: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    rows, true = scene.pictures == i, scene.truth_pictures == i
    found = (scene.found[rows], scene.scores[rows], scene.class_ids[rows], scene.truths[true])
    return (*found, scene.truth_class_ids[true]), {"truth_areas": scene.truth_areas[true], "crowd": scene.crowd[true]}


def stream_of(scene: Scene, pictures: range) -> ops.CocoStream:
    stream = ops.CocoStream(scene.classes)
    for i in pictures:
        arguments, named = picture(scene, i)
        stream.add(*arguments, **named)
    return stream


def assert_same_matches(a: ops.CocoMatches, b: ops.CocoMatches) -> None:
    arrays = [name for name, value in vars(a).items() if isinstance(value, np.ndarray)]
    assert len(arrays) == 9
    assert a.picture_count == b.picture_count
    for name in arrays:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
        assert getattr(a, name).dtype == getattr(b, name).dtype


def test_picture_by_picture_is_as_all_at_once() -> None:
    stream = stream_of(SCENE, range(10))
    assert len(stream) == 10
    assert_same_matches(stream.matches(), MATCHES)
    assert_same_curves(ops.coco_accumulate(stream.matches()), accumulated(REFERENCE))


def test_more_can_be_added_and_parts_can_be_joined() -> None:
    stream = stream_of(SCENE, range(4))
    before = stream.matches()
    assert before.picture_count == 4
    for i in range(4, 7):
        arguments, named = picture(SCENE, i)
        stream.add(*arguments, **named)
    rest = stream_of(SCENE, range(7, 10))
    assert_same_matches(ops.CocoMatches.joined([stream.matches(), rest.matches()]), MATCHES)
    assert before.picture_count == 4


def test_no_classes_are_confused_when_joined() -> None:
    one, other = drawn_scene(0, classes=3).match(), drawn_scene(0, classes=4).match()
    with pytest.raises(ValueError, match=r"parts\[1\]: expected the protocol and classes of parts\[0\], got others"):
        ops.CocoMatches.joined([one, other])
    with pytest.raises(ValueError, match="expected at least one CocoMatches to join, got none"):
        ops.CocoMatches.joined([])
    with pytest.raises(ValueError, match="expected at least one picture, got none"):
        ops.CocoStream(3).matches()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pictures": np.array([0, 10])}, ValueError, "pictures: expected 0..9, got 0..10"),
        ({"pictures": np.array([-1])}, ValueError, "pictures: expected 0..9, got -1..-1"),
        ({"pictures": np.array([0.5])}, TypeError, "pictures: expected a int64 array of shape [n], got float64 array"),
        ({"areas": ["tiny"]}, ValueError, "areas: expected some of all, small, medium, large, got ['tiny']"),
        ({"areas": []}, ValueError, "areas: expected some of all, small, medium, large, got []"),
        ({"max_detections": [10, 200]}, ValueError, "max_detections: expected rising numbers from 1 to 100, for which"),
        ({"max_detections": [10, 10]}, ValueError, "max_detections: expected rising numbers from 1 to 100, for which"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.coco_accumulate(MATCHES, **arguments)
    assert message in str(caught.value)


def test_numbers_where_nothing_is_to_be_found() -> None:
    numbers = ops.coco_accumulate(MATCHES, pictures=DRAWS["those without true objects"]).numbers()
    assert set(numbers.values()) == {-1.0}
    without_75 = ops.CocoProtocol(iou_thresholds=[0.5, 0.6])
    assert ops.coco_accumulate(SCENE.match(protocol=without_75)).numbers()["AP75"] == -1.0
