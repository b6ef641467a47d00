"""Measuring on changed pictures: as if somebody had changed the files and their labels by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_folders import FOLDERS, MASKS
from PIL import Image
from tiny_bundle import MAKERS
from typer.testing import CliRunner

from toolkit import images
from toolkit.api import evaluate_with
from toolkit.cli.main import app
from toolkit.data.mask_files import read_mask
from toolkit.data.table import Table
from toolkit.errors import UserError
from toolkit.evaluation.changes import changed_table
from toolkit.evaluation.target import folder_subject
from toolkit.evaluation.task import evaluation_task
from toolkit.inference import load

TASKS = ("detection", "classification", "segmentation")
INVERT, FLIP = "[{InvertImg: {p: 1}}]", "[{HorizontalFlip: {p: 1}}]"


@pytest.fixture
def made(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """A bundle and a labelled folder of each task."""
    return {task: (MAKERS[task](tmp_path / f"{task}_bundle"), FOLDERS[task](tmp_path / task)) for task in TASKS}


def invert(folder: Path) -> None:
    """By hand; masks are no pictures."""
    for path in folder.rglob("*.png"):
        if path.parent.name != "masks":
            Image.fromarray(255 - np.asarray(Image.open(path).convert("RGB"))).save(path)


@pytest.mark.parametrize("task", TASKS)
def test_the_numbers_are_those_of_files_changed_by_hand(task: str, made: Any) -> None:
    bundle, folder = made[task]
    metrics = evaluate_with(bundle, [f"measures.changes={{dark: {INVERT}}}"], data=folder, changes=True)
    before = evaluate_with(bundle, data=folder)
    assert {key: value for key, value in metrics.items() if key != "changes"} == before
    invert(folder)
    after = evaluate_with(bundle, data=folder)
    columns = evaluation_task(task).columns(before)
    assert set(metrics["changes"]["unchanged"]) == set(metrics["changes"]["each"]["dark"]) == set(columns)
    for name, path in columns.items():
        plain, dark = at(before, path), at(after, path)
        cell = metrics["changes"]["each"]["dark"][name]
        assert metrics["changes"]["unchanged"][name]["value"] == (None if plain is None else pytest.approx(plain))
        assert cell["value"] == (None if dark is None else pytest.approx(dark))
        assert cell["difference"] == (None if plain is None or dark is None else pytest.approx(dark - plain))
    assert any(cell["difference"] for cell in metrics["changes"]["each"]["dark"].values())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def at(metrics: Any, path: tuple[str, ...]) -> Any:
    """The number of all pictures, which some tasks keep in a block of its own or under the class's name."""
    if path in (("AP",), ("AP50",)):
        return metrics["coco"][path[0]]
    if path[0] == "dice":
        return metrics["per_class"][path[1]]["dice"]
    for block in (metrics, metrics.get("operating_point", {})):
        if path[0] in block:
            return block[path[0]]
    raise KeyError(path)


def changed(task: str, made: Any, folder: Path, transforms: Any) -> tuple[Table[Any], Table[Any]]:
    """The table of the task's folder, and the same changed."""
    bundle, root = made[task]
    table = folder_subject(root, load(bundle, "cpu").spec, [], "all", {}, None).table
    folder.mkdir(exist_ok=True)
    return table, changed_table(evaluation_task(task), table, transforms, folder, "measures.changes.x")


def test_boxes_move_with_the_picture(made: Any, tmp_path: Path) -> None:
    before, after = changed("detection", made, tmp_path / "c", [{"HorizontalFlip": {"p": 1}}])
    for one, other in zip(before.samples, after.samples, strict=True):
        mirrored = one.boxes.copy()
        mirrored[:, [0, 2]] = 64 - one.boxes[:, [2, 0]]
        np.testing.assert_allclose(other.boxes, mirrored)
        np.testing.assert_array_equal(other.class_ids, one.class_ids)
        np.testing.assert_array_equal(other.crowd, one.crowd)
        np.testing.assert_allclose(other.areas, one.areas)
        assert (other.name, other.group, other.split) == (one.name, one.group, one.split)


