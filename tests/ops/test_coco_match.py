"""coco_match with coco_accumulate against pycocotools: its arrays to the last bit, so also its twelve numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ops
from tests.coco_reference import Scene, accumulated, assert_same_curves, drawn_scene, evaluated, summarised
from tests.rle_reference import coco_rle

SCENES: dict[str, dict[str, Any]] = {
    "plain": {"crowds": 0.0},
    "crowds": {"crowds": 0.4},
    "equal scores and overlaps": {"coarse": True},
    "equal scores and overlaps, crowds": {"coarse": True, "crowds": 0.4},
    "rows in any order": {"sorted_rows": False},
    "rows in any order, equal scores": {"sorted_rows": False, "coarse": True},
    "one picture": {"pictures": 1, "each": 30},
    "one class": {"classes": 1},
    "many classes": {"classes": 40},
    "more detections than count": {"pictures": 3, "classes": 2, "each": 400},
    "few rows": {"pictures": 5, "each": 2},
}


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("seed", range(3))
def test_as_pycocotools(name: str, seed: int) -> None:
    scene = drawn_scene(seed, **SCENES[name])
    reference = evaluated(scene)
    curves = ops.coco_accumulate(scene.match())
    assert_same_curves(curves, accumulated(reference))
    assert list(curves.numbers().values()) == summarised(reference)


def test_a_large_set_on_one_thread_and_on_all() -> None:
    scene = drawn_scene(5, pictures=400, classes=5, each=60)
    many = ops.coco_accumulate(scene.match())
    assert_same_curves(many, accumulated(evaluated(scene)))
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        one = ops.coco_accumulate(scene.match())
    finally:
        numba.set_num_threads(threads)
    assert_same_curves(many, {name: getattr(one, name) for name in ("precision", "recall", "scores")})


# Few places, sizes and scores, so that overlaps, scores and areas tie and touch; widths of 0 among them.
PLACE, SIDE = st.sampled_from([0.0, 10.0, 20.0, 25.0]), st.sampled_from([0.0, 10.0, 20.0, 32.0, 96.0])
BOX = st.tuples(PLACE, PLACE, SIDE, SIDE)
DETECTION = st.tuples(BOX, st.integers(0, 1), st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
TRUTH = st.tuples(
    BOX, st.integers(0, 1), st.integers(0, 2), st.booleans(), st.sampled_from([0.0, 400.0, 1024.0, 9300.0])
)


@settings(deadline=None, max_examples=150)
@given(st.lists(DETECTION, max_size=12), st.lists(TRUTH, max_size=8))
def test_any_table_as_pycocotools(detections: list[Any], truths: list[Any]) -> None:
    def column(rows: list[Any], i: int, dtype: Any, *shape: int) -> np.ndarray:
        return np.array([row[i] for row in rows], dtype).reshape(len(rows), *shape)

    scene = Scene(
        classes=2, picture_count=3,
        found=column(detections, 0, float, 4), class_ids=column(detections, 1, np.int64),
        pictures=column(detections, 2, np.int64), scores=column(detections, 3, float),
        truths=column(truths, 0, float, 4), truth_class_ids=column(truths, 1, np.int64),
        truth_pictures=column(truths, 2, np.int64), crowd=column(truths, 3, bool),
        truth_areas=column(truths, 4, float), ignore=np.zeros(len(truths), bool),
    )  # fmt: skip
    assert_same_curves(ops.coco_accumulate(scene.match()), accumulated(evaluated(scene)))


PROTOCOLS = {
    "one threshold": ops.CocoProtocol(iou_thresholds=[0.5]),
    "no overlap needed, and all of it": ops.CocoProtocol(iou_thresholds=[0.0, 0.3, 1.0]),
    "areas that fill more than a word": ops.CocoProtocol(
        area_ranges={str(i): (50.0 * i, 1e4 * i) for i in range(1, 9)}
    ),
    "64 thresholds": ops.CocoProtocol(iou_thresholds=np.linspace(0.1, 0.9, 64).tolist()),
    "recalls without 0": ops.CocoProtocol(recall_thresholds=[0.1, 0.35, 1.0]),
    "few detections": ops.CocoProtocol(max_detections=[2, 5]),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_other_protocols_as_pycocotools(name: str) -> None:
    scene, protocol = drawn_scene(7, coarse=True), PROTOCOLS[name]
    curves = ops.coco_accumulate(scene.match(protocol=protocol))
    assert_same_curves(curves, accumulated(evaluated(scene, protocol)))


def test_an_objects_own_ignore_flag() -> None:
    """pycocotools overwrites it; the reference is pycocotools without that line."""
    scene = drawn_scene(3, coarse=True, crowds=0.3)
    reference = accumulated(evaluated(scene, ignore=True))
    assert_same_curves(ops.coco_accumulate(scene.match(ignore=scene.ignore)), reference)
    with pytest.raises(AssertionError):
        assert_same_curves(ops.coco_accumulate(scene.match()), reference)


def _painted(boxes: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """A ragged mask for each box."""
    rng, masks = np.random.default_rng(seed), []
    y, x = np.mgrid[:400, :500]
    for left, top, width, height in boxes:
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
        masks.append(coco_rle(inside & (rng.random((400, 1)) < 0.95)))
    return masks


@pytest.mark.parametrize("crowds", [0.0, 0.4])
def test_masks_as_pycocotools(crowds: float) -> None:
    scene = drawn_scene(1, pictures=5, classes=3, each=15, crowds=crowds)
    scene = replace(scene, found=_painted(scene.found, 0), truths=_painted(scene.truths, 1))
    reference = evaluated(scene)
    curves = ops.coco_accumulate(scene.match())
    assert_same_curves(curves, accumulated(reference))
    assert curves.numbers()["AP"] > 0.05


def test_areas_are_those_of_boxes_or_masks_if_not_given() -> None:
    scene = drawn_scene(2)
    own = scene.truths[:, 2] * scene.truths[:, 3]
    found = scene.found[:, 2] * scene.found[:, 3]
    given = scene.match(truth_areas=own, areas=found)
    np.testing.assert_array_equal(scene.match(truth_areas=None).truth_counts, given.truth_counts)
    np.testing.assert_array_equal(scene.match(truth_areas=None).ignored, given.ignored)
    masks = replace(
        drawn_scene(2, pictures=3), found=_painted(scene.found[:12], 0), truths=_painted(scene.truths[:6], 1)
    )
    rows = {name: getattr(masks, name)[:12] for name in ("scores", "class_ids", "pictures")}
    rows |= {name: getattr(masks, name)[:6] for name in ("truth_class_ids", "truth_pictures", "crowd")}
    masks = replace(masks, **rows)
    given = masks.match(
        truth_areas=ops.rle_area(masks.truths).astype(float), areas=ops.rle_area(masks.found).astype(float)
    )
    np.testing.assert_array_equal(masks.match(truth_areas=None).truth_counts, given.truth_counts)
    np.testing.assert_array_equal(masks.match(truth_areas=None).ignored, given.ignored)


def single(found: Any, scores: Any, truths: Any, **more: Any) -> ops.CocoMatches:
    """One picture, one class."""
    boxes, true = np.array(found, float).reshape(-1, 4), np.array(truths, float).reshape(-1, 4)
    ids = (np.zeros(len(boxes), np.int64), np.zeros(len(true), np.int64))
    return ops.coco_match(boxes, np.array(scores, float), ids[0], true, ids[1], classes=1, **more)


HALF = ops.CocoProtocol(iou_thresholds=[0.5], area_ranges={"all": (0, 1e10)})
A, A_SHIFTED, FAR = (0, 0, 100, 100), (0, 20, 100, 100), (300, 300, 50, 50)
RULES = [
    # of equal scores the first, which takes the object
    ([A, A], [0.5, 0.5], [A], [1, 0]),
    # the better scored takes it, though it fits worse
    ([A, A_SHIFTED], [0.5, 0.6], [A], [0, 1]),
    # each takes what fits best of what is left
    ([A, A], [0.9, 0.8], [A_SHIFTED, A], [1, 1]),
    ([FAR, A], [0.9, 0.8], [A], [0, 1]),
    ([], [], [A], []),
    ([A], [0.5], [], [0]),
]


@pytest.mark.parametrize(("found", "scores", "truths", "hits"), RULES)
def test_rules_of_matching(found: Any, scores: Any, truths: Any, hits: list[int]) -> None:
    matches = single(found, scores, truths, protocol=HALF)
    order = np.argsort(-np.array(scores), kind="stable")
    assert matches.hits[:, 0].tolist() == [hits[i] for i in order]
    assert not matches.ignored.any()


def test_a_crowd_is_met_often_and_an_ignored_object_once() -> None:
    inside = [(0, 0, 30, 100), (40, 0, 30, 100), (70, 0, 30, 100)]
    assert single(inside, [3, 2, 1], [A], crowd=[1], protocol=HALF).ignored[:, 0].tolist() == [1, 1, 1]
    assert single(inside, [3, 2, 1], [A], crowd=[0], protocol=HALF).ignored[:, 0].tolist() == [0, 0, 0]
    assert single([A, A], [2, 1], [A], ignore=[1], protocol=HALF).ignored[:, 0].tolist() == [1, 0]
    # an object that counts goes first, however much better the ignored one fits
    both = single([A, A], [2, 1], [A, A_SHIFTED], ignore=[1, 0], protocol=HALF)
    assert (both.hits[:, 0].tolist(), both.ignored[:, 0].tolist()) == ([1, 0], [0, 1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(4))
def test_what_is_not_finite_overlaps_nothing(value: float, place: int) -> None:
    broken = list(A)
    broken[place] = value
    assert not single([broken, A], [0.9, 0.8], [broken], protocol=HALF).hits.any()
    assert single([broken, A], [0.9, 0.8], [A], protocol=HALF).hits[:, 0].tolist() == [0, 1]


def test_scores_that_are_no_numbers_are_last() -> None:
    scores = [np.nan, -np.inf, -0.0, 0.0, np.inf, -1.0, np.nan, 1e-310]
    matches = single([A] * 8, scores, [])
    np.testing.assert_array_equal(matches.scores, [np.inf, 1e-310, -0.0, 0.0, -1.0, -np.inf, np.nan, np.nan])


def test_views_and_frozen_arrays() -> None:
    scene = drawn_scene(4)
    wanted = ops.coco_accumulate(scene.match())
    wide = np.repeat(scene.found, 2, axis=0)[::2]
    frozen = {name: getattr(scene, name).copy() for name in ("scores", "class_ids", "pictures", "truths", "crowd")}
    for array in (wide, *frozen.values()):
        array.flags.writeable = False
    curves = ops.coco_accumulate(replace(scene, found=wide, **frozen).match())
    assert_same_curves(curves, {"precision": wanted.precision, "recall": wanted.recall, "scores": wanted.scores})


GOOD = drawn_scene(0)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"found": GOOD.found.astype(np.float32)}, TypeError, "found: expected a float64 array of shape [N, 4], got fl"),
    ({"found": GOOD.found[:, :3]}, ValueError, "found: expected a float64 array of shape [N, 4], got fl"),
    ({"found": []}, TypeError, "both as float64 boxes [N, 4] or both as lists of RLEs, got masks and boxes"),
    ({"truths": {"size": [1, 1]}}, TypeError, "truths: expected a list of RLEs, got dict"),
    ({"scores": GOOD.scores[1:]}, ValueError, "scores: expected a float64 array of shape [144], got flo"),
    ({"class_ids": GOOD.class_ids + 1}, ValueError, "class_ids[14]: expected 0..3, got 4"),
    ({"truth_class_ids": GOOD.truth_class_ids - 1}, ValueError, "truth_class_ids[8]: expected 0..3, got -1"),
    ({"pictures": GOOD.pictures + 1}, ValueError, "pictures[140]: expected 0..11, got 12"),
    ({"pictures": None}, ValueError, "pictures: expected the picture of each row, as there are 12, got None"),
    ({"truth_pictures": GOOD.truth_pictures[:5]}, ValueError, "truth_pictures: expected a int64 array of shape [48]"),
    ({"truth_areas": GOOD.scores}, ValueError, "truth_areas: expected a float64 array of shape [48], got"),
    ({"crowd": GOOD.scores}, ValueError, "crowd: expected 48 flags, one for each true object, got float64 array"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), BAD)
def test_refuses(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        replace(GOOD, **changes).match()
    assert message in str(caught.value)


def test_masks_of_two_sizes_in_a_picture() -> None:
    small, large = coco_rle(np.ones((3, 4))), coco_rle(np.ones((4, 4)))
    zero = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match=r"masks of one size, got truths\[0\] of 4 x 4 and found\[0\] of 3 x 4"):
        ops.coco_match([small], np.ones(1), zero, [large], zero, classes=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iou_thresholds": []}, "iou_thresholds: expected 1 to 64 rising numbers from 0 to 1, got []"),
        ({"iou_thresholds": [0.5, 0.5]}, "iou_thresholds: expected 1 to 64 rising numbers"),
        ({"iou_thresholds": np.linspace(0, 1, 65).tolist()}, "iou_thresholds: expected 1 to 64 rising numbers"),
        ({"recall_thresholds": [0.0, 1.5]}, "recall_thresholds: expected 1 to 32767 rising numbers from 0 to 1"),
        ({"max_detections": [0, 3]}, "max_detections: expected 1 to 32767 rising whole numbers from 1, got [0, 3]"),
        ({"area_ranges": {}}, "area_ranges: expected at least one range"),
    ],
)
def test_a_protocol_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ops.CocoProtocol(**fields)
    assert message in str(caught.value)
