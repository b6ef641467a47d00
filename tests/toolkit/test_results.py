"""The result types: frozen, comparable, and one dictionary for Python and the service."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from toolkit.drawing import draw_classification, draw_detections, draw_segmentation
from toolkit.errors import PictureError, UserError
from toolkit.results import ClassificationResult, DetectionResult, Failure, Result, SegmentationResult

NAMES = ("with_mask", "without_mask", "mask_worn_incorrectly")
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
COMMON: dict[str, Any] = {
    "source": "street.jpg",
    "image_size": (40, 60),
    "class_names": NAMES,
    "timing": {"decode": 1.23456, "preprocess": 0.5, "network": 10.0, "postprocess": 0.25},
    "picture": lambda: PICTURE,
}
TIMING = {"decode": 1.235, "preprocess": 0.5, "network": 10.0, "postprocess": 0.25}  # as `to_dict` rounds it


def make(**changes: Any) -> DetectionResult:
    fields = {
        "boxes": np.array([[1, 2, 30.12345, 20], [5, 5, 10, 10], [0, 0, 60, 40]], np.float32),
        "scores": np.array([0.987654321, 0.5, 0.25], np.float32),
        "class_ids": np.array([1, 0, 1]),
    }
    return DetectionResult(**{**COMMON, **fields, **changes})


def classified(*probabilities: float, **changes: Any) -> ClassificationResult:
    values = np.array(probabilities or (0.04, 0.93, 0.03), np.float32)
    return ClassificationResult(**{**COMMON, "probabilities": values, **changes})


def lungs() -> np.ndarray:
    """24 pixels of lung and a lesion of 6 in 40 x 60; the rest is background."""
    mask = np.zeros((40, 60), np.uint8)
    mask[10:16, 20:25] = 1
    mask[12:15, 21:23] = 2
    return mask


ORGANS = ("Background", "lung", "lesion", "vessel")


def segmented(**changes: Any) -> SegmentationResult:
    return SegmentationResult(**{**COMMON, "class_names": ORGANS, "mask": lungs(), **changes})


EMPTY = {
    "boxes": np.zeros((0, 4), np.float32),
    "scores": np.zeros(0, np.float32),
    "class_ids": np.zeros(0, np.int64),
}
MAKERS = [make, classified, segmented]


def test_to_dict_is_plain_json() -> None:
    content = make().to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content == {
        "source": "street.jpg",
        "image_size": [40, 60],
        "class_names": list(NAMES),
        "boxes": [[1.0, 2.0, 30.12, 20.0], [5.0, 5.0, 10.0, 10.0], [0.0, 0.0, 60.0, 40.0]],
        "scores": [0.987654, 0.5, 0.25],
        "class_ids": [1, 0, 1],
        "labels": ["without_mask", "with_mask", "without_mask"],
        "timing": TIMING,
    }
    assert list(content)[-1] == "timing"


def test_a_classification_as_json() -> None:
    content = classified(0.25, 0.6666667, 0.0833333, class_activation=np.ones((2, 2), np.float32)).to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content == {
        "source": "street.jpg",
        "image_size": [40, 60],
        "class_names": list(NAMES),
        "probabilities": [0.25, 0.666667, 0.083333],
        "label": "without_mask",
        "score": 0.666667,
        "class_id": 1,
        "top": [
            {"label": "without_mask", "score": 0.666667},
            {"label": "with_mask", "score": 0.25},
            {"label": "mask_worn_incorrectly", "score": 0.083333},
        ],
        "timing": TIMING,
    }


def test_a_segmentation_as_json() -> None:
    content = segmented().to_dict()
    assert json.loads(json.dumps(content)) == content
    masks = content.pop("masks")
    assert content == {
        "source": "street.jpg",
        "image_size": [40, 60],
        "class_names": list(ORGANS),
        "timing": TIMING,
    }
    areas = [(mask["class_id"], mask["label"], mask["area"]) for mask in masks]
    assert areas == [(0, "Background", 2370), (1, "lung", 24), (2, "lesion", 6)]  # no vessel: it is not there
    for mask in masks:  # pycocotools reads what we write
        assert mask["rle"]["size"] == [40, 60]
        np.testing.assert_array_equal(coco.decode(mask["rle"]), lungs() == mask["class_id"])


def test_a_segmentation_as_png() -> None:
    content = segmented().to_dict(masks="png")
    assert set(content) == {"source", "image_size", "class_names", "mask_png", "timing"}
    data = base64.b64decode(content["mask_png"], validate=True)
    assert data == segmented().mask_png()
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), lungs())


def test_an_unknown_form_of_masks_is_refused() -> None:
    with pytest.raises(UserError, match="masks: expected 'rle' or 'png', got 'polygon'"):
        segmented().to_dict(masks="polygon")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (make(), "street.jpg: 1 with_mask, 2 without_mask (12.0 ms)"),
        (make(timing={}), "street.jpg: 1 with_mask, 2 without_mask"),
        (make(**EMPTY), "street.jpg: nothing found (12.0 ms)"),
        (classified(), "street.jpg: without_mask 0.93, with_mask 0.04 (12.0 ms)"),
        (classified(1.0, class_names=("cat",)), "street.jpg: cat 1.00 (12.0 ms)"),
        (segmented(), "street.jpg: lung 1.0 %, lesion 0.2 % (12.0 ms)"),
        (segmented(mask=np.zeros((40, 60), np.uint8)), "street.jpg: nothing found (12.0 ms)"),
        # one pixel of 2400 is 0.04 %; no class is named background here, so the first counts
        (
            segmented(class_names=("road", "sky", "car"), mask=np.eye(1, 2400, dtype=np.uint8).reshape(40, 60)),
            "street.jpg: road 100.0 %, sky <0.1 % (12.0 ms)",
        ),
        (Failure("a.jpg", "a.jpg: is empty"), "a.jpg: is empty"),
    ],
)
def test_summary(result: Result | Failure, line: str) -> None:
    assert result.summary() == line


def test_a_result_is_true_even_when_empty_and_a_failure_false() -> None:
    assert make(**EMPTY)
    assert not Failure("a.jpg", "a.jpg: is empty")
    assert Failure("a.jpg", "a.jpg: is empty").to_dict() == {"source": "a.jpg", "error": "a.jpg: is empty"}


@pytest.mark.parametrize(
    ("probabilities", "top"),
    [
        ((0.2, 0.5, 0.3), [("b", 0.5), ("c", 0.3), ("a", 0.2)]),
        ((0.25, 0.5, 0.25), [("b", 0.5), ("a", 0.25), ("c", 0.25)]),  # equal: lower id first
        ((0.5, 0, 0.5), [("a", 0.5), ("c", 0.5), ("b", 0.0)]),
    ],
)
def test_top(probabilities: tuple[float, ...], top: list[tuple[str, float]]) -> None:
    result = classified(*probabilities, class_names=("a", "b", "c"))
    for k in (1, 2, 3, 9):
        found = result.top(k)
        assert [label for label, _ in found] == [label for label, _ in top[:k]]
        assert [score for _, score in found] == pytest.approx([score for _, score in top[:k]])
    assert (result.label, result.score) == result.top(1)[0]
    assert result.class_names[result.class_id] == result.label


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_top_asks_for_a_number(k: Any) -> None:
    with pytest.raises(UserError, match="top: expected an integer from 1 up, got"):
        classified().top(k)


@pytest.mark.parametrize(("changes", "listed"), [({}, "efabc"), ({"top_k": 2}, "ef"), ({"top_k": 99}, "efabcdg")])
def test_to_dict_lists_as_many_classes_as_asked(changes: dict[str, Any], listed: str) -> None:
    result = classified(*[0.1] * 4, 0.3, 0.2, 0.1, class_names=tuple("abcdefg"), **changes)
    assert [row["label"] for row in result.to_dict()["top"]] == list(listed)
    assert [label for label, _ in result.top()] == list(listed)


def test_areas_and_shares() -> None:
    assert segmented().areas() == {"Background": 2370, "lung": 24, "lesion": 6, "vessel": 0}
    assert segmented().shares() == {"Background": 0.9875, "lung": 0.01, "lesion": 0.0025, "vessel": 0.0}


@pytest.mark.parametrize("maker", MAKERS)
def test_frozen_to_the_arrays(maker: Any) -> None:
    result = maker()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.source = "x"
    arrays = [value for value in vars(result).values() if isinstance(value, np.ndarray)]
    assert arrays
    for array in arrays:
        assert not array.flags.writeable
        assert array.base is None or array.base.flags.writeable  # the caller's array is left alone


def test_the_activation_is_read_only_too() -> None:
    heat = np.zeros((2, 3), np.float32)
    held = classified(class_activation=heat).class_activation
    assert held is not None
    assert not held.flags.writeable
    assert heat.flags.writeable


@pytest.mark.parametrize(
    ("maker", "changes", "equal"),
    [
        *((maker, change, True) for maker in MAKERS for change in ({}, {"timing": {}}, {"picture": None})),
        *((maker, {"source": "b.jpg"}, False) for maker in MAKERS),
        (make, {"image_size": (40, 61)}, False),
        (make, {"scores": np.array([0.987654321, 0.5, 0.24], np.float32)}, False),
        (make, {"class_ids": np.array([1, 0, 2])}, False),
        (make, EMPTY, False),
        (classified, {"class_activation": np.zeros((2, 2), np.float32)}, True),
        (classified, {"top_k": 1}, True),
        (classified, {"probabilities": np.array([0.05, 0.92, 0.03], np.float32)}, False),
        (classified, {"class_names": ("a", "b", "c")}, False),
        (segmented, {"mask": lungs() * 0}, False),
    ],
)
def test_equality_leaves_out_timing_and_picture(maker: Any, changes: dict[str, Any], equal: bool) -> None:
    assert (maker() == maker(**changes)) is equal


def test_results_of_different_tasks_differ() -> None:
    assert make() != classified()
    assert classified() != "street.jpg"


def test_a_result_cannot_be_a_key() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(classified())


@pytest.mark.parametrize(
    ("maker", "changes", "message"),
    [
        (make, {"boxes": np.zeros((2, 4), np.float32)}, r"boxes: expected shape \(3, 4\), got \(2, 4\)"),
        (make, {"class_ids": np.zeros(2, np.int64)}, r"class_ids: expected shape \(3,\), got \(2,\)"),
        (make, {"scores": np.zeros((3, 1), np.float32)}, r"scores: expected shape \(3,\), got \(3, 1\)"),
        (classified, {"probabilities": np.ones(1, np.float32)}, r"probabilities: expected shape \(3,\), got \(1,\)"),
        (classified, {"probabilities": np.ones(3) / 3}, "probabilities: expected float32, got float64"),
        (classified, {"probabilities": np.float32([0.9, 0.8, 0.7])}, "whose sum is 1, got the sum 2.4"),  # sigmoids
        (classified, {"probabilities": np.float32([1.2, -0.1, -0.1])}, "probabilities: expected numbers from 0 up"),
        (classified, {"probabilities": np.float32([np.nan, 0.5, 0.5])}, "probabilities: expected numbers from 0 up"),
        (classified, {"class_activation": np.zeros((2, 2))}, "class_activation: expected float32, got float64"),
        (classified, {"class_activation": np.zeros(4, np.float32)}, r"class_activation: expected shape \[h, w\]"),
        (classified, {"class_activation": np.float32([[0, 1.5]])}, "expected numbers from 0 to 1, got 0 to 1.5"),
        (segmented, {"mask": np.zeros((60, 40), np.uint8)}, r"mask: expected shape \(40, 60\), got \(60, 40\)"),
        (segmented, {"mask": np.zeros((40, 60), np.int64)}, "mask: expected uint8, got int64"),
        (segmented, {"mask": np.full((40, 60), 4, np.uint8)}, "mask: expected ids below 4, the classes, got 4"),
    ],
)
def test_fields_that_disagree_are_refused(maker: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maker(**changes)


HEAT = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("result", "drawn"),
    [
        (make(), draw_detections(PICTURE, make().boxes, make().labels, make().scores, make().class_ids)),
        (classified(), draw_classification(PICTURE, classified().probabilities, NAMES)),
        (
            classified(class_activation=HEAT),
            draw_classification(PICTURE, classified().probabilities, NAMES, HEAT),
        ),
        (segmented(), draw_segmentation(PICTURE, lungs(), ORGANS)),
        (
            segmented(class_names=("fat", "lung", "lesion")),  # nothing says that the first is background
            draw_segmentation(PICTURE, lungs(), ("fat", "lung", "lesion"), background=None),
        ),
    ],
)
def test_draw(result: Result, drawn: np.ndarray) -> None:
    np.testing.assert_array_equal(result.draw(), drawn)
    assert (drawn != PICTURE).any()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("name", ["new/folder/a.jpg", "a.PNG"])
def test_save_draws(maker: Any, name: str, tmp_path: Path) -> None:
    path = maker().save(tmp_path / name)
    with Image.open(path) as image:
        assert image.size == (60, 40)
        if path.suffix == ".PNG":
            np.testing.assert_array_equal(np.asarray(image), maker().draw())


@pytest.mark.parametrize("maker", MAKERS)
def test_save_json(maker: Any, tmp_path: Path) -> None:
    result = maker(source="街.jpg")
    assert json.loads(result.save(tmp_path / "a.json").read_text(encoding="utf-8")) == result.to_dict()


def test_save_refuses_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jsn: a result is saved as one of .*did you mean '\.json'"):
        make().save(tmp_path / "a.jsn")
    assert list(tmp_path.iterdir()) == []


def test_save_mask(tmp_path: Path) -> None:
    path = segmented().save_mask(tmp_path / "new" / "a.png")
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), lungs())
    with pytest.raises(UserError, match=r"a\.jpg: a mask is saved as \.png"):  # JPEG would blur class ids
        segmented().save_mask(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.png/b\.png: cannot be written"):
        segmented().save_mask(path / "b.png")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (None, UserError, "made without its picture"),
        (lambda: np.zeros((41, 60, 3), np.uint8), PictureError, "street.jpg: the picture has changed"),
    ],
)
def test_draw_needs_the_same_picture(maker: Any, picture: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        maker(picture=picture).draw()
