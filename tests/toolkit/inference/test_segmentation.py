"""A segmentation network from picture to mask, against masks worked out by hand and SciPy's interpolation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from tiny_bundle import COLD, GREY, WARM, flat, halves, make_tiny_segmenter, tiny_segmenter_spec

from ops import Placement
from ops.letterbox import place
from ops.rle_encode import rle_encode_labels
from toolkit.inference import Model, load
from toolkit.inference.segmentation import SUREST, SegmentationTask, as_mask, presence_score
from toolkit.inference.task import Tolerance, no_gap
from toolkit.preprocess import Preprocessing

TASK = SegmentationTask()
SPEC: Any = tiny_segmenter_spec()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(make_tiny_segmenter(tmp_path_factory.mktemp("b") / "b"), "cpu", threads=1)


@pytest.mark.parametrize(("colour", "class_id"), [(WARM, 1), (COLD, 2), (GREY, 0)])
@pytest.mark.parametrize("size", [(64, 64), (30, 100), (200, 64), (3, 3)])
def test_a_picture_of_one_colour_is_one_region(
    colour: tuple[int, int, int], class_id: int, size: tuple[int, int], model: Model
) -> None:
    result: Any = model.predict_one(flat(colour, size))
    assert result.mask.dtype == np.uint8
    # A border of padding is no part of the picture; at a picture's edge the nearest cells speak of both.
    assert (result.mask == class_id).mean() > 0.9
    assert result.mask.shape == size
    middle: Any = model.predict_one(flat(colour, (64, 64)))
    assert (middle.mask == class_id).all()


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (32, 32), (256, 256)])
@pytest.mark.parametrize(("left", "right", "ids"), [(WARM, GREY, (1, 0)), (GREY, COLD, (0, 2)), (COLD, GREY, (2, 0))])
def test_the_border_lies_where_the_colours_meet(
    left: tuple[int, int, int],
    right: tuple[int, int, int],
    ids: tuple[int, int],
    size: tuple[int, int],
    model: Model,
) -> None:
    """At any scale, in pixels of the picture."""
    expected = np.full(size, ids[0], np.uint8)
    expected[:, size[1] // 2 :] = ids[1]
    result: Any = model.predict_one(halves(left, right, size))
    np.testing.assert_array_equal(result.mask, expected)


@pytest.mark.parametrize("fitting", [{}, {"center": True}, {"kind": "stretch"}])
def test_the_mask_covers_the_picture_and_nothing_of_the_padding(fitting: dict[str, Any], tmp_path: Path) -> None:
    preprocessing = Preprocessing(input_size=(64, 64), **fitting)
    model = load(make_tiny_segmenter(tmp_path / "b", preprocessing=preprocessing), "cpu", threads=1)
    result: Any = model.predict_one(halves(WARM, GREY, (64, 128)))
    expected = np.zeros((64, 128), np.uint8)
    expected[:, :64] = 1
    assert result.mask.shape == expected.shape
    # Half a cell from the padding its logits count too, and bend the border where three regions meet.
    np.testing.assert_array_equal(result.mask[8:-8], expected[8:-8])
    assert (result.mask == expected).mean() > 0.99


def test_the_middle_that_a_crop_sees_is_where_it_was(tmp_path: Path) -> None:
    """Outside the crop the network has seen nothing: its border's logits go on."""
    preprocessing = Preprocessing(input_size=(64, 64), kind="crop")
    model = load(make_tiny_segmenter(tmp_path / "b", preprocessing=preprocessing), "cpu", threads=1)
    result: Any = model.predict_one(halves(WARM, GREY, (64, 128)))
    assert (result.mask[:, :64] == 1).all()
    assert (result.mask[:, 64:] == 0).all()


def answer(mask: np.ndarray) -> dict[str, Any]:
    """A mask as the service's JSON has it, background and all."""
    present = np.unique(mask).tolist()
    encoded = zip(present, rle_encode_labels(mask, present), strict=True)
    return {"image_size": list(mask.shape), "masks": [{"class_id": each, "rle": rle} for each, rle in encoded]}


def test_an_answer_gives_its_mask_back() -> None:
    mask = np.random.default_rng(0).integers(0, 3, (17, 23), dtype=np.uint8)
    np.testing.assert_array_equal(as_mask(answer(mask)), mask)


def spotted(count: int, class_id: int = 2) -> np.ndarray:
    """A warm mask of 1000 pixels, the first few of another class."""
    mask = np.ones((20, 50), np.uint8)
    mask.ravel()[:count] = class_id
    return mask


# Each row: the found mask, the tolerated share of pixels, the gap there, refusals, near-ties.
CASES = [
    (spotted(0), 0.0, 9.0, 0, 0),
    (spotted(1), 0.0, 9.0, 1, 0),
    (spotted(1), 0.0, 1e-4, 0, 1),  # the logits there were as good as equal
    (spotted(1), 0.001, 9.0, 0, 1),
    (spotted(2), 0.001, 9.0, 1, 0),
    (spotted(1000, 0), 0.0, 9.0, 1, 0),
    (np.ones((50, 20), np.uint8), 1.0, 0.0, 1, 0),  # as many pixels, another shape
]


