"""Bins: the sum of their classes' probabilities, told in every dialect and measured."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_variants import golden_free
from tiny_bundle import COLD, GREY, MAKERS, WARM, as_png, expected_probabilities, flat, halves

from serve import InProcessClient, create_app
from toolkit.bundle_spec import ClassifierCalibration
from toolkit.evaluation.classification_metrics import measure_classification
from toolkit.evaluation.task import evaluation_task
from toolkit.inference import Model, load

BINS = {
    "classification": {"cool": ("green", "blue"), "hot": ("red",)},
    "detection": {"hot": ("warm",), "cool": ("cold",)},
}
PICTURE = halves(WARM, GREY)
MEAN = [(a + b) / 2 for a, b in zip(WARM, GREY, strict=True)]


def made(task: str, folder: Path, **changes: Any) -> Model:
    whole = MAKERS[task](folder / "golden", postprocessing={"bins": BINS[task]}, **changes)
    return load(golden_free(whole, folder / "bundle"), "cpu", threads=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    return {task: made(task, tmp_path_factory.mktemp(task)) for task in BINS}


def test_a_bins_probability_is_the_sum_of_its_classes(models: dict[str, Model]) -> None:
    result: Any = models["classification"].predict_one(PICTURE)
    red, green, blue = expected_probabilities(MEAN)
    assert result.bin_probabilities == pytest.approx({"cool": green + blue, "hot": red}, abs=1e-5)
    assert (result.bin, result.label) == ("hot", "red")
    assert result.summary().startswith("array: red 0.")
    assert " -> hot (" in result.summary()
    assert (result.draw()[:, :, 0] != load_plain(models).predict_one(PICTURE).draw()[:, :, 0]).any()


def load_plain(models: dict[str, Model]) -> Any:
    folder = Path(models["classification"].bundle.path).with_name("plain")
    return load(MAKERS["classification"](folder), "cpu", threads=1)


def test_many_unlikely_classes_make_a_likely_bin(models: dict[str, Model]) -> None:
    """The likeliest class alone would go into the other one."""
    result: Any = models["classification"].predict_one(flat((108, 100, 100)))
    assert result.label == "red"
    assert result.bin == "cool"


def test_an_unsure_class_leaves_an_unsure_bin(tmp_path: Path) -> None:
    unsure = made("classification", tmp_path, calibration=ClassifierCalibration(abstain_at=1.0, error_level=0.05))
    result: Any = unsure.predict_one(PICTURE)
    assert (result.bin, result.decision) == ("unsure", "unsure")
    assert result.reason.startswith("unsure, because red has 0.")
    assert "no threshold kept the wrong answers under 5 %" in result.reason


def test_every_box_has_the_bin_of_its_class(models: dict[str, Model]) -> None:
    model: Any = models["detection"]
    for colour, name in ((WARM, "hot"), (COLD, "cool")):
        result = model.predict_one(flat(colour))
        assert result.box_bins == result.to_dict()["bins"] == [name]
    assert (model.predict_one(flat(WARM)).draw() != 0).any()


@pytest.mark.parametrize("task", BINS)
def test_every_dialect_tells_the_bin(task: str, models: dict[str, Model]) -> None:
    picture = as_png(PICTURE)
    text = base64.b64encode(picture).decode()
    header = {"Content-Type": "application/json"}
    with InProcessClient(create_app(models[task])) as client:
        said = client.predict(picture)
        assert (said["bins"] == ["hot"]) if task == "detection" else (said["bin"] == "hot")
        path = {"detection": "/object-detection", "classification": "/image-classification"}[task]
        asked = json.dumps({"image": text, "visualize": False}).encode()
        answer = client.request("POST", path, asked, header).json()["result"]
        assert (answer["detectedObjects"][0] if task == "detection" else answer)["bin"] == "hot"
        question = {"name": "encoded_image", "shape": [1], "datatype": "BYTES", "data": [text]}
        outputs = client.request("POST", "/v2/models/tiny/infer", json.dumps({"inputs": [question]}).encode(), header)
        tensors = {each["name"]: each["data"] for each in outputs.json()["outputs"]}
        assert tensors["bins" if task == "detection" else "bin"] == ["hot"]
        assert client.request("GET", "/metadata").json()["postprocessing"]["bins"] == {
            name: list(parts) for name, parts in BINS[task].items()
        }


def test_bins_are_measured() -> None:
    truth = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.4, 0.35, 0.25], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]])
    found = measure_classification(truth, probabilities, ("x", "y", "z"), bins={"a": [0], "b": [1, 2]})
    # The first is an x, but y and z together are likelier; the last is taken for an x.
    assert found["bins"]["right"] == 0.5
    assert found["bins"]["each"] == {
        "a": {"recall": 0.0, "precision": 0.0},
        "b": {"recall": pytest.approx(2 / 3), "precision": pytest.approx(2 / 3)},
    }
    sections = {section.title: section for section in evaluation_task("classification").sections(found)}
    assert [row[0] for row in sections["bin"].rows] == ["all", "a", "b"]
    assert "bins" not in measure_classification(truth, probabilities, ("x", "y", "z"))
