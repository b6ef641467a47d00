"""coco_accumulate and coco_average_precision of weighed pictures, and CocoStream: against pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops
from tests.coco_reference import Scene, accumulated, assert_same_curves, drawn_scene, evaluated, weighed

SCENE = drawn_scene(0, pictures=10, coarse=True)
MATCHES = SCENE.match()
REFERENCE = evaluated(SCENE)

WEIGHTS = {
    "each once": np.ones(10, np.int64),
    "some": np.array([0, 1, 0, 1, 0, 0, 1, 0, 0, 1]),
    "one, many times": np.array([0, 0, 0, 0, 6, 0, 0, 0, 0, 0]),
    "those without true objects": np.array([0] * 8 + [1, 1]),
    "that without detections": np.array([0, 1] + [0] * 8),
    "none": np.zeros(10, np.int64),
}
WEIGHTS |= {str(seed): np.random.default_rng(seed).integers(0, 4, 10) for seed in range(15)}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weighed_pictures_as_pycocotools(name: str) -> None:
    """With few scores, so that rows of one picture and of different ones tie."""
    wanted = accumulated(weighed(REFERENCE, WEIGHTS[name]))
    assert_same_curves(ops.coco_accumulate(MATCHES, weights=WEIGHTS[name]), wanted)


@pytest.mark.parametrize("area", [None, "small", "medium", "large"])
def test_average_precision_is_the_mean_of_the_precision(area: str | None) -> None:
    weights = np.array(list(WEIGHTS.values()))
    found = ops.coco_average_precision(MATCHES, weights, area=area)
    assert found.shape == (len(weights), 4, 10)
    for often, row in zip(weights, found, strict=True):
        precision = ops.coco_accumulate(MATCHES, weights=often, areas=[area or "all"]).precision[..., 0, -1]
        wanted = np.where((precision > -1).all(1), precision.mean(1), np.nan).T
        np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-14)


def test_average_precision_on_one_thread_and_on_all() -> None:
    matches = drawn_scene(1, pictures=200, each=30).match()
    weights = np.random.default_rng(0).integers(0, 3, (9, 200))
    many = ops.coco_average_precision(matches, weights)
    np.testing.assert_array_equal(many, np.concatenate([ops.coco_average_precision(matches, w[None]) for w in weights]))
    assert ops.coco_average_precision(matches, weights[:0]).shape == (0, 4, 10)


@pytest.mark.parametrize("pictures", [[], [3], [7, 2, 3], list(range(10))])
def test_a_part_is_as_if_matched_alone(pictures: list[int]) -> None:
    part = MATCHES.part(np.array(pictures, np.int64))
    stream = ops.CocoStream(SCENE.classes)
    for i in pictures:
        arguments, named = picture(SCENE, i)
        stream.add(*arguments, **named)
    if pictures:
        assert_same_matches(part, stream.matches())
    assert part.picture_count == len(pictures)
    assert ops.coco_accumulate(part).precision.shape == (10, 101, 4, 4, 3)


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
        ({"weights": np.ones(9, np.int64)}, ValueError, "weights: expected a int64 array of shape [10], got int64 arr"),
        ({"weights": np.ones(10)}, TypeError, "weights: expected a int64 array of shape [10], got float64 array"),
        ({"weights": np.arange(-3, 7)}, ValueError, "weights: expected whole numbers from 0, got -3"),
        ({"areas": ["tiny"]}, ValueError, "areas: expected some of all, small, medium, large, got tiny"),
        ({"areas": []}, ValueError, "areas: expected some of all, small, medium, large, got none"),
        ({"max_detections": [10, 200]}, ValueError, "max_detections: expected rising numbers from 1 to 100, for which"),
        ({"max_detections": [10, 10]}, ValueError, "max_detections: expected rising numbers from 1 to 100, for which"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        ops.coco_accumulate(MATCHES, **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([0, 10], r"pictures: expected 0\.\.9, got 0\.\.10"),
        ([-1], r"pictures: expected 0\.\.9, got -1\.\.-1"),
        ([1, 2, 1], "pictures: expected each at most once, got 3 numbers of fewer pictures"),
    ],
)
def test_a_part_refuses(pictures: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MATCHES.part(np.array(pictures))


def test_average_precision_refuses() -> None:
    with pytest.raises(
        ValueError, match=r"weights: expected a int64 array of shape \[R, 10\], got int64 array of shape"
    ):
        ops.coco_average_precision(MATCHES, np.ones(10, np.int64))
    with pytest.raises(ValueError, match="areas: expected some of all, small, medium, large, got huge"):
        ops.coco_average_precision(MATCHES, np.ones((1, 10), np.int64), area="huge")


def test_numbers_where_nothing_is_to_be_found() -> None:
    numbers = ops.coco_accumulate(MATCHES, weights=WEIGHTS["those without true objects"]).numbers()
    assert set(numbers.values()) == {-1.0}
    without_75 = ops.CocoProtocol(iou_thresholds=[0.5, 0.6])
    assert ops.coco_accumulate(SCENE.match(protocol=without_75)).numbers()["AP75"] == -1.0
