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
from toolkit.evaluation.sections import markdown_table, number, ranged
from toolkit.evaluation.table import as_card, as_json, as_table
from toolkit.evaluation.task import TASKS as EVALUATIONS
from toolkit.evaluation.task import evaluation_task
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
    monkeypatch.setattr(
        "toolkit.evaluation.target.load_table", lambda config, **_: asked.append(config) or load_table(trained)
    )
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


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_needs_no_more_than_predicting(task: str, quick_runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that holds the base install can measure a bundle."""
    run = quick_runs(task)
    for name in ("torch", "lightning", "albumentations", "pycocotools", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert toolkit.evaluate(run) == shipped(run)


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
NOTE = "In brackets the 95 % interval: percentile bootstrap over pictures, 200 rounds, seed 0."
METRICS: dict[str, dict[str, Any]] = {
    "detection": {
        "data": {"split": "val", "pictures": 9, "boxes": 1031},
        "coco": {"AP": 0.51234, "AP50": 0.71234, "AP75": 0.5, "AR100": 0.6, "AP_small": 0.1, "AR_small": 0.2,
                 "AP_medium": 0.3, "AR_medium": 0.4, "AP_large": None, "AR_large": None},
        "per_class": {
            "cat": {"AP": 0.6, "AP50": 0.8, "AR100": 0.7, "boxes": 1031},
            "dog": {"AP": None, "AP50": None, "AR100": None, "boxes": 0},
        },
        "intervals": {
            "AP": [0.4, 0.6],
            "AP50": [0.6, 0.8],
            "AP75": None,
            "per_class": {"cat": {"AP": [0.5, 0.7], "AP50": [0.7, 0.9]}, "dog": {"AP": None, "AP50": None}},
            "operating_point": {
                "found": [0.7, 0.8], "precision_of_boxes": [0.4, 0.6], "class_right_of_found": None,
                "per_class": {"cat": {"recall": [0.1, 0.3], "precision": [0.2, 0.4]},
                              "dog": {"recall": None, "precision": None}},
            },
            "per_group": {},
            "per_source": {"street": {"AP": [0.4, 0.6], "AP50": [0.6, 0.8], "found": None, "precision_of_boxes": None}},
            "method": METHOD,
        },
        "per_group": {},
        "per_source": {"street": {"AP": 0.5, "AP50": 0.7, "found": 0.75, "precision_of_boxes": 0.5, "pictures": 9}},
        "operating_point": {
            "score_threshold": 0.3,
            "found": 0.75,
            "precision_of_boxes": 0.5,
            "class_right_of_found": None,
            "per_class": {"cat": {"recall": 0.2, "precision": 0.3}, "dog": {"recall": None, "precision": None}},
        },
    },
    "classification": {
        "data": {"split": "val", "pictures": 9},
        "top1": 0.51234,
        "top5": 0.98,
        "macro_recall": 0.45,
        "macro_f1": 0.41234,
        "per_class": {
            "cat": {"recall": 0.6, "precision": 0.8, "f1": 0.7, "pictures": 9},
            "d|g": {"recall": None, "precision": None, "f1": None, "pictures": 0},
        },
        "calibration": {"expected_calibration_error": 0.05, "negative_log_likelihood": 0.7},
        "intervals": {
            "top1": [0.4, 0.6],
            "top5": [0.9, 1.0],
            "macro_recall": [0.35, 0.55],
            "macro_f1": [0.3, 0.5],
            "calibration": {"expected_calibration_error": [0.04, 0.06], "negative_log_likelihood": [0.5, 0.9]},
            "per_class": {"cat": {"recall": [0.5, 0.7], "precision": [0.7, 0.9], "f1": [0.6, 0.8]},
                          "d|g": {"recall": None, "precision": None, "f1": None}},
            "per_group": {f"scene {i}": {"top1": [0.0, 1.0], "macro_recall": None, "macro_f1": None}
                          for i in range(14)},
            "per_source": {"street": {"top1": [0.4, 0.6], "macro_recall": [0.2, 0.7], "macro_f1": [0.3, 0.5]}},
            "method": METHOD,
            "method_of_a_group": "95 % percentile bootstrap over its pictures, 200 rounds, seed 0",
        },
        "per_group": {f"scene {i}": {"top1": (i * 5 % 14) / 20, "macro_recall": None, "macro_f1": None, "pictures": 2}
                      for i in range(14)},
        "per_source": {"street": {"top1": 0.5, "macro_recall": 0.45, "macro_f1": 0.4, "pictures": 9}},
    },
    "segmentation": {
        "data": {"split": "val", "pictures": 9, "pixels": 900},
        "mean_dice": 0.51234,
        "mean_iou": 0.41234,
        "pixel_accuracy": 0.91,
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
        "outlines": {"cat": {"hd95": 3.1416, "pictures": 3, "one_sided": 1},
                     "dog": {"hd95": None, "pictures": 0, "one_sided": 0}},
        "intervals": {
            "mean_dice": None,
            "mean_iou": None,
            "pixel_accuracy": None,
            "per_class": {
                "background": {"dice": [0.9, 1.0], "dice_per_picture": None, "recall": None, "precision": None},
                "cat": {"dice": [0.5, 0.7], "dice_per_picture": [0.5, 0.6], "recall": [0.6, 0.8], "precision": None},
                "dog": {"dice": None, "dice_per_picture": None, "recall": None, "precision": None},
            },
            "regions": {"pet": {"dice": [0.6, 0.7], "dice_per_picture": None, "recall": None, "precision": None}},
            "per_group": {"p1": {"mean_dice": [0.5, 0.6], "dice": {"cat": [0.5, 0.7], "dog": None},
                                 "regions": {"pet": None}}},
            "per_source": {},
            "method": "no intervals: they need two pictures, or two groups of pictures where groups are told",
        },
        "per_group": {"p1": {"mean_dice": 0.55, "mean_iou": 0.4, "pixel_accuracy": 0.9,
                             "dice": {"background": 0.99, "cat": 0.6, "dog": None}, "regions": {"pet": 0.65},
                             "pictures": 9}},
        "per_source": {},
    },
}  # fmt: skip


def metrics_of(task: str, **changes: Any) -> dict[str, Any]:
    return {"bundle": {**BUNDLE, "task": task}, **copy.deepcopy(METRICS[task]), **changes}


HEADLINES = [
    ("detection", {}, {"AP": "0.512 [0.400, 0.600]", "AP50": "0.712 [0.600, 0.800]"}),
    ("detection", {"coco": {"AP": None, "AP50": None}}, {"AP": "- [0.400, 0.600]", "AP50": "- [0.600, 0.800]"}),
    (
        "classification",
        {"macro_f1": None},
        {"top-1": "0.512 [0.400, 0.600]", "macro-recall": "0.450 [0.350, 0.550]", "macro-F1": "- [0.300, 0.500]"},
    ),
    (
        "segmentation",  # the background is no news
        {},
        {"Dice cat": "0.600 [0.500, 0.700]", "Dice dog": "-", "Dice pet (region)": "0.650 [0.600, 0.700]"},
    ),
]


@pytest.mark.parametrize(("task", "changes", "headline"), HEADLINES)
def test_the_headline(task: str, changes: dict[str, Any], headline: dict[str, str]) -> None:
    told = evaluation_task(task).headline(metrics_of(task, **changes))
    assert {name: str(cell) for name, cell in told.items()} == headline


LOWEST = (0, 3, 6, 9, 12, 1, 4, 7, 10, 13, 2, 5)
LINES = {
    "detection": [
        "9 pictures, 1,031 boxes, split val",
        "",
        "overall",
        "AP                    0.512 [0.400, 0.600]  COCO's, over IoU 0.5 to 0.95",
        "AP50                  0.712 [0.600, 0.800]  at IoU 0.5",
        "AP75                  0.500                 at IoU 0.75",
        "AR100                 0.600                 recall with 100 boxes a picture",
        "found                 0.750 [0.700, 0.800]  of the objects, at score 0.3",
        "precision of boxes    0.500 [0.400, 0.600]  of the boxes, at score 0.3",
        "class right of found  -                     of those found, at score 0.3",
        "",
        "class  AP                    AP50                  recall at score 0.3   precision             boxes",
        "cat    0.600 [0.500, 0.700]  0.800 [0.700, 0.900]  0.200 [0.100, 0.300]  0.300 [0.200, 0.400]  1031",
        "dog    -                     -                     -                     -                     0",
        "",
        "size    AP     AR100",
        "small   0.100  0.200  up to 32 px",
        "medium  0.300  0.400  to 96 px",
        "large   -      -      over 96 px",
        "",
        "source  AP                    AP50                  found  precision of boxes  pictures",
        "street  0.500 [0.400, 0.600]  0.700 [0.600, 0.800]  0.750  0.500               9",
        "",
        NOTE,
    ],
    "classification": [
        "9 pictures, split val",
        "",
        "overall",
        "top-1              0.512 [0.400, 0.600]  the likeliest class is right",
        "top-5              0.980 [0.900, 1.000]  the right class is among the five likeliest",
        "macro-recall       0.450 [0.350, 0.550]  mean recall of the classes that are there",
        "macro-F1           0.412 [0.300, 0.500]  mean of the classes' F1",
        "calibration error  0.050 [0.040, 0.060]  mean distance of an answer's probability and how often such answers"
        " are right",
        "log likelihood     0.700 [0.500, 0.900]  negative, nats a picture; 0 is sure and right",
        "",
        "class  recall                precision             F1                    pictures",
        "cat    0.600 [0.500, 0.700]  0.800 [0.700, 0.900]  0.700 [0.600, 0.800]  9",
        "d|g    -                     -                     -                     0",
        "",
        "source  top-1                 macro-recall          macro-F1              pictures",
        "street  0.500 [0.400, 0.600]  0.450 [0.200, 0.700]  0.400 [0.300, 0.500]  9",
        "",
        "group     top-1                 macro-recall  macro-F1  pictures",
        *(f"scene {i:<2}  {i * 5 % 14 / 20:.3f} [0.000, 1.000]  -             -         2" for i in LOWEST),
        "(the lowest 12 of 14; metrics.json has all)",
        "",
        NOTE.replace("interval:", "interval (of a group: over its pictures):"),
    ],
    "segmentation": [
        "9 pictures, split val",
        "",
        "overall",
        "mean Dice       0.512  over cat, dog",
        "mean IoU        0.412  over cat, dog",
        "pixel accuracy  0.910  of all pixels, the background's too",
        "",
        "class         Dice                  IoU    Dice per picture      recall                precision  in pictures",
        "background    0.990 [0.900, 1.000]  0.980  0.970                 0.960                 0.950      9",
        "cat           0.600 [0.500, 0.700]  0.500  0.550 [0.500, 0.600]  0.700 [0.600, 0.800]  0.800      4",
        "dog           -                     -      -                     -                     -          0",
        "pet (region)  0.650 [0.600, 0.700]  0.500  0.550                 0.700                 0.800      4",
        "",
        "outline  HD95, median, in pixels  in pictures  only true or only predicted in",
        "cat      3.142                    3            1",
        "dog      -                        0            0",
        "",
        "group  mean Dice             cat                   dog  pet (region)  pictures",
        "p1     0.550 [0.500, 0.600]  0.600 [0.500, 0.700]  -    0.650         9",
        "",
        "No intervals: they need two pictures, or two groups of pictures where groups are told.",
    ],
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_the_lines_for_a_terminal(task: str) -> None:
    assert as_table(metrics_of(task)).splitlines() == LINES[task]


def test_the_text_for_the_card() -> None:
    """The same tables in Markdown, in which a | would end a cell."""
    lines = as_card(metrics_of("classification")).splitlines()
    assert lines[:6] == [
        f"On 9 pictures of the split `val`. {NOTE.replace('interval:', 'interval (of a group: over its pictures):')}",
        "",
        "| overall |  |  |",
        "| --- | --- | --- |",
        "| top-1 | 0.512 [0.400, 0.600] | the likeliest class is right |",
        "| top-5 | 0.980 [0.900, 1.000] | the right class is among the five likeliest |",
    ]
    assert "| d\\|g | - | - | - | 0 |" in lines
    assert lines[-1] == "(The lowest 12 of 14; metrics.json has all.)"


def test_regions_and_classes_that_are_many_do_not_make_a_table_wide() -> None:
    metrics = metrics_of("segmentation")
    metrics["mean_over"] = list("abcde")
    (section,) = [s for s in evaluation_task("segmentation").sections(metrics) if s.title == "group"]
    assert section.head == ("mean Dice", "mean IoU", "pictures")


@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_card_repeats_the_measured_numbers(task: str, quick_runs: Runs) -> None:
    run = quick_runs(task)
    card = (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    metrics = shipped(run)
    assert as_card(metrics) in card
    first = {"detection": ("coco", "AP50"), "classification": ("top1",), "segmentation": ("per_class", "warm", "dice")}
    value: Any = metrics
    for key in first[task]:
        value = value[key]
    assert f"{value:.3f}" in card
    for word in ("CC0-1.0", *load(run).labels, "Tests.", "largest differences"):
        assert word in card


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.500"), (0.0, "0.000"), (None, "-"), (float("nan"), "-"), (1, "1.000")]
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