@pytest.mark.parametrize(("found", "pixels", "gap", "refusals", "ties"), CASES, ids=range(len(CASES)))
def test_compare(found: np.ndarray, pixels: float, gap: float, refusals: int, ties: int) -> None:
    tolerance = Tolerance(box=0, box_relative=0, score=0, margin=1e-3, pixels=pixels)
    comparison = TASK.compare(answer(spotted(0)), answer(found), SPEC, tolerance, lambda _: gap)
    assert (len(comparison.refusals), len(comparison.ties)) == (refusals, ties)


def test_the_gap_is_asked_for_the_pixels_that_differ() -> None:
    asked = []

    def gap(places: Any) -> float:
        asked.append([each.tolist() for each in places])
        return 9.0

    found = spotted(3)
    tolerance = Tolerance(box=0, box_relative=0, score=0, margin=1e-3, pixels=0)
    comparison = TASK.compare(answer(spotted(0)), answer(found), SPEC, tolerance, gap)
    assert asked == [[[0, 0, 0], [0, 1, 2]]]
    assert comparison.refusals == ["3 of 1000 pixels of the mask differ"]
    assert comparison.largest == 0.003


@pytest.mark.parametrize(
    ("size", "placement"),
    [
        ((64, 64), Placement(1, 1, 0, 0)),
        ((100, 37), place(100, 37, (64, 64))[0]),
        ((37, 100), place(37, 100, (64, 64), center=True)[0]),
        ((50, 80), Placement(64 / 50, 64 / 50, 0, -19.2)),  # the middle of a picture: its left begins before the input
    ],
)
def test_the_gap_is_that_of_the_interpolated_logits(size: tuple[int, int], placement: Placement) -> None:
    """SciPy's linear interpolation, border values repeated, at the pixels' centres; the largest among the pixels."""
    raw = np.random.default_rng(5).normal(0, 1, (3, 8, 8)).astype(np.float32)
    gap = TASK.gap(raw, placement, size, SPEC)
    rows, columns = np.indices(size)
    places = [
        ((rows + 0.5) * placement.scale_y + placement.top) / 8 - 0.5,
        ((columns + 0.5) * placement.scale_x + placement.left) / 8 - 0.5,
    ]
    logits = np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in raw.astype(np.float64)])
    best = np.sort(logits, axis=0)
    expected = best[-1] - best[-2]
    rng = np.random.default_rng(6)
    for count in (1, 1, 1, 5, 50):
        some = rng.integers(0, size[0], count), rng.integers(0, size[1], count)
        assert gap(some) == pytest.approx(expected[some].max(), abs=1e-9)
    mask = TASK.answer([raw], placement, size, SPEC, SPEC.postprocessing)["mask"]
    clear = expected > 1e-4
    np.testing.assert_array_equal(mask[clear], logits.argmax(axis=0)[clear])


def test_one_plane_is_compared_with_zero() -> None:
    raw = np.array([[[0.25, 0.25], [0.25, 0.25]]], np.float32)
    pixels = np.array([3]), np.array([4])
    assert TASK.gap(raw, Placement(1, 1, 0, 0), (64, 64), SPEC)(pixels) == 0.25
    assert no_gap(pixels) == float("inf")


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 30, 40), (3, 3, 3), (4, 50, 21)])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_the_score_of_a_class_is_the_mean_of_its_surest_cells(shape: tuple[int, int, int], scale: float) -> None:
    logits = np.random.default_rng(0).normal(0, scale, shape).astype(np.float32)
    powers = np.exp(logits.astype(np.longdouble) - logits.max(0))
    probabilities = (powers / powers.sum(0)).reshape(shape[0], -1)
    count = int(np.ceil(SUREST * probabilities.shape[1]))
    for class_id in range(shape[0]):
        expected = np.sort(probabilities[class_id])[-count:].mean()
        assert presence_score(logits, class_id) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (30, 100), (100, 30)])
def test_what_lies_beside_the_picture_tells_nothing_of_its_presence(size: tuple[int, int], tmp_path: Path) -> None:
    """The border is grey, and the tiny network calls grey background."""
    asked = {"postprocessing": {"presence": {"background": 0.5, "warm": 0.5}}}
    model = load(make_tiny_segmenter(tmp_path / "b", **asked), "cpu", threads=1)
    result: Any = model.predict_one(flat(WARM, size))
    assert result.present == ("warm",)
    assert result.presence["background"] < 0.5 < result.presence["warm"]
    assert result.to_dict()["presence"] == {
        "background": {"score": result.presence["background"], "present": False},
        "warm": {"score": result.presence["warm"], "present": True},
    }
    assert result.to_dict(masks="png")["presence"] == result.to_dict()["presence"]


def test_a_bundle_that_is_not_asked_tells_no_presence(model: Model) -> None:
    result: Any = model.predict_one(flat(WARM, (64, 64)))
    assert (result.presence, result.present) == ({}, ())
    assert "presence" not in result.to_dict()
