"""Calibrated scores and answers that are unsure: the same in Python, JSON, pictures and every dialect."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_variants import golden_free
from scipy.special import expit, logit, softmax
from tiny_bundle import COLD, GREY, MAKERS, WARM, as_png, expected_probabilities, expected_score, flat, halves

from serve import InProcessClient, create_app
from toolkit.bundle_spec import ClassifierCalibration, DetectorCalibration
from toolkit.inference import Model, load
from toolkit.inference.task import Tolerance, no_gap

MEAN = [(a + b) / 2 for a, b in zip(WARM, GREY, strict=True)]
PICTURE = halves(WARM, GREY)
PLATT = DetectorCalibration(slope=1.8, offset=-0.4, abstain_at=0.9985, error_level=0.05)
WARM_SCORE = float(expit(1.8 * logit(expected_score(WARM)) - 0.4))
MEAN_SCORE = float(expit(1.8 * logit(expected_score(MEAN)) - 0.4))
SOFT = ClassifierCalibration(temperature=2.5, abstain_at=0.6, error_level=0.05)


def softened(colour: Any) -> Any:
    return softmax(np.log(expected_probabilities(colour)) / 2.5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("calibrated")
    return {
        task: load(
            golden_free(MAKERS[task](folder / f"{task}_golden", calibration=calibration), folder / task),
            "cpu",
            threads=1,
        )
        for task, calibration in {"detection": PLATT, "classification": SOFT}.items()
    }


@pytest.mark.parametrize("colour", [WARM, MEAN, COLD])
def test_probabilities_of_a_temperature(colour: Any, models: dict[str, Model]) -> None:
    result: Any = models["classification"].predict_one(flat([round(level) for level in colour]))
    wanted = softened([round(level) for level in colour])
    np.testing.assert_allclose(result.probabilities, wanted, atol=1e-5)
    unsure = wanted.max() <= 0.6
    assert (result.decision, result.abstained) == ("unsure" if unsure else result.label, unsure)
    assert bool(result.reason) == unsure


def test_a_classifier_says_why(models: dict[str, Model]) -> None:
    result: Any = models["classification"].predict_one(PICTURE)
    assert result.abstained
    said = result.to_dict()
    assert said["reason"] == (
        f"unsure, because red has {softened(MEAN)[0]:.3f}, and only more than 0.600 kept the wrong answers under 5 %"
        " in validation"
    )
    assert (said["decision"], said["abstained"], said["label"]) == ("unsure", True, "red")
    assert said["reason"] in result.summary()
    # A line of words stands over the bars, so the picture is another.
    assert (result.draw() != load_plain(models).predict_one(PICTURE).draw()).any()


def load_plain(models: dict[str, Model]) -> Any:
    """The same classifier without abstaining."""
    model = models["classification"]
    folder = Path(model.bundle.path).with_name("plain")
    plain = SOFT.model_copy(update={"abstain_at": None, "error_level": None})
    return load(MAKERS["classification"](folder, calibration=plain), "cpu", threads=1)


def test_a_bundle_that_always_answers_says_nothing_of_it(models: dict[str, Model]) -> None:
    result = load_plain(models).predict_one(PICTURE)
    assert (result.decision, result.abstained, result.reason) == ("red", False, "")
    assert not {"decision", "abstained", "reason"} & set(result.to_dict())


@pytest.mark.parametrize(("picture", "score"), [(flat(WARM), WARM_SCORE), (PICTURE, MEAN_SCORE)])
def test_a_boxs_score_goes_through_the_sigmoid(picture: Any, score: float, models: dict[str, Model]) -> None:
    result: Any = models["detection"].predict_one(picture)
    assert result.scores.tolist() == pytest.approx([score], abs=1e-5)
    unsure = score <= 0.9985
    assert result.decisions == ["unsure" if unsure else "warm"]
    assert result.abstained == [unsure]
    assert [bool(reason) for reason in result.reasons] == [unsure]
    assert result.summary().startswith(f"array: 1 {'unsure' if unsure else 'warm'}")


def test_thresholds_are_of_calibrated_scores(models: dict[str, Model]) -> None:
    model: Any = models["detection"]
    for threshold, found in ((MEAN_SCORE - 1e-3, 1), (MEAN_SCORE + 1e-3, 0), (0.0, 1), (1.0, 0)):
        result = model.predict_one(PICTURE, score_threshold=threshold, max_detections=1)
        assert len(result.scores) == found, threshold
    everything = model.predict_one(PICTURE, score_threshold=0.0)
    assert (np.diff(everything.scores) <= 0).all()


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_every_dialect_says_the_same(task: str, models: dict[str, Model]) -> None:
    model = models[task]
    said = model.predict_one(PICTURE).to_dict()  # type: ignore[union-attr]
    names = ("decisions", "abstained", "reasons") if task == "detection" else ("decision", "abstained", "reason")
    with InProcessClient(create_app(model)) as client:
        assert {name: client.predict(as_png(PICTURE))[name] for name in names} == {name: said[name] for name in names}
        text = base64.b64encode(as_png(PICTURE)).decode()
        path = {"detection": "/object-detection", "classification": "/image-classification"}[task]
        asked = json.dumps({"image": text, "visualize": False}).encode()
        answer = client.request("POST", path, asked, {"Content-Type": "application/json"}).json()["result"]
        paddlex = answer["detectedObjects"][0] if task == "detection" else answer
        first = [said[name][0] if task == "detection" else said[name] for name in names]
        assert [paddlex[name] for name in ("decision", "abstained", "reason")] == first
        question = {"name": "encoded_image", "shape": [1], "datatype": "BYTES", "data": [text]}
        body = json.dumps({"inputs": [question]}).encode()
        outputs = client.request("POST", "/v2/models/tiny/infer", body, {"Content-Type": "application/json"}).json()
        tensors = {each["name"]: each["data"] for each in outputs["outputs"]}
        for name in (names[0], names[2]):
            found = [base64.b64decode(each).decode() if name not in tensors else each for each in tensors[name]]
            assert found == (said[name] if task == "detection" else [said[name]])


@pytest.mark.parametrize(
    ("task", "name", "other", "near"),
    [
        ("classification", "decision", "red", False),
        ("classification", "decision", "red", True),
        ("detection", "decisions", ["warm"], False),
        ("detection", "decisions", ["warm"], True),
    ],
)
def test_parity_is_of_decisions_too(task: str, name: str, other: Any, near: bool, models: dict[str, Model]) -> None:
    model = models[task]
    said = model.predict_one(PICTURE).to_dict()  # type: ignore[union-attr]
    score = said["scores"][0] if task == "detection" else said["score"]
    calibration = model.spec.calibration.model_copy(update={"abstain_at": score + (1e-5 if near else 0.01)})  # type: ignore[attr-defined]
    spec = model.spec.model_copy(update={"calibration": calibration})
    tolerance = Tolerance(box=0.011, box_relative=1e-3, score=1e-3, margin=1e-4, pixels=0.0)
    compared = model.task.compare(said, {**said, name: other}, spec, tolerance, no_gap)
    assert (len(compared.ties), len(compared.refusals)) == ((1, 0) if near else (0, 1))
    assert "expected the decision unsure" in (compared.ties + compared.refusals)[0]
    assert model.task.compare(said, said, spec, tolerance, no_gap).refusals == []
