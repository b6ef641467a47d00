"""Measuring a bundle of each task: the numbers that a run ships are repeated, and told alike everywhere."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolkit
from toolkit.api import evaluate_with
from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.errors import UserError
from toolkit.evaluation.evaluate import measure
from toolkit.evaluation.table import as_json, as_table
from toolkit.evaluation.task import TASKS as EVALUATIONS
from toolkit.evaluation.task import evaluation_task, markdown_table, number, ranged
from toolkit.inference import load

TASKS = ("detection", "classification", "segmentation")
Runs = Callable[[str], Path]


def shipped(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_measured_to_the_same_bytes(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    written = (run / "metrics.json").read_text(encoding="utf-8")
    assert as_json(toolkit.evaluate(run)) + "\n" == written
    assert (run / "bundle/metrics.json").read_text(encoding="utf-8") == written


@pytest.mark.parametrize("task", TASKS)
def test_a_bundle_alone_is_measured_on_data_that_is_named(task: str, quick_runs: Runs) -> None:
    """What a stranger does with a bundle and a copy of the pictures."""
    run = quick_runs(task)
    root = load_config(run / "config.yaml").config.data.root  # type: ignore[union-attr]
    assert evaluate_with(run / "bundle", [f"data.root={root}"]) == shipped(run)
    with pytest.raises(UserError, match=r"say where the labelled pictures are: data\.root=\.\.\."):
        evaluate_with(run / "bundle")


def test_a_bundle_draws_the_split_that_its_training_drew(quick_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another seed it would be measured on pictures that it was trained on."""
    run = quick_runs("classification")
    trained = load_config(run / "config.yaml").config
    asked: list[Any] = []
    monkeypatch.setattr("toolkit.data.load_table", lambda config, **_: asked.append(config) or load_table(trained))
    evaluate_with(run / "bundle", [f"data.root={trained.data.root}"])  # type: ignore[union-attr]
    assert (asked[0].seed, asked[0].data) == (trained.seed, trained.data)
    assert trained.seed == 1  # not the default


@pytest.mark.parametrize("task", TASKS)
def test_the_splits_add_up(task: str, quick_runs: Runs) -> None:
    parts = [toolkit.evaluate(quick_runs(task), split=split)["data"] for split in ("train", "val", "all")]
    assert [part["split"] for part in parts] == ["train", "val", "all"]
    for unit in parts[0].keys() - {"split"}:
        assert parts[0][unit] + parts[1][unit] == parts[2][unit]
    with pytest.raises(UserError, match="the split 'test' has no pictures; choose another with --split"):
        toolkit.evaluate(quick_runs(task), split="test")


