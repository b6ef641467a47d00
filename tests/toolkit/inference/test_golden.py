"""Golden pictures: made by a model, kept by its bundle, and every way to differ from them is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import (
    BOX,
    MAKERS,
    SIDE,
    WARM,
    expected_probabilities,
    expected_score,
    flat_png,
    make_tiny_bundle,
    tiny_classifier_network,
    tiny_classifier_spec,
    tiny_network,
    tiny_segmenter_network,
    tiny_segmenter_spec,
    tiny_spec,
)

from toolkit.bundle import Bundle, write_bundle
from toolkit.errors import UserError
from toolkit.inference import check_golden, load, make_golden

SCORE = expected_score(WARM)
RED, GREEN, BLUE = expected_probabilities(WARM)
NETWORKS = {
    "detection": (tiny_spec, tiny_network),
    "classification": (tiny_classifier_spec, tiny_classifier_network),
    "segmentation": (tiny_segmenter_spec, tiny_segmenter_network),
}


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change ``expected.json`` and record its new hash, as someone who exports would."""
    bundle = Bundle.open(folder)
    files = {name: bundle.read(name) for name in bundle.names()}
    content = json.loads(files["golden/expected.json"])
    change(content["pictures"]["0.png"])
    files["golden/expected.json"] = json.dumps(content).encode()
    write_bundle(folder, bundle.spec, files)
    return folder


@pytest.mark.parametrize("task", MAKERS)
def test_answers_worked_out_by_hand_hold(task: str, tmp_path: Path) -> None:
    assert check_golden(load(MAKERS[task](tmp_path / "b"), device="cpu")) == []


# What each task's tiny network says of the three pictures below.
MADE: dict[str, tuple[str, list[Any]]] = {
    "detection": ("class_ids", [[1], [1], [0]]),
    "classification": ("label", ["blue", "blue", "red"]),
    "segmentation": ("masks", ["cold", "background", "background"]),
}


@pytest.mark.parametrize("task", MAKERS)
def test_made_golden_pictures_hold(task: str, tmp_path: Path) -> None:
    make, network = NETWORKS[task]
    first = write_bundle(tmp_path / "a", make(), {"model.onnx": network()})
    model = load(first.path, device="cpu")
    assert check_golden(model) == []  # none yet
    pictures = [np.full((40 + 9 * index, 64, 3), (50 * index, 60, 90), np.uint8) for index in range(3)]
    files = make_golden(model, pictures)
    assert sorted(files) == ["golden/0.png", "golden/1.png", "golden/2.png", "golden/expected.json"]
    second = write_bundle(tmp_path / "b", make(), {"model.onnx": network(), **files})
    assert check_golden(load(second.path, device="cpu")) == []
    expected = second.read_json("golden/expected.json")["pictures"]
    key, answers = MADE[task]
    found = [expected[name][key] for name in sorted(expected)]
    assert [each[-1]["label"] for each in found] == answers if key == "masks" else found == answers


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


def cold(*runs: int) -> dict[str, Any]:
    """An answer whose mask is cold where the runs say so, down the columns: not, cold, not ..."""
    return {"masks": [{"class_id": 2, "rle": {"size": [SIDE, SIDE], "counts": list(runs)}}]}


PIXELS = SIDE * SIDE
# Picture 0 is WARM all over for the classifier, and cold all over for the segmenter.
OTHER_DIFFERENCES = [
    ("classification", {"probabilities": [RED - 9e-4, GREEN + 9e-4, BLUE]}, []),
    (
        "classification",
        {"probabilities": [RED - 2e-3, GREEN, BLUE]},
        [f"golden/0.png: expected red at {RED - 2e-3:.4f}, found it at {RED:.4f}"],
    ),
    (
        "classification",
        {"probabilities": [0.2, 0.4, 0.3]},
        ["expected red at 0.2000", "golden/0.png: expected green, found red"],
    ),
    ("classification", {"probabilities": [0.5, 0.5]}, ["golden/0.png: expected 2 probabilities, found 3"]),
    ("segmentation", cold(4, PIXELS - 4), []),  # 4 of 4096 is below the thousandth that may differ
    ("segmentation", cold(5, PIXELS - 5), ["golden/0.png: 5 of 4096 pixels of the mask differ"]),
    ("segmentation", {"masks": []}, ["4096 of 4096 pixels of the mask differ"]),
    ("segmentation", {"image_size": [SIDE, 63]}, ["expected a picture of [64, 63] (height, width), decoded [64, 64]"]),
]


@pytest.mark.parametrize(("task", "change", "sentences"), OTHER_DIFFERENCES, ids=range(len(OTHER_DIFFERENCES)))
def test_differences_of_the_other_tasks_are_told(
    task: str, change: dict[str, Any], sentences: list[str], tmp_path: Path
) -> None:
    folder = rewrite(MAKERS[task](tmp_path / "b"), lambda picture: picture.update(change))
    found = check_golden(load(folder, device="cpu"))
    assert len(found) == len(sentences)
    for sentence, expected in zip(found, sentences, strict=True):
        assert expected in sentence


# Two boxes each, not found and not expected; the probability and the decision of the flat picture (of the other, red
# and blue are alike); both masks.
@pytest.mark.parametrize(("task", "count"), [("detection", 4), ("classification", 2), ("segmentation", 2)])
def test_swapped_colours_are_seen(task: str, count: int, tmp_path: Path) -> None:
    """The same files under a preprocessing that says RGB: the answers swap, and the check says so."""
    bundle = Bundle.open(MAKERS[task](tmp_path / "a"))
    wrong = bundle.preprocessing.model_copy(update={"color": "rgb"})
    files = {name: bundle.read(name) for name in bundle.names()}
    write_bundle(tmp_path / "b", bundle.spec.model_copy(update={"preprocessing": wrong}), files)
    assert len(check_golden(load(tmp_path / "b", device="cpu"))) == count


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("detection", lambda picture: picture.pop("scores")),
        ("classification", lambda picture: picture.pop("probabilities")),
        ("classification", lambda picture: picture.update(probabilities=["high", "low", "low"])),
        ("segmentation", lambda picture: picture.pop("masks")),
        ("segmentation", lambda picture: picture["masks"][0].pop("rle")),
        ("segmentation", lambda picture: picture["masks"][0]["rle"].update(counts=[1])),
    ],
)
def test_expected_answers_in_another_form(
    task: str, change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    folder = rewrite(MAKERS[task](tmp_path / "b"), change)
    with pytest.raises(UserError, match=r"golden/expected\.json is not in the expected form"):
        check_golden(load(folder, device="cpu"))


def test_a_missing_golden_picture(tmp_path: Path) -> None:
    files = {"model.onnx": tiny_network(), "golden/0.png": flat_png((1, 2, 3))}
    expected = {"image_size": [1, 1], "boxes": [], "scores": [], "class_ids": []}
    files["golden/expected.json"] = json.dumps({"pictures": {"7.png": expected}}).encode()
    write_bundle(tmp_path / "b", tiny_spec(), files)
    with pytest.raises(UserError, match=r"holds no file golden/7\.png"):
        check_golden(load(tmp_path / "b", device="cpu"))
