"""The result types: frozen, comparable, and one dictionary for Python and the service."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import PictureError, UserError
from toolkit.results import DetectionResult, Failure

NAMES = ("with_mask", "without_mask", "mask_worn_incorrectly")


def make(**changes: Any) -> DetectionResult:
    fields: dict[str, Any] = {
        "source": "street.jpg",
        "image_size": (40, 60),
        "class_names": NAMES,
        "boxes": np.array([[1, 2, 30.12345, 20], [5, 5, 10, 10], [0, 0, 60, 40]], np.float32),
        "scores": np.array([0.987654321, 0.5, 0.25], np.float32),
        "class_ids": np.array([1, 0, 1]),
        "timing": {"decode": 1.23456, "preprocess": 0.5, "network": 10.0, "postprocess": 0.25},
        "picture": lambda: np.zeros((40, 60, 3), np.uint8),
    }
    return DetectionResult(**{**fields, **changes})


EMPTY = {
    "boxes": np.zeros((0, 4), np.float32),
    "scores": np.zeros(0, np.float32),
    "class_ids": np.zeros(0, np.int64),
}


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
        "timing": {"decode": 1.235, "preprocess": 0.5, "network": 10.0, "postprocess": 0.25},
    }


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (make(), "street.jpg: 1 with_mask, 2 without_mask (12.0 ms)"),
        (make(timing={}), "street.jpg: 1 with_mask, 2 without_mask"),
        (make(**EMPTY), "street.jpg: nothing found (12.0 ms)"),
        (Failure("a.jpg", "a.jpg: is empty"), "a.jpg: is empty"),
    ],
)
def test_summary(result: DetectionResult | Failure, line: str) -> None:
    assert result.summary() == line


def test_a_result_is_true_even_when_empty_and_a_failure_false() -> None:
    assert make(**EMPTY)
    assert not Failure("a.jpg", "a.jpg: is empty")
    assert Failure("a.jpg", "a.jpg: is empty").to_dict() == {"source": "a.jpg", "error": "a.jpg: is empty"}


def test_frozen_to_the_arrays() -> None:
    boxes = np.zeros((0, 4), np.float32)
    result = make(**{**EMPTY, "boxes": boxes})
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.source = "x"  # type: ignore[misc]
    for name in EMPTY:
        assert not getattr(result, name).flags.writeable
    assert boxes.flags.writeable  # the caller's array is left alone


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({}, True),
        ({"timing": {}}, True),
        ({"picture": None}, True),
        ({"source": "b.jpg"}, False),
        ({"image_size": (40, 61)}, False),
        ({"scores": np.array([0.987654321, 0.5, 0.24], np.float32)}, False),
        ({"class_ids": np.array([1, 0, 2])}, False),
        (EMPTY, False),
    ],
)
def test_equality_leaves_out_timing_and_picture(changes: dict[str, Any], equal: bool) -> None:
    assert (make() == make(**changes)) is equal


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": np.zeros((2, 4), np.float32)}, r"boxes: expected shape \(3, 4\), got \(2, 4\)"),
        ({"class_ids": np.zeros(2, np.int64)}, r"class_ids: expected shape \(3,\), got \(2,\)"),
        ({"scores": np.zeros((3, 1), np.float32)}, r"scores: expected shape \(3,\), got \(3, 1\)"),
    ],
)
def test_shapes_that_disagree_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize("name", ["new/folder/a.jpg", "a.PNG"])
def test_save_draws(name: str, tmp_path: Path) -> None:
    path = make().save(tmp_path / name)
    with Image.open(path) as image:
        assert image.size == (60, 40)
        assert np.asarray(image.convert("RGB")).any()  # the picture itself is black


def test_save_json(tmp_path: Path) -> None:
    result = make(source="街.jpg")
    assert json.loads(result.save(tmp_path / "a.json").read_text(encoding="utf-8")) == result.to_dict()


def test_save_refuses_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.jsn: a result is saved as one of .*did you mean '\.json'"):
        make().save(tmp_path / "a.jsn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (None, UserError, "made without its picture"),
        (lambda: np.zeros((41, 60, 3), np.uint8), PictureError, "street.jpg: the picture has changed"),
    ],
)
def test_draw_needs_the_same_picture(picture: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(picture=picture).draw()
