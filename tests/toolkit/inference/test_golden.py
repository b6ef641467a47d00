"""Golden pictures: made by a model, kept by its bundle, and every way to differ from them is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import BOX, expected_score, flat_png, make_tiny_bundle, tiny_network, tiny_spec

from toolkit.bundle import Bundle, write_bundle
from toolkit.errors import UserError
from toolkit.inference import check_golden, load, make_golden

SCORE = expected_score((200, 60, 40))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change ``expected.json`` and record its new hash, as someone who exports would."""
    bundle = Bundle.open(folder)
    files = {name: bundle.read(name) for name in bundle.names()}
    content = json.loads(files["golden/expected.json"])
    change(content["pictures"]["0.png"])
    files["golden/expected.json"] = json.dumps(content).encode()
    write_bundle(folder, bundle.spec, files)
    return folder


def test_answers_worked_out_by_hand_hold(tiny_bundle: Path) -> None:
    assert check_golden(load(tiny_bundle, device="cpu")) == []


def test_made_golden_pictures_hold(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "a", tiny_spec(), {"model.onnx": tiny_network()})
    model = load(first.path, device="cpu")
    assert check_golden(model) == []  # none yet
    pictures = [np.full((40 + 9 * index, 64, 3), (50 * index, 60, 90), np.uint8) for index in range(3)]
    files = make_golden(model, pictures)
    assert sorted(files) == ["golden/0.png", "golden/1.png", "golden/2.png", "golden/expected.json"]
    second = write_bundle(tmp_path / "b", tiny_spec(), {"model.onnx": tiny_network(), **files})
    assert check_golden(load(second.path, device="cpu")) == []
    expected = second.read_json("golden/expected.json")["pictures"]
    assert [expected[name]["class_ids"] for name in sorted(expected)] == [[1], [1], [0]]


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        ({"scores": [SCORE + 0.0009]}, []),
        ({"boxes": [[value + 0.9 for value in BOX]]}, []),
        (
            {"scores": [SCORE - 0.002]},
            [
                f"golden/0.png: expected warm {SCORE - 0.002:.4f} at [8.0, 16.0, 40.0, 48.0], which was not found",
                f"golden/0.png: found warm {SCORE:.4f} at [8.0, 16.0, 40.0, 48.0], which was not expected",
            ],
        ),
        ({"boxes": [[8, 16, 41.2, 48]]}, ["at [8, 16, 41.2, 48], which was not found", "which was not expected"]),
        ({"class_ids": [1]}, ["expected cold", "found warm"]),
        ({"class_ids": [9]}, ["expected class 9", "found warm"]),
        ({"boxes": [], "scores": [], "class_ids": []}, ["found warm"]),
        ({"boxes": [[*BOX], [*BOX]], "scores": [SCORE, SCORE], "class_ids": [0, 0]}, ["which was not found"]),
        # A detection within 0.001 of the threshold (0.25) may come or go; one further away may not.
        ({"boxes": [[*BOX], [0, 0, 9, 9]], "scores": [SCORE, 0.2509], "class_ids": [0, 1]}, []),
        ({"boxes": [[*BOX], [0, 0, 9, 9]], "scores": [SCORE, 0.2511], "class_ids": [0, 1]}, ["expected cold 0.2511"]),
        ({"image_size": [64, 63]}, ["expected a picture of [64, 63] (height, width), decoded [64, 64]"]),
    ],
)
def test_differences_are_told(change: dict[str, Any], sentences: list[str], tmp_path: Path) -> None:
    folder = rewrite(make_tiny_bundle(tmp_path / "b"), lambda picture: picture.update(change))
    found = check_golden(load(folder, device="cpu"))
    assert len(found) == len(sentences)
    for sentence, expected in zip(found, sentences, strict=True):
        assert expected in sentence


def test_swapped_colours_are_seen(tmp_path: Path) -> None:
    """The same files under a preprocessing that says RGB: the answers swap, and the check says so."""
    bundle = Bundle.open(make_tiny_bundle(tmp_path / "a"))
    wrong = bundle.preprocessing.model_copy(update={"color": "rgb"})
    files = {name: bundle.read(name) for name in bundle.names()}
    write_bundle(tmp_path / "b", tiny_spec(preprocessing=wrong), files)
    assert len(check_golden(load(tmp_path / "b", device="cpu"))) == 4


def test_expected_answers_in_another_form(tmp_path: Path) -> None:
    folder = rewrite(make_tiny_bundle(tmp_path / "b"), lambda picture: picture.pop("scores"))
    with pytest.raises(UserError, match=r"golden/expected\.json is not in the expected form"):
        check_golden(load(folder, device="cpu"))


def test_a_missing_golden_picture(tmp_path: Path) -> None:
    files = {"model.onnx": tiny_network(), "golden/0.png": flat_png((1, 2, 3))}
    expected = {"image_size": [1, 1], "boxes": [], "scores": [], "class_ids": []}
    files["golden/expected.json"] = json.dumps({"pictures": {"7.png": expected}}).encode()
    write_bundle(tmp_path / "b", tiny_spec(), files)
    with pytest.raises(UserError, match=r"holds no file golden/7\.png"):
        check_golden(load(tmp_path / "b", device="cpu"))
