"""A classifier from picture to probabilities and heat map, against answers worked out by hand or in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from tiny_bundle import (
    COLD,
    COLOURS,
    EVIDENCE_GAIN,
    GREY,
    WARM,
    expected_probabilities,
    flat,
    halves,
    make_tiny_classifier,
    tiny_classifier_spec,
)

from ops import Placement
from toolkit.bundle_spec import ClassificationPostprocessing, ClassifierNetwork
from toolkit.errors import UserError
from toolkit.inference import Model, load
from toolkit.inference.classification import ClassificationTask
from toolkit.inference.task import Tolerance, no_gap
from toolkit.preprocess import Preprocessing

TASK = ClassificationTask()
SPEC: Any = tiny_classifier_spec()
WHOLE = Placement(1, 1, 0, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(make_tiny_classifier(tmp_path_factory.mktemp("b") / "b"), "cpu", threads=1)


@pytest.mark.parametrize("colour", [WARM, COLD, GREY, (0, 255, 0), (0, 0, 0), (255, 255, 255)])
@pytest.mark.parametrize("size", [(64, 64), (48, 200), (7, 5)])
def test_probabilities_are_those_worked_out_by_hand(
    colour: tuple[int, int, int], size: tuple[int, int], model: Model
) -> None:
    result: Any = model.predict_one(flat(colour, size))
    np.testing.assert_allclose(result.probabilities, expected_probabilities(colour), atol=1e-5)
    assert result.probabilities.dtype == np.float32
    if len(set(colour)) > 1:
        assert result.label == COLOURS[int(np.argmax(colour))]
    assert result.class_activation is None


def test_probabilities_are_the_softmax_also_of_large_logits() -> None:
    """Logits of +-1000 would overflow in the plain formula."""
    rng = np.random.default_rng(0)
    for scale in (0.0, 1.0, 30.0, 1000.0):
        logits = rng.normal(0, scale, 5).astype(np.float32)
        fields = TASK.answer([logits], WHOLE, (64, 64), SPEC, ClassificationPostprocessing())
        np.testing.assert_allclose(fields["probabilities"], softmax(logits.astype(np.float64)), atol=1e-7)


@pytest.mark.parametrize("top_k", [None, 1, 2, 99])
def test_top_k_says_how_many_are_listed(top_k: int | None, model: Model) -> None:
    result = model.predict_one(flat(WARM), top_k=top_k).to_dict()
    assert [each["label"] for each in result["top"]] == ["red", "green", "blue"][: top_k or 5]
    assert len(result["probabilities"]) == 3


# Each row: how the picture is fitted, its size, and where in it the network sees (rows, columns); each is such that
# no pixel is scaled, so that a cell of the map is 8 x 8 pixels of the picture.
FITTED = [
    ({"kind": "stretch"}, (64, 64), (slice(0, 64), slice(0, 64))),
    ({"kind": "letterbox"}, (64, 40), (slice(0, 64), slice(0, 40))),
    ({"kind": "letterbox"}, (24, 64), (slice(0, 24), slice(0, 64))),
    ({"kind": "letterbox", "center": True}, (64, 32), (slice(0, 64), slice(0, 32))),
    ({"kind": "letterbox", "center": True}, (32, 64), (slice(0, 32), slice(0, 64))),
    ({"kind": "crop"}, (64, 96), (slice(0, 64), slice(16, 80))),
    ({"kind": "crop"}, (128, 64), (slice(32, 96), slice(0, 64))),
]


@pytest.mark.parametrize(("fitting", "size", "seen"), FITTED, ids=range(len(FITTED)))
def test_the_heat_map_lies_on_the_picture_where_the_evidence_is(
    fitting: dict[str, Any], size: tuple[int, int], seen: tuple[slice, slice], tmp_path: Path
) -> None:
    """Blocks of 8 x 8 pixels in chance colours, more red than else: the map is each block's evidence for red."""
    blocks = np.random.default_rng(1).integers(0, 200, (size[0] // 8, size[1] // 8, 3))
    blocks[..., 0] += 55
    picture = blocks.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
    preprocessing = Preprocessing(input_size=(64, 64), **fitting)
    model = load(make_tiny_classifier(tmp_path / "b", preprocessing=preprocessing), "cpu", threads=1)
    result: Any = model.predict_one(picture, explain=True)
    assert result.label == "red"

    evidence = np.maximum(0, blocks[..., 0] - blocks[..., 1:].mean(axis=-1))
    inside = np.zeros(size, bool)
    inside[seen] = True
    evidence *= inside[::8, ::8]
    assert result.class_activation.dtype == np.float32
    np.testing.assert_allclose(result.class_activation, evidence / evidence.max(), atol=1e-5)
    assert (result.draw() != model.predict_one(picture).draw()).any()


@pytest.mark.parametrize("size", [(200, 100), (31, 47), (500, 3), (1, 1)])
def test_a_heat_map_fits_pictures_of_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    for kind in ("stretch", "letterbox", "crop"):
        preprocessing = Preprocessing(input_size=(64, 64), kind=kind)  # type: ignore[arg-type]
        folder = make_tiny_classifier(tmp_path / kind, preprocessing=preprocessing)
        result: Any = load(folder, "cpu", threads=1).predict_one(halves(WARM, COLD, size), explain=True)
        assert result.draw().shape == (*size, 3)


def test_nothing_that_speaks_for_the_winner_is_an_empty_map() -> None:
    maps = np.full((3, 2, 2), -1, np.float32)
    fields = TASK.answer([np.zeros(3, np.float32), maps], WHOLE, (64, 64), SPEC, ClassificationPostprocessing())
    np.testing.assert_array_equal(fields["class_activation"], np.zeros((2, 2)))


def test_the_map_s_mean_is_what_the_class_was_chosen_by(model: Model) -> None:
    logits, maps = model.network(model.preprocess([halves(WARM, COLD)])[0], explain=True)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), logits, atol=1e-5)
    assert logits[0, 0] == pytest.approx((120 - (60 + 120) / 2) * EVIDENCE_GAIN, abs=1e-5)