def test_boxes_that_are_cut_away_are_gone(made: Any, tmp_path: Path) -> None:
    """Of three.png's boxes the corner's stays, of the one in the middle a part, the far one goes; twice as large."""
    crop = {"x_min": 0, "y_min": 0, "x_max": 32, "y_max": 48, "p": 1}
    before, after = changed(
        "detection", made, tmp_path / "c", [{"Crop": crop}, {"Resize": {"height": 96, "width": 64, "p": 1}}]
    )
    index = next(i for i, sample in enumerate(before.samples) if sample.name.endswith("three.png"))
    one, other = before.samples[index], after.samples[index]
    assert other.size == (96, 64)
    expected = 2 * np.minimum(one.boxes[:2], [32, 48, 32, 48])
    np.testing.assert_allclose(other.boxes, expected)
    np.testing.assert_array_equal(other.class_ids, one.class_ids[:2])
    shares = (expected[:, 2:] - expected[:, :2]).prod(1) / (one.boxes[:2, 2:] - one.boxes[:2, :2]).prod(1)
    np.testing.assert_allclose(other.areas, one.areas[:2] * shares)


def test_masks_move_with_the_picture(made: Any, tmp_path: Path) -> None:
    before, after = changed("segmentation", made, tmp_path / "c", [{"HorizontalFlip": {"p": 1}}])
    for one, other in zip(before.samples, after.samples, strict=True):
        np.testing.assert_array_equal(read_mask(other), read_mask(one)[:, ::-1])
        np.testing.assert_array_equal(images.decode(other.path), images.decode(one.path)[:, ::-1])
        np.testing.assert_array_equal(other.pixels, one.pixels)
    assert len(after) == len(MASKS)


def test_a_seed_draws_the_same_and_each_picture_its_own(made: Any, tmp_path: Path) -> None:
    noise = [{"GaussNoise": {"std_range": [0.1, 0.1], "p": 1}}]
    runs = [changed("segmentation", made, tmp_path / name, noise) for name in ("a", "b")]
    first, second = ([images.decode(sample.path).astype(int) for sample in after.samples] for _, after in runs)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    plain = [images.decode(sample.path).astype(int) for sample in runs[0][0].samples]
    noises = [one - other for one, other in zip(first, plain, strict=True)]
    assert all(noise.std() > 5 for noise in noises)
    assert not np.array_equal(noises[0], noises[2])  # the same drawn picture under two names


def test_it_is_printed_and_stands_in_the_report(made: Any, tmp_path: Path) -> None:
    bundle, folder = map(str, made["segmentation"])
    asked = [f"measures.changes={{dark: {INVERT}, mirrored: {FLIP}}}", "--data", folder, "--changes"]
    printed = CliRunner().invoke(app, ["evaluate", bundle, *asked, "--report", str(tmp_path / "r")])
    assert printed.exit_code == 0, printed.output
    lines = printed.stdout.splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("pictures changed"))
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["unchanged", "dark", "mirrored"]
    metrics = json.loads((tmp_path / "r/metrics.json").read_text(encoding="utf-8"))
    value = metrics["changes"]["each"]["mirrored"]["mean Dice"]["value"]
    difference = metrics["changes"]["each"]["mirrored"]["mean Dice"]["difference"]
    assert lines[head + 3].split()[1:3] == [f"{value:.3f}", f"({difference:+.3f})"]
    assert "By pictures changed" in (tmp_path / "r/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "--changes: tiny names no changes; name some with 'measures.changes={noise: [{GaussNoise: {p: 1}}]}'"),
        (
            ["measures.changes={n: [{GausNoise: {}}]}"],
            "measures.changes.n.0.GausNoise: albumentations has no such transform; did you mean 'GaussNoise'?",
        ),
        (
            ["measures.changes={n: [{GaussNoise: {sdt: 1}}]}"],
            "changes.n.0.GaussNoise: albumentations does not",
        ),
        (["measures.changes={n: []}"], "n changes nothing; expected one transform or more"),
        (["measures.changes={n: [{A: {}, B: {}}]}"], "expected one transform"),
    ],
)
def test_what_cannot_be_changed(asked: list[str], sentence: str, made: Any) -> None:
    bundle, folder = made["classification"]
    with pytest.raises(UserError) as caught:
        evaluate_with(bundle, asked, data=folder, changes=True)
    assert sentence in str(caught.value)
