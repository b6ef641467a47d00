"""What ``bundle.yaml`` may say, task by task, and which options a call may override."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_bundle import MAKERS, tiny_classifier_spec, tiny_segmenter_spec

from toolkit.bundle import Bundle, write_bundle
from toolkit.bundle_spec import (
    BundleSpec,
    ClassificationPostprocessing,
    ClassificationSpec,
    DetectionPostprocessing,
    DetectionSpec,
    Postprocessing,
    SegmentationPostprocessing,
    SegmentationSpec,
)
from toolkit.errors import UserError


@pytest.mark.parametrize(
    ("task", "kind", "step"),
    [
        ("detection", DetectionSpec, "detect"),
        ("classification", ClassificationSpec, "classify"),
        ("segmentation", SegmentationSpec, "segment"),
    ],
)
def test_the_task_says_which_spec_it_is(task: str, kind: type[BundleSpec], step: str, tmp_path: Path) -> None:
    bundle = Bundle.open(MAKERS[task](tmp_path / "b"))
    assert type(bundle.spec) is kind
    assert (bundle.task, bundle.spec.pipeline) == (task, ({step: "self"},))
    assert bundle.network_bytes()[:2] == b"\x08\t"  # ONNX of intermediate version 9
    assert {"golden/0.png", "golden/1.png", "golden/expected.json"} < set(bundle.names())


@pytest.mark.parametrize(
    "spec",
    [
        tiny_classifier_spec(labels=("no", "12:30", "1e3"), postprocessing=ClassificationPostprocessing(top_k=1)),
        tiny_segmenter_spec(
            labels=("background", "lung", "lesion"),
            postprocessing=SegmentationPostprocessing(regions={"chest": ("lung", "lesion"), "no": ("background",)}),
        ),
    ],
    ids=["classification", "segmentation"],
)
def test_every_field_of_the_other_tasks_survives_the_file(spec: BundleSpec, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", spec, {"model.onnx": b"network"})
    assert bundle.spec == spec.model_copy(update={"files": bundle.spec.files})
    assert bundle.spec.network == spec.network


@pytest.mark.parametrize(
    ("task", "keys", "value", "message"),
    [
        ("classification", ("postprocessing", "top_k"), 0, "postprocessing.top_k: Input should be greater"),
        ("classification", ("postprocessing", "score_threshold"), 0.5, "postprocessing.score_threshold: Extra inputs"),
        ("classification", ("network", "strides"), [8], "network.strides: Extra inputs"),
        ("classification", ("network", "map_output"), 1, "network.map_output: Input should be a valid string"),
        ("segmentation", ("postprocessing", "top_k"), 5, "postprocessing.top_k: Extra inputs"),
        ("segmentation", ("postprocessing", "regions"), ["warm"], "postprocessing.regions: Input should be an object"),
        ("segmentation", ("network", "map_output"), "class_map", "network.map_output: Extra inputs"),
        ("detection", ("network", "map_output"), "class_map", "network.map_output: Extra inputs"),
        ("detection", ("task",), "classification", "network.strides: Extra inputs"),
        ("classification", ("task",), "segmentation", "network.map_output: Extra inputs"),
    ],
)
def test_what_another_task_would_say_is_refused(
    task: str, keys: tuple[str, ...], value: object, message: str, tmp_path: Path
) -> None:
    folder = MAKERS[task](tmp_path / "b")
    content = yaml.safe_load((folder / "bundle.yaml").read_text())
    reduce(getitem, keys[:-1], content)[keys[-1]] = value
    (folder / "bundle.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        Bundle.open(folder)
    assert str(caught.value).startswith(f"bundle {folder}: bundle.yaml: {message}")


@pytest.mark.parametrize(
    ("postprocessing", "key", "value", "message"),
    [
        (DetectionPostprocessing(), "score_threshold", 1.01, "expected a number from 0 to 1, got 1.01"),
        (DetectionPostprocessing(), "score_threshold", "0.5", "expected a number from 0 to 1, got '0.5'"),
        (DetectionPostprocessing(), "iou_threshold", -0.1, "expected a number from 0 to 1, got -0.1"),
        (DetectionPostprocessing(), "iou_threshold", float("nan"), "expected a number from 0 to 1, got nan"),
        (DetectionPostprocessing(), "max_detections", 0, "expected an integer from 1 to 100000, got 0"),
        (DetectionPostprocessing(), "max_detections", 2.0, "expected an integer from 1 to 100000, got 2.0"),
        (ClassificationPostprocessing(), "top_k", 0, "expected an integer from 1 to 100000, got 0"),
        (ClassificationPostprocessing(), "top_k", True, "expected an integer from 1 to 100000, got True"),
        (ClassificationPostprocessing(), "score_threshold", 0.5, "this model takes top_k, not score_threshold"),
        (ClassificationPostprocessing(), "topk", 1, "this model takes top_k, not topk; did you mean 'top_k'?"),
        (SegmentationPostprocessing(), "regions", {}, "this model takes no options, not regions"),
        (SegmentationPostprocessing(), "top_k", 1, "this model takes no options, not top_k"),
    ],
)
def test_an_option_out_of_range_or_of_another_task(
    postprocessing: Postprocessing, key: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        postprocessing.override(**{key: value})
    assert str(caught.value) == f"{key}: {message}"


def test_override_keeps_the_rest() -> None:
    postprocessing = DetectionPostprocessing(score_threshold=0.3, max_detections=7)
    assert postprocessing.override() == postprocessing.override(score_threshold=None) == postprocessing
    assert postprocessing.override(iou_threshold=0) == DetectionPostprocessing(
        score_threshold=0.3, iou_threshold=0, max_detections=7
    )
    assert ClassificationPostprocessing(top_k=3).override(top_k=1) == ClassificationPostprocessing(top_k=1)
    # an option of another task that is not given is no mistake: Python hands them all through
    assert SegmentationPostprocessing().override(top_k=None, score_threshold=None) == SegmentationPostprocessing()


def test_options_are_named_with_their_values() -> None:
    assert ClassificationPostprocessing.options() == {"top_k": "an integer from 1 to 100000"}
    assert list(DetectionPostprocessing.options()) == ["score_threshold", "iou_threshold", "max_detections"]
    assert SegmentationPostprocessing.options() == {}
