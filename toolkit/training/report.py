"""The pictures of a run: what is trained on before it starts, and what came of it at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit import images
from toolkit.data.fault_log import shown
from toolkit.data.plots import plot_table
from toolkit.data.table import Table
from toolkit.evaluation.cases import draw_cases, side_by_side
from toolkit.evaluation.evaluate import Measured
from toolkit.evaluation.report import draw_report, write_report
from toolkit.evaluation.task import Case
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


def draw_results(run: Run, measured: Measured, task: TrainingTask) -> None:
    """Write the plots of a finished run, ``validation/`` with truth beside prediction, and ``evaluation/``."""
    plot_results(run.path / "results.csv", run.path / "results.png", task.parts, task.numbers)
    model = load(run.bundle, "cpu")
    report = draw_report(model, measured, {"run": shown(run.path)})
    for plot in report.plots:
        (run.path / f"{plot.name}.png").write_bytes(plot.png)
    write_report(run.path / "evaluation", report)
    first = [Case(index, "") for index in range(min(VALIDATION_SHOWN, len(measured.table)))]
    (run.path / "validation").mkdir(exist_ok=True)
    for drawn in draw_cases(first, model, measured):
        name = f"{drawn.case.index:02d}_{Path(drawn.name).stem}.jpg"
        images.write(run.path / "validation" / name, side_by_side(drawn))


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