def test_each_picture_of_a_batch_gets_its_own_map(model: Model) -> None:
    pictures = [halves(WARM, GREY), halves(GREY, COLD), halves(COLD, GREY)]
    alone: list[Any] = [model.predict_one(each, explain=True) for each in pictures]
    for results in (model.run_batch(pictures, explain=True), list(model.predict(pictures, explain=True, batch_size=2))):
        for result, expected in zip(results, alone, strict=True):
            heat = result.class_activation  # type: ignore[union-attr]
            np.testing.assert_allclose(heat, expected.class_activation, atol=1e-6)
    assert [each.label for each in alone] == ["red", "blue", "blue"]
    assert not np.allclose(alone[1].class_activation, alone[2].class_activation)


def test_a_bundle_without_a_map_cannot_explain(tmp_path: Path) -> None:
    folder = make_tiny_classifier(tmp_path / "b", network=ClassifierNetwork(architecture="tiny"))
    model = load(folder, "cpu", threads=1)
    assert model.predict_one(flat(WARM)).to_dict()["label"] == "red"
    with pytest.raises(UserError, match="explain: the bundle tiny has no class activation map; export it again"):
        model.predict_one(flat(WARM), explain=True)


TOLERANCE = Tolerance(box=0, box_relative=0, score=1e-2, margin=1e-3, pixels=0)

# Each row: expected, found, the gap of the logits, refusals, near-ties, the largest difference.
CASES = [
    ([0.7, 0.2, 0.1], [0.7, 0.2, 0.1], 9.0, 0, 0, 0.0),
    ([0.7, 0.2, 0.1], [0.691, 0.209, 0.1], 9.0, 0, 0, 0.009),
    ([0.7, 0.2, 0.1], [0.68, 0.22, 0.1], 9.0, 1, 0, 0.02),
    ([0.504, 0.496, 0.0], [0.498, 0.502, 0.0], 9.0, 1, 0, 0.006),  # another class, by more than the margin
    ([0.504, 0.496, 0.0], [0.498, 0.502, 0.0], 5e-4, 0, 1, 0.006),  # whose logits were near
    ([0.5004, 0.4996, 0.0], [0.4999, 0.5001, 0.0], 9.0, 0, 1, 0.0005),  # or whose probabilities were
    ([0.9, 0.1, 0.0], [0.1, 0.9, 0.0], 9.0, 2, 0, 0.8),
    ([0.5, 0.5, 0.0], [0.5, 0.5, 0.0], 0.0, 0, 0, 0.0),
    ([0.5, 0.5], [0.5, 0.5, 0.0], 9.0, 1, 0, 0.0),
]


@pytest.mark.parametrize(("expected", "found", "gap", "refusals", "ties", "largest"), CASES, ids=range(len(CASES)))
def test_compare(
    expected: list[float], found: list[float], gap: float, refusals: int, ties: int, largest: float
) -> None:
    comparison = TASK.compare({"probabilities": expected}, {"probabilities": found}, SPEC, TOLERANCE, lambda _: gap)
    assert (len(comparison.refusals), len(comparison.ties)) == (refusals, ties)
    assert comparison.largest == pytest.approx(largest)


def test_the_sentences_name_the_classes() -> None:
    found = TASK.compare(
        {"probabilities": [0.9, 0.1, 0.0]}, {"probabilities": [0.1, 0.85, 0.05]}, SPEC, TOLERANCE, no_gap
    )
    assert found.refusals == ["expected red at 0.9000, found it at 0.1000", "expected red, found green"]


@pytest.mark.parametrize(("logits", "gap"), [([1.0, 4.0, 2.5], 1.5), ([3.0, 3.0], 0.0), ([7.0], 1.0)])
def test_the_gap_is_between_the_two_largest_logits(logits: list[float], gap: float) -> None:
    assert TASK.gap(np.array(logits, np.float32), WHOLE, (64, 64), SPEC)(None) == gap
