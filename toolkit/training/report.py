"""The pictures of a run: what is trained on before it starts, and what came of it at the end."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit import images
from toolkit.data.table import Table
from toolkit.drawing import draw_detections
from toolkit.evaluation.coco_metrics import Detections, evaluator, precision_curves
from toolkit.evaluation.evaluate import detect_all
from toolkit.inference import load
from toolkit.training.augment import Labelled
from toolkit.training.dataset import TrainingSet
from toolkit.training.run_folder import Run

SHEETS, ROWS, COLUMNS = 2, 2, 4
VALIDATION_SHOWN = 12


def draw_data(run: Run, table: Table, training_set: TrainingSet) -> None:
    """Write ``labels.png`` (counts and sizes of the boxes) and ``augmented_*.jpg`` (what the network will see)."""
    _draw_labels(run.path / "labels.png", table)
    rng = np.random.default_rng(training_set.config.seed)
    for sheet in range(SHEETS):
        indices = rng.integers(len(training_set), size=ROWS * COLUMNS).tolist()
        tiles = [draw_truth(training_set.augmented(0, index), table.class_names) for index in indices]
        images.write(run.path / f"augmented_{sheet}.jpg", _grid(tiles, COLUMNS))


def draw_results(run: Run, table: Table) -> None:
    """Write the plots of a finished run, and ``validation/`` with truth beside prediction."""
    model = load(run.bundle, "cpu")
    validation = table.subset("val")
    detections = detect_all(model, validation)
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    plot_results(run.path / "results.csv", run.path / "results.png")
    plot_confusion(metrics["operating_point"], run.path / "confusion_matrix.png")
    plot_precision_recall(validation, detections, run.path / "pr_curves.png")
    (run.path / "validation").mkdir(exist_ok=True)
    threshold = model.spec.postprocessing.score_threshold
    for index in range(min(VALIDATION_SHOWN, len(validation))):
        sample = validation.samples[index]
        pair = _truth_beside(images.decode(sample.path), validation, index, detections[index], threshold)
        images.write(run.path / "validation" / f"{index:02d}_{Path(sample.name).stem}.jpg", pair)


def draw_truth(sample: Labelled, class_names: tuple[str, ...]) -> NDArray[np.uint8]:
    """The picture with its true boxes drawn in."""
    labels = [class_names[c] for c in sample.class_ids]
    return draw_detections(sample.image, sample.boxes, labels, None, sample.class_ids)


def _truth_beside(
    image: NDArray[np.uint8], table: Table, index: int, found: Detections, threshold: float
) -> NDArray[np.uint8]:
    """Truth at the left, prediction at the right."""
    sample = table.samples[index]
    truth = draw_truth(Labelled(image, sample.boxes, sample.class_ids), table.class_names)
    sure = found.scores >= threshold
    labels = [table.class_names[c] for c in found.class_ids[sure]]
    predicted = draw_detections(image, found.boxes[sure], labels, found.scores[sure], found.class_ids[sure])
    gap = np.full((image.shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([truth, gap, predicted], axis=1)


def _grid(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A matplotlib figure without pyplot, which keeps global state and wants a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _draw_labels(path: Path, table: Table) -> None:
    figure, axes = _figure(1, 3, (13, 4))
    counts = table.counts()
    position = np.arange(len(counts))
    for shift, split in ((-0.2, "train"), (0.2, "val")):
        bars = axes[0, 0].bar(position + shift, [counts[name][split] for name in counts], 0.4, label=split)
        axes[0, 0].bar_label(bars, fontsize=8)
    axes[0, 0].set_xticks(position, list(counts), rotation=15, ha="right")
    axes[0, 0].set(title="boxes per class", ylabel="boxes")
    axes[0, 0].legend()
    boxes = np.concatenate([s.boxes for s in table.samples])
    sizes = np.concatenate([np.tile(np.array(s.size, np.float32), (len(s.boxes), 1)) for s in table.samples])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    edges = np.geomspace(max(float(sides.min()), 1.0), float(sides.max()) + 1, 40)
    axes[0, 1].hist(sides, bins=edges)
    axes[0, 1].set(title="size of boxes", xlabel="square root of area, pixels", ylabel="boxes")
    axes[0, 1].set_xscale("log", base=2)
    axes[0, 1].xaxis.set_major_formatter("{x:.0f}")
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes[:, ::-1]
    axes[0, 2].hist2d(centre[:, 0], centre[:, 1], bins=32, range=((0, 1), (0, 1)), cmap="viridis")
    axes[0, 2].set(title="where boxes lie", xlabel="x / width", ylabel="y / height")
    axes[0, 2].invert_yaxis()
    figure.savefig(path, dpi=100)


def plot_results(table: Path, path: Path) -> None:
    """Draw loss, validation AP and learning rate over the epochs of a ``results.csv``."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def series(name: str) -> tuple[list[int], list[float]]:
        known = [(int(row["epoch"]), float(row[name])) for row in rows if row[name]]
        return [epoch for epoch, _ in known], [value for _, value in known]

    figure, axes = _figure(1, 3, (13, 4))
    for name in ("train/loss", "train/box", "train/objectness", "train/classes"):
        axes[0, 0].plot(*series(name), label=name.split("/")[1])
    for name in ("val/AP50", "val/AP", "val/AP75"):
        axes[0, 1].plot(*series(name), marker="o", label=name.split("/")[1])
    axes[0, 2].plot(*series("learning_rate"))
    for axis, title in zip(axes[0], ("training loss", "validation", "learning rate"), strict=True):
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    axes[0, 1].legend()
    figure.savefig(path, dpi=100)


def plot_confusion(point: dict[str, Any], path: Path) -> None:
    """Draw a confusion matrix with counts, coloured by row."""
    matrix, labels = np.asarray(point["confusion_matrix"]), point["confusion_labels"]
    figure, axes = _figure(1, 1, (1.3 * len(labels) + 2.5, 1.1 * len(labels) + 1.5))
    axis = axes[0, 0]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, str(count), ha="center", va="center", color=colour)
    axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.set(xlabel="predicted", ylabel="true", title=f"boxes at score {point['score_threshold']:g}, IoU 0.5")
    figure.savefig(path, dpi=100)


def plot_precision_recall(table: Table, detections: list[Detections], path: Path) -> None:
    """Draw precision over recall at IoU 0.5, a curve a class, as COCO samples it."""
    matched = evaluator(table, detections)
    precision = precision_curves(matched)
    figure, axes = _figure(1, 1, (6, 5))
    for class_id, name in enumerate(table.class_names):
        curve = precision[:, class_id]
        if (curve > -1).any():
            axes[0, 0].plot(matched.params.recThrs, curve, label=f"{name} (AP50 {curve[curve > -1].mean():.3f})")
    axes[0, 0].set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title="IoU 0.5")
    axes[0, 0].grid(alpha=0.3)
    axes[0, 0].legend(loc="lower left")
    figure.savefig(path, dpi=100)
