"""``toolkit evaluate``: what is printed where, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from labelled_folders import FOLDERS
from tiny_bundle import MAKERS

TASKS = ("detection", "classification", "segmentation")
FIRST = {"detection": "6 pictures, 6 boxes, split all", "classification": "5 pictures, split all",
         "segmentation": "4 pictures, split all"}  # fmt: skip


@pytest.fixture
def things(tmp_path: Path) -> dict[str, Path]:
    """In the working directory, a bundle and a labelled folder of each task."""
    return {
        **{f"{task}_bundle": MAKERS[task](tmp_path / f"{task}_bundle") for task in TASKS},
        **{task: FOLDERS[task](tmp_path / task) for task in TASKS},
    }


@pytest.mark.parametrize("task", TASKS)
def test_numbers_are_printed_and_the_report_is_named(run: Any, things: Any, tmp_path: Path, task: str) -> None:
    code, out, err = run("evaluate", f"{task}_bundle", "--data", task)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == FIRST[task]
    assert err.startswith(f"data: {task}, read as ")
    told = lines[-1].removeprefix("report: ")
    assert (tmp_path / told).is_file()
    assert told.startswith("evaluations/tiny/")
    assert (tmp_path / told).parent.joinpath("metrics.json").is_file()


def test_a_report_goes_where_it_is_told(run: Any, things: Any, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", "classification_bundle", "--data", "classification", "--report", "there")
    assert (code, out.splitlines()[-1]) == (0, "report: there/index.html")
    assert not (tmp_path / "evaluations").exists()


def test_json_is_for_programs(run: Any, things: Any, tmp_path: Path) -> None:
    code, out, err = run("evaluate", "classification_bundle", "--data", "classification", "--json")
    assert code == 0
    assert json.loads(out)["data"] == {"split": "all", "pictures": 5}
    assert "report" not in err
    assert not (tmp_path / "evaluations").exists()
    code, out, err = run("evaluate", "classification_bundle", "--data", "classification", "--json", "--report", "r")
    assert json.loads(out)["top1"] == 0.6
    assert "report: r/index.html" in err


def test_no_report(run: Any, things: Any, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", "classification_bundle", "--data", "classification", "--no-report")
    assert code == 0
    assert "report:" not in out
    assert not (tmp_path / "evaluations").exists()


def test_broken_pictures_can_be_left_out(run: Any, things: dict[str, Path]) -> None:
    (things["classification"] / "red/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    asked = ("evaluate", "classification_bundle", "--data", "classification", "--no-report")
    code, out, err = run(*asked)
    assert (code, out) == (2, "")
    assert "red/broken.jpg" in err
    assert "data.on_fault: skip" in err
    code, out, err = run(*asked, "data.on_fault=skip")
    assert code == 0
    assert out.startswith("5 pictures, split all")
    assert "left out: classification/red/broken.jpg" in err


def test_a_class_of_another_name(run: Any, things: dict[str, Path]) -> None:
    (things["classification"] / "red").rename(things["classification"] / "redd")
    asked = ("evaluate", "classification_bundle", "--data", "classification", "--json")
    code, _, err = run(*asked)
    assert code == 2
    assert "the data's class 'redd' is none of the model's (red, green, blue); --map redd=red takes it" in err
    code, out, _ = run(*asked, "--map", "redd=red")
    assert (code, json.loads(out)["top1"]) == (0, 0.6)
    code, out, _ = run(*asked, "--map", "redd=")
    assert (code, json.loads(out)["data"]["pictures"]) == (0, 3)


MISTAKES = [
    ("--data nowhere", "nowhere: no such folder; --data names a folder of labelled pictures"),
    ("--data detection", "detection: holds no labels of classification that are known by their looks"),
    ("--data classification --map red", "--map red: expected NAME=LABEL, or NAME= to leave a class out"),
    ("--data classification --map =red", "--map =red: expected NAME=LABEL"),
    ("--map red=green", "--map: changes the classes of a folder; name it with --data FOLDER"),
    ("--data classification train.epochs=3", "train.epochs=3: expected a key of the data block"),
    ("--data classification data.formt=csv", "data.formt=csv: unknown key; did you mean 'format'?"),
    ("--data classification --split vall", "split 'vall': expected one of train, val, test, all"),
    ("--data classification --split val", "the split 'val' has no pictures; choose another with --split"),
    ("", "give labelled pictures with --data FOLDER, or a config with --config FILE"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES, ids=[row[0] or "nothing" for row in MISTAKES])
def test_a_mistake_is_one_sentence(run: Any, things: Any, options: str, sentence: str) -> None:
    (things["detection"] / "images").rename(things["detection"] / "notes")
    for path in (things["detection"] / "notes").iterdir():
        path.rename(path.with_suffix(".txt"))
    code, out, err = run("evaluate", "classification_bundle", *options.split())
    assert (code, out) == (2, ""), err
    assert sentence in err
    assert err.startswith("error: ")
