"""The pictures of a run: what is trained on before it starts, and what came of it at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit import images
from toolkit.data.plots import plot_table
from toolkit.data.table import Table
from toolkit.evaluation.task import evaluation_task
from toolkit.inference import load
from toolkit.preprocess import Preprocessing
from toolkit.training.dataset import TrainingSet
from toolkit.training.plots import plot_results
from toolkit.training.run_folder import Run
from toolkit.training.task import TrainingTask

SHEETS, ROWS, COLUMNS = 2, 2, 4
VALIDATION_SHOWN = 12


def draw_data(run: Run, table: Table[Any], training_set: TrainingSet[Any], task: TrainingTask) -> None:
    """Write ``labels.png`` (counts and sizes of the labels) and ``augmented_*.jpg`` (what the network will see)."""
    plot_table(table, run.path / "labels.png")
    rng = np.random.default_rng(training_set.config.seed)
    for sheet in range(SHEETS):
        tiles = []
        for index in rng.integers(len(training_set), size=ROWS * COLUMNS).tolist():
            pixels, target, _ = training_set[0, index]
            seen = as_picture(pixels, training_set.preprocessing)
            tiles.append(task.draw_target(seen, target, table.class_names))
        images.write(run.path / f"augmented_{sheet}.jpg", _grid(tiles, COLUMNS))


def draw_results(run: Run, table: Table[Any], task: TrainingTask) -> None:
    """Write the plots of a finished run, and ``validation/`` with truth beside prediction."""
    model = load(run.bundle, "cpu")
    validation = table.subset("val")
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    plot_results(run.path / "results.csv", run.path / "results.png", task.parts, task.numbers)
    task.draw_measured(run, validation, evaluation_task(model.spec.task).predict_all(model, validation), metrics)
    (run.path / "validation").mkdir(exist_ok=True)
    for index, sample in enumerate(validation.samples[:VALIDATION_SHOWN]):
        image = images.decode(sample.path)
        truth = task.draw_truth(image, sample, table.class_names)
        gap = np.full((image.shape[0], 6, 3), 255, np.uint8)
        pair = np.concatenate([truth, gap, model.predict_one(sample.path).draw()], axis=1)
        images.write(run.path / "validation" / f"{index:02d}_{Path(sample.name).stem}.jpg", pair)


def as_picture(pixels: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The network's input float32 [3, h, w] as a picture one can look at: RGB uint8 [h, w, 3]."""
    if preprocessing.normalize == "fixed":
        mean, std = (np.array(level, np.float32)[:, None, None] for level in (preprocessing.mean, preprocessing.std))
        levels = pixels * std + mean
    else:  # each picture's own levels are gone: show two standard deviations around its mean
        levels = 127.5 + 63.75 * pixels
    if preprocessing.color == "bgr":
        levels = levels[::-1]
    return np.ascontiguousarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _grid(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)
