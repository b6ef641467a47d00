"""The registry of tasks, and what a model says to options that its task does not have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tiny_bundle import GREY, MAKERS, WARM, halves

from toolkit.bundle_spec import AnySpec
from toolkit.errors import UserError
from toolkit.inference import Model, load, predict
from toolkit.inference.task import TASKS, no_gap, task_of
from toolkit.results import ClassificationResult, DetectionResult, SegmentationResult

RESULTS = {
    "detection": DetectionResult,
    "classification": ClassificationResult,
    "segmentation": SegmentationResult,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("tasks")
    return {task: load(make(folder / task), "cpu", threads=1) for task, make in MAKERS.items()}


def test_every_task_of_a_bundle_is_registered() -> None:
    names = [get_args(spec.model_fields["task"].annotation)[0] for spec in get_args(get_args(AnySpec)[0])]
    assert sorted(names) == sorted(TASKS) == sorted(RESULTS)
    assert {name: task_of(name).result_type for name in TASKS} == RESULTS


@pytest.mark.parametrize("task", MAKERS)
def test_the_result_is_the_tasks_own_and_draws(models: dict[str, Model], task: str) -> None:
    picture = halves(WARM, GREY, (40, 90))
    results = [
        models[task].predict_one(picture),
        *models[task].predict([picture]),
        predict(models[task].bundle.path, picture),
    ]
    for result in results:
        assert type(result) is RESULTS[task]
        assert replace(result, source="array") == results[0]  # type: ignore[type-var]
        assert result.image_size == (40, 90)
        assert list(result.timing) == ["decode", "preprocess", "network", "postprocess"]
        assert (result.draw() != picture).any()


@pytest.mark.parametrize("task", MAKERS)
def test_the_bundle_names_the_outputs_that_the_file_has(models: dict[str, Model], task: str) -> None:
    model = models[task]
    raw = model.network(model.preprocess([halves(WARM, GREY)])[0])
    promised = model.task.outputs(model.spec)
    assert model.task.wanted(model.spec, False) == ("raw",)
    assert len(raw) == 1
    assert [size for size in promised["raw"][1:] if size is not None] == [
        found for found, size in zip(raw[0].shape[1:], promised["raw"][1:], strict=True) if size is not None
    ]


@pytest.mark.parametrize(
    ("task", "options", "sentence"),
    [
        (
            "detection",
            {"top_k": 3},
            "top_k: this model takes score_threshold and iou_threshold and max_detec",
        ),
        ("detection", {"explain": True}, "explain: tiny is a detection model, and only classifiers have a heat map"),
        ("classification", {"score_threshold": 0.5}, "score_threshold: this model takes top_k, not score_threshold"),
        ("classification", {"top_k": 0}, "top_k: expected an integer from 1 to 100000, got 0"),
        ("segmentation", {"top_k": 1}, "top_k: this model takes no options, not top_k"),
        ("segmentation", {"explain": True}, "explain: tiny is a segmentation model, and only classifiers have"),
    ],
)
def test_an_option_of_another_task_is_told_at_the_call(
    models: dict[str, Model], task: str, options: dict[str, Any], sentence: str
) -> None:
    picture = halves(WARM, GREY)
    model = models[task]
    for call in (model.predict, model.predict_one, lambda each, **given: model.run_batch([each], **given)):
        with pytest.raises(UserError) as caught:
            call(picture, **options)  # type: ignore[operator]
        assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("task", MAKERS)
def test_options_that_are_not_given_may_be_those_of_any_task(models: dict[str, Model], task: str) -> None:
    nothing = {"score_threshold": None, "iou_threshold": None, "max_detections": None, "top_k": None}
    picture = halves(WARM, GREY)
    assert models[task].predict_one(picture, **nothing) == models[task].predict_one(picture)  # type: ignore[arg-type]


def test_without_raw_outputs_nothing_is_near() -> None:
    assert no_gap(np.zeros(3)) == float("inf")


def test_an_unknown_task_is_a_fault_of_ours(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="telepathy"):
        task_of("telepathy")
