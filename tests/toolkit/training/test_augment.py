"""Augmentation moves boxes and pixels together, and tells a user which transform it cannot make."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.config.schema import ZoomConfig
from toolkit.errors import UserError
from toolkit.training.augment import Albumentations, Labelled, compose, place_boxes, zoom_scale

RED = np.array([250, 10, 10], np.uint8)
BLUE = np.array([10, 10, 250], np.uint8)


def scene(height: int = 120, width: int = 160) -> Labelled:
    """A grey picture with a red and a blue rectangle, boxed."""
    image = np.full((height, width, 3), 90, np.uint8)
    image[30:70, 20:60], image[50:100, 100:150] = RED, BLUE
    return Labelled(image, np.float32([[20, 30, 60, 70], [100, 50, 150, 100]]), np.array([0, 1]))


def painted(image: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Where a rectangle of that colour lies: xyxy of the pixels nearest to it."""
    near = np.abs(image.astype(int) - colour).sum(-1) < 120
    rows, columns = np.nonzero(near.any(1))[0], np.nonzero(near.any(0))[0]
    return np.float32([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_their_pixels(seed: int) -> None:
    zoom = ZoomConfig(probability=1.0, object_size=(20.0, 60.0))
    done = compose([scene()], (128, 128), 114, zoom, np.random.default_rng(seed))
    assert len(done.boxes) >= 1  # the chosen object stays in view
    for box, class_id in zip(done.boxes, done.class_ids, strict=True):
        np.testing.assert_allclose(box, painted(done.image, (RED, BLUE)[class_id]), atol=1.6)


@pytest.mark.parametrize("seed", range(6))
def test_a_mosaic_holds_four_pictures_and_boxes_stay_inside(seed: int) -> None:
    done = compose([scene()] * 4, (128, 160), 114, ZoomConfig(probability=0.0), np.random.default_rng(seed))
    assert done.image.shape == (128, 160, 3)
    assert len(done.boxes) == len(done.class_ids) >= 4
    assert (done.boxes[:, :2] >= 0).all()
    assert (done.boxes[:, 2:] <= [160, 128]).all()


def test_without_zoom_a_picture_is_fitted_whole() -> None:
    done = compose([scene(120, 160)], (64, 80), 7, ZoomConfig(probability=0.0), np.random.default_rng(0))
    np.testing.assert_allclose(done.boxes, scene().boxes * 0.5 + np.float32([0, 2, 0, 2]) * 0, atol=5)
    assert len(done.boxes) == 2


@pytest.mark.parametrize("seed", range(20))
def test_zoom_gives_the_object_a_size_in_range_but_never_blows_pixels_up(seed: int) -> None:
    zoom = ZoomConfig(probability=1.0, object_size=(30.0, 600.0))
    scale, _ = zoom_scale(scene(), 1.0, zoom, np.random.default_rng(seed))
    assert 0.5 <= scale <= 4.0


@pytest.mark.parametrize(
    ("offset", "kept"),
    [((0, 0), [True, True]), ((0, -50), [False, True]), ((0, -30), [True, True]), ((-1000, 0), [False, False])],
)
def test_a_box_that_hardly_shows_is_dropped(offset: tuple[float, float], kept: list[bool]) -> None:
    clipped, visible = place_boxes(scene().boxes, 1.0, offset, (0, 0, 120, 160))
    assert visible.tolist() == kept
    assert (clipped >= 0).all()


def listed(*entries: dict, boxes: bool) -> Albumentations:
    """The config's list of these transforms."""
    return Albumentations(entries, boxes=boxes)


FLIP = {"HorizontalFlip": {"p": 1.0}}
UPSIDE_DOWN = {"VerticalFlip": {"p": 1.0}}


def test_the_config_list_flips_boxes_too() -> None:
    done = listed(FLIP, boxes=True)(3, image=scene().image, bboxes=scene().boxes, class_ids=scene().class_ids)
    np.testing.assert_allclose(done["bboxes"], [[100, 30, 140, 70], [10, 50, 60, 100]], atol=1e-3)
    np.testing.assert_array_equal(done["class_ids"], [0, 1])
    np.testing.assert_array_equal(done["image"], scene().image[:, ::-1])
    assert done["image"].flags.c_contiguous


@pytest.mark.parametrize(
    ("entries", "moved"),
    [
        ((), lambda a: a),
        ((FLIP,), lambda a: a[:, ::-1]),
        ((FLIP, UPSIDE_DOWN), lambda a: a[::-1, ::-1]),
        # a flip before a transposition is not a flip after it
        ((FLIP, {"Transpose": {"p": 1.0}}), lambda a: np.swapaxes(a[:, ::-1], 0, 1)),
        (({"Transpose": {"p": 1.0}}, FLIP), lambda a: np.swapaxes(a, 0, 1)[:, ::-1]),
        (({"RandomBrightnessContrast": {"p": 1.0}},), None),  # colours only
    ],
)
def test_a_mask_goes_with_its_pixels_in_the_order_of_the_list(entries: tuple, moved) -> None:  # type: ignore[no-untyped-def]
    image = scene().image
    mask = (np.abs(image.astype(int) - RED).sum(-1) < 9).astype(np.uint8) * 3
    mask[0, 0] = 255
    done = listed(*entries, boxes=False)(0, image=image, mask=mask)
    np.testing.assert_array_equal(done["mask"], moved(mask) if moved else mask)
    if moved:
        np.testing.assert_array_equal(done["image"], moved(image))


def test_the_same_seed_gives_the_same_picture() -> None:
    run = listed({"ColorJitter": {"p": 1.0}}, {"GaussNoise": {"p": 1.0}}, boxes=False)
    first, again, other = (run(seed, image=scene().image)["image"] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("nested", [False, True])
def test_transforms_are_drawn_independently(nested: bool) -> None:
    """Of 400 pictures about a quarter is turned round neither way, one way, the other way, both ways."""
    flips: tuple[dict, ...] = ({"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}})
    once = listed(*flips, boxes=False)
    if nested:
        import albumentations as A

        once._pipeline = A.Compose([A.Sequential([A.HorizontalFlip(p=0.5)], p=1.0), A.VerticalFlip(p=0.5)])
    corner = np.zeros((4, 4, 3), np.uint8)
    corner[0, 0] = 255
    found = [tuple(np.argwhere(once(seed, image=corner)["image"][..., 0])[0].tolist()) for seed in range(400)]
    for where in ((0, 0), (0, 3), (3, 0), (3, 3)):
        assert 60 < found.count(where) < 140  # four and a half standard deviations around 100


def test_a_picture_without_boxes_passes_through_everything() -> None:
    empty = Labelled(scene().image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    done = compose([empty] * 4, (96, 96), 114, ZoomConfig(), np.random.default_rng(0))
    assert done.boxes.shape == (0, 4)
    changed = listed(FLIP, boxes=True)(0, image=done.image, bboxes=done.boxes, class_ids=done.class_ids)
    assert len(changed["bboxes"]) == len(changed["class_ids"]) == 0


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"HorizontalFlipp": {}}, "no such transform; did you mean 'HorizontalFlip'?"),
        ({"Compose": {}}, "no such transform"),
        ({"HorizontalFlip": {"prob": 0.5}}, "does not accept {'prob': 0.5}"),
        ({"Blur": {"blur_limit": "much"}}, "does not accept"),
    ],
)
def test_a_transform_that_cannot_be_made_is_named(entry: dict, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        listed({"HorizontalFlip": {}}, entry, boxes=False)
    assert str(caught.value).startswith("augment.albumentations.1.")
    assert sentence in str(caught.value)
