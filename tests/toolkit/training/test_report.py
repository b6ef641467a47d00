"""The pictures of a run show what the network sees, whatever the preprocessing made of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit import plotting
from toolkit.config import parse_config
from toolkit.data import BoxSample, LabelSample, MaskSample, Table
from toolkit.preprocess import Preprocessing
from toolkit.training import plots
from toolkit.training.plots import plot_results
from toolkit.training.report import as_picture, draw_data
from toolkit.training.run_folder import Run
from toolkit.training.task import TASKS, training_task

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PICTURE = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize(("mean", "std"), [((0, 0, 0), (1, 1, 1)), (MEAN, STD)], ids=["plain", "imagenet"])
def test_a_picture_of_the_inputs_size_comes_back_as_it_was(color: Any, kind: Any, mean: Any, std: Any) -> None:
    spec = Preprocessing(input_size=(32, 48), kind=kind, color=color, mean=tuple(map(float, mean)), std=std_of(std))
    shown = as_picture(spec.apply(PICTURE)[0], spec)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, PICTURE)


def std_of(std: Any) -> tuple[float, float, float]:
    return tuple(map(float, std))  # type: ignore[return-value]


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_picture_of_its_own_levels_is_shown_around_grey(color: Any) -> None:
    dark = (PICTURE // 4 + np.array([0, 20, 60])).astype(np.uint8)
    spec = Preprocessing(input_size=(32, 48), color=color, normalize="picture")
    shown = as_picture(spec.apply(dark)[0], spec)
    levels = dark.astype(np.float64)
    expected = 127.5 + 63.75 * (levels - levels.mean((0, 1))) / levels.std((0, 1))
    np.testing.assert_allclose(shown, np.clip(expected, 0, 255), atol=0.51)


def test_what_leaves_the_grey_levels_is_cut_off() -> None:
    spec = Preprocessing(input_size=(1, 2))
    pixels = np.float32([[[-9, 300]], [[0.4, 254.6]], [[255, 128]]])
    assert as_picture(pixels, spec)[0].tolist() == [[255, 0, 0], [128, 255, 255]]


def table_of(task: str, folder: Path) -> Table[Any]:
    """Two pictures in train and one in val, half of each labelled."""
    samples: list[Any] = []
    for index, split in enumerate(("train", "train", "val")):
        path = folder / f"{index}.png"
        Image.fromarray(PICTURE).save(path)
        common: dict[str, Any] = {"path": path, "name": path.name, "size": (32, 48), "split": split, "group": ""}
        if task == "detection":
            labels = BoxSample(
                **common, boxes=np.float32([[4, 4, 30, 28]]), class_ids=np.array([index % 2]),
                crowd=np.array([False]), areas=np.array([624.0]),
            )  # fmt: skip
        elif task == "classification":
            labels = LabelSample(**common, class_id=index % 2)
        else:
            mask = folder / f"{index}_mask.png"
            Image.fromarray(np.repeat(np.uint8([[0] * 24 + [1] * 24]), 32, 0)).save(mask)
            labels = MaskSample(**common, masks=((mask, None),), pixels=np.array([768, 768]))
        samples.append(labels)
    return Table(("a", "b"), tuple(samples))


MODELS = {"detection": "yolox_nano", "classification": "mobilenet_v2", "segmentation": "unet"}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_what_will_be_trained_on_is_drawn(task: str, tmp_path: Path) -> None:
    config = parse_config(
        f"name: x\ntask: {task}\ndata: {{format: shapes}}\nmodel: {{name: {MODELS[task]}, input_size: [32, 64]}}\n"
    ).config
    preprocessing = Preprocessing(input_size=(32, 64), **config.preprocess.model_dump())
    table, side = table_of(task, tmp_path), training_task(task)
    training_set = side.training_set(table.subset("train"), config, preprocessing)
    draw_data(Run(tmp_path), table, training_set, side)
    sheets = sorted(tmp_path.glob("augmented_*.jpg"))
    assert [Image.open(sheet).size for sheet in sheets] == [(4 * 64, 2 * 32)] * 2
    assert np.asarray(Image.open(tmp_path / "labels.png").convert("RGB")).std() > 5


def test_counts_do_not_hide_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def new_figure(*size: Any) -> Any:
        figure, axes = plotting.new_figure(*size)
        drawn.append(axes[0, 0])
        return figure, axes

    monkeypatch.setattr(plots, "new_figure", new_figure)
    table = tmp_path / "results.csv"
    table.write_text("epoch,learning_rate,train/loss,train/box,train/positives,val/AP\n1,0.1,8,5,900,0.5\n")
    plot_results(table, tmp_path / "results.png", ["box", "positives"], ["AP"])
    assert [line.get_label() for line in drawn[0].lines] == ["loss", "box"]


def test_results_of_a_run_without_validations_are_drawn(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "learning_rate", "train/loss", "train/part", "val/number"])
        writer.writerows([[1, 0.1, 3, 1, ""], [2, 0.05, 2, 0.5, ""]])
    plot_results(table, tmp_path / "results.png", ["part"], ["number"])
    assert Image.open(tmp_path / "results.png").size == (1300, 400)