@pytest.mark.parametrize("task", TASKS)
def test_data_of_other_classes_is_refused(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    table = load_table(load_config(run / "config.yaml").config)
    renamed = type(table)(tuple(reversed(table.class_names)), table.samples)
    with pytest.raises(UserError, match=r"list the bundle's names in data\.classes, in its order"):
        measure(load(run, "cpu"), renamed, "val")


def test_only_detectors_need_pycocotools(quick_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that holds the base install can measure a classifier."""
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    for task in ("classification", "segmentation"):
        assert toolkit.evaluate(quick_runs(task)) == shipped(quick_runs(task))
    with pytest.raises(UserError, match=r"evaluation needs pycocotools: install them with pip install"):
        toolkit.evaluate(quick_runs("detection"))


def test_progress_is_told_picture_by_picture(quick_runs: Runs) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate_with(quick_runs("classification"), progress=lambda *step: told.append(step))
    pictures = shipped(quick_runs("classification"))["data"]["pictures"]
    assert [step for step in told if step[0] == "evaluating"] == [
        ("evaluating", done, pictures) for done in range(1, pictures + 1)
    ]


# -- how the numbers are told; two metrics of each task, written by hand -------------------------------------------

BUNDLE = {"name": "m", "version": "1.0.0"}
METHOD = "95 % percentile bootstrap over pictures, 200 rounds, seed 0"
METRICS: dict[str, dict[str, Any]] = {
    "detection": {
        "data": {"split": "val", "pictures": 9, "boxes": 31},
        "coco": {"AP": 0.51234, "AP50": 0.71234, "AP_large": None},
        "per_class": {
            "cat": {"AP": 0.6, "AP50": 0.8, "AR100": 0.7, "boxes": 31},
            "dog": {"AP": None, "AP50": None, "AR100": None, "boxes": 0},
        },
        "intervals": {
            "AP": [0.4, 0.6],
            "AP50": [0.6, 0.8],
            "per_class": {"cat": {"AP": [0.5, 0.7], "AP50": [0.7, 0.9]}, "dog": {"AP": None, "AP50": None}},
            "method": METHOD,
        },
        "per_source": {"street": {"AP": 0.5, "AP50": 0.7, "pictures": 9}},
        "operating_point": {
            "score_threshold": 0.3,
            "found": 0.75,
            "precision_of_boxes": 0.5,
            "class_right_of_found": None,
        },
    },
    "classification": {
        "data": {"split": "val", "pictures": 9},
        "top1": 0.51234,
        "top5": 0.98,
        "macro_f1": 0.41234,
        "per_class": {
            "cat": {"recall": 0.6, "precision": 0.8, "f1": 0.7, "pictures": 9},
            "dog": {"recall": None, "precision": None, "f1": None, "pictures": 0},
        },
        "calibration": {"expected_calibration_error": 0.05, "negative_log_likelihood": 0.7},
        "intervals": {"top1": [0.4, 0.6], "macro_f1": [0.3, 0.5], "per_class": {}, "method": METHOD},
        "per_source": {"street": {"top1": 0.5, "macro_f1": 0.4, "pictures": 9}},
    },
    "segmentation": {
        "data": {"split": "val", "pictures": 9, "pixels": 900},
        "mean_dice": 0.51234,
        "mean_iou": 0.41234,
        "mean_over": ["cat", "dog"],
        "per_class": {
            "background": {"dice": 0.99, "iou": 0.98, "dice_per_picture": 0.97, "recall": 0.96, "precision": 0.95,
                           "pictures": 9},
            "cat": {"dice": 0.6, "iou": 0.5, "dice_per_picture": 0.55, "recall": 0.7, "precision": 0.8, "pictures": 4},
            "dog": {"dice": None, "iou": None, "dice_per_picture": None, "recall": None, "precision": None,
                    "pictures": 0},
        },
        "regions": {
            "pet": {"dice": 0.65, "iou": 0.5, "dice_per_picture": 0.55, "recall": 0.7, "precision": 0.8, "pictures": 4}
        },
        "intervals": {
            "mean_dice": [0.4, 0.6],
            "mean_iou": [0.3, 0.5],
            "per_class": {
                "background": {"dice": [0.9, 1.0], "iou": None},
                "cat": {"dice": [0.5, 0.7], "iou": None},
                "dog": {"dice": None, "iou": None},
            },
            "regions": {"pet": {"dice": [0.6, 0.7], "iou": None}},
            "method": METHOD,
        },
        "per_group": {"p1": {"dice": {"background": 0.99, "cat": 0.6, "dog": None}, "regions": {"pet": 0.65},
                             "pictures": 9}},
        "per_source": {"street": {"mean_dice": 0.5, "mean_iou": None, "dice": {}, "regions": {}, "pictures": 9}},
    },
}  # fmt: skip


def metrics_of(task: str, **changes: Any) -> dict[str, Any]:
    return {"bundle": {**BUNDLE, "task": task}, **copy.deepcopy(METRICS[task]), **changes}


HEADLINES = [
    ("detection", {}, "AP 0.512, AP50 0.712"),
    ("detection", {"coco": {"AP": None, "AP50": None}}, "AP -, AP50 -"),
    ("classification", {}, "top-1 0.512, macro-F1 0.412"),
    ("classification", {"macro_f1": None}, "top-1 0.512, macro-F1 -"),
    ("segmentation", {}, "Dice cat 0.600, dog -, pet 0.650"),  # the background is no news
]


@pytest.mark.parametrize(("task", "changes", "headline"), HEADLINES)
def test_the_headline(task: str, changes: dict[str, Any], headline: str) -> None:
    assert evaluation_task(task).headline(metrics_of(task, **changes)) == headline


LINES = {
    "detection": [
        "9 pictures, 31 boxes, split val",
        "all classes  AP 0.5123 [0.4000, 0.6000]  AP50 0.7123 [0.6000, 0.8000]",
        "cat          AP 0.6000 [0.5000, 0.7000]  AP50 0.8000 [0.7000, 0.9000]",
        "dog          AP -  AP50 -",
        "street       AP 0.5000  AP50 0.7000  (9 pictures)",
        "AP 0.5123  AP50 0.7123  AP_large -",
        "at score 0.3: found 0.7500, precision of boxes 0.5000, class right of found -",
    ],
    "classification": [
        "9 pictures, split val",
        "all classes  top-1 0.5123 [0.4000, 0.6000]  top-5 0.9800  macro-F1 0.4123 [0.3000, 0.5000]",
        "cat          recall 0.6000  precision 0.8000  F1 0.7000  (9 pictures)",
        "dog          recall -  precision -  F1 -  (0 pictures)",
        "street       top-1 0.5000  macro-F1 0.4000  (9 pictures)",
        "calibration: expected calibration error 0.0500, negative log likelihood 0.7000",
    ],
    "segmentation": [
        "9 pictures, split val",
        "mean          Dice 0.5123 [0.4000, 0.6000]  IoU 0.4123  (over cat, dog)",
        "background    Dice 0.9900 [0.9000, 1.0000]  IoU 0.9800  Dice per picture 0.9700  recall 0.9600"
        "  precision 0.9500  (in 9 pictures)",
        "cat           Dice 0.6000 [0.5000, 0.7000]  IoU 0.5000  Dice per picture 0.5500  recall 0.7000"
        "  precision 0.8000  (in 4 pictures)",
        "dog           Dice -  IoU -  Dice per picture -  recall -  precision -  (in 0 pictures)",
        "pet (region)  Dice 0.6500 [0.6000, 0.7000]  IoU 0.5000  Dice per picture 0.5500  recall 0.7000"
        "  precision 0.8000  (in 4 pictures)",
        "p1: Dice background 0.9900, cat 0.6000, dog -, pet (region) 0.6500 (9 pictures)",
        "street: mean Dice 0.5000  mean IoU - (9 pictures)",
    ],
}


@pytest.mark.parametrize("task", TASKS)
def test_the_lines_for_a_terminal(task: str) -> None:
    assert as_table(metrics_of(task)).splitlines() == LINES[task]


CARDS = {
    "detection": [
        "On the 9 pictures (31 boxes) of the split `val`, COCO's protocol; in brackets the 95 % interval"
        " (percentile bootstrap over pictures, 200 rounds, seed 0).",
        "",
        "|  | AP | AP50 | boxes |",
        "| --- | --- | --- | --- |",
        "| all | 0.512 [0.400, 0.600] | 0.712 [0.600, 0.800] | 31 |",
        "| cat | 0.600 [0.500, 0.700] | 0.800 [0.700, 0.900] | 31 |",
        "| dog | - | - | 0 |",
        "",
        "| source | AP | AP50 | pictures |",
        "| --- | --- | --- | --- |",
        "| street | 0.500 | 0.700 | 9 |",
        "",
        "At the shipped score threshold 0.3: 75.0 % of the objects are found, 50.0 % of the boxes given lie on an"
        " object (IoU 0.5), and the class is right on - of those.",
    ],
    "classification": [
        "On the 9 pictures of the split `val`: top-1 0.512 [0.400, 0.600], macro-F1 0.412 [0.300, 0.500]; in brackets"
        " the 95 % interval (percentile bootstrap over pictures, 200 rounds, seed 0).",
        "",
        "|  | recall | precision | F1 | pictures |",
        "| --- | --- | --- | --- | --- |",
        "| cat | 0.600 | 0.800 | 0.700 | 9 |",
        "| dog | - | - | - | 0 |",
        "",
        "| source | top-1 | macro-F1 | pictures |",
        "| --- | --- | --- | --- |",
        "| street | 0.500 | 0.400 | 9 |",
    ],
    "segmentation": [
        "On the 9 pictures of 1 group of the split `val`; Dice and IoU over all pixels together; in brackets the 95 %"
        " interval (percentile bootstrap over pictures, 200 rounds, seed 0).",
        "",
        "|  | Dice | IoU | Dice per picture | recall | precision | in pictures |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| background | 0.990 [0.900, 1.000] | 0.980 | 0.970 | 0.960 | 0.950 | 9 |",
        "| cat | 0.600 [0.500, 0.700] | 0.500 | 0.550 | 0.700 | 0.800 | 4 |",
        "| dog | - | - | - | - | - | 0 |",
        "| pet (region) | 0.650 [0.600, 0.700] | 0.500 | 0.550 | 0.700 | 0.800 | 4 |",
        "",
        "| source | mean Dice | mean IoU | pictures |",
        "| --- | --- | --- | --- |",
        "| street | 0.500 | - | 9 |",
    ],
}


@pytest.mark.parametrize("task", TASKS)
def test_the_text_for_the_card(task: str) -> None:
    assert evaluation_task(task).card(metrics_of(task)) == CARDS[task]


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_card_repeats_the_measured_numbers(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    card = (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = shipped(run)
    assert "\n".join(evaluation_task(task).card(metrics)) in card
    first = {"detection": ("coco", "AP50"), "classification": ("top1",), "segmentation": ("per_class", "warm", "dice")}
    value: Any = metrics
    for key in first[task]:
        value = value[key]
    assert f"{value:.3f}" in card
    for word in ("CC0-1.0", *load(run).labels, "Tests.", "largest differences"):
        assert word in card


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5000"), (0.0, "0.0000"), (None, "-"), (float("nan"), "-"), (1, "1.0000")]
)
def test_a_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "around", "text"),
    [
        (0.5, [0.25, 0.75], "0.50 [0.25, 0.75]"),
        (0.5, None, "0.50"),
        (None, None, "-"),
        (0.5, [None, None], "0.50 [-, -]"),
        (0.5, [float("nan"), 1.0], "0.50 [-, 1.00]"),
    ],
)
def test_a_number_with_its_interval(value: float | None, around: list | None, text: str) -> None:
    assert ranged(value, around, 2) == text


def test_a_table_in_markdown() -> None:
    assert markdown_table(("", "x"), [("a", "1")]) == ["|  | x |", "| --- | --- |", "| a | 1 |"]


def test_every_task_is_measured() -> None:
    assert set(EVALUATIONS) == set(TASKS)
