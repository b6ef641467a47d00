"""What measuring needs to know about a task: what is kept of the predictions, the numbers, and how they are told.

A new task is one file with an `Evaluation` and one line here.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from toolkit import images
from toolkit.data.table import Progress, Table
from toolkit.drawing_text import RGB
from toolkit.evaluation.plots import Plot
from toolkit.evaluation.sections import Ranged, Section, at
from toolkit.inference.model import Model

TASKS = {
    "detection": "toolkit.evaluation.detection:DetectionEvaluation",
    "classification": "toolkit.evaluation.classification:ClassificationEvaluation",
    "segmentation": "toolkit.evaluation.segmentation:SegmentationEvaluation",
}


@dataclass(frozen=True)
class Case:
    """A picture that the model fails on: its position in the table, and what is wrong in a line."""

    index: int
    why: str


@dataclass(frozen=True)
class Worst:
    """Pictures from the worst on: ``title`` and ``meaning`` say by what measure. Those without a fault are left out."""

    title: str
    meaning: str
    cases: tuple[Case, ...]


class Evaluation(ABC):
    """The measuring side of one task. It holds no state."""

    class_number: ClassVar[str]

    @abstractmethod
    def predict_all(self, model: Model, table: Table[Any], progress: Progress | None = None) -> Any:
        """Run the bundle over every picture of ``table``, one at a time; return what `measure` needs."""

    @abstractmethod
    def measure(self, model: Model, table: Table[Any], predictions: Any) -> dict[str, Any]:
        """The task's part of ``metrics.json``, with 95 % intervals, per class, source and group."""

    def across(self, model: Model, folds: Mapping[str, tuple[Table[Any], Any]]) -> dict[str, Any]:
        """What the folds of a cross-validation tell together, for ``crossval.json``, besides the means of their
        numbers: ``pooled``, the metrics of all pictures as one set, where such numbers mean something.

        ``folds`` are by name the pictures held out and the predictions on them, each by a training of its own, of
        which ``model`` is one.
        """
        return {}

    @abstractmethod
    def sections(self, metrics: dict[str, Any]) -> list[Section]:
        """The metrics as the tables that people read."""

    @abstractmethod
    def columns(self, metrics: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        """The numbers that are told of a source or group, the first of them first: the key path of each by its name."""

    def of_source(self, metrics: dict[str, Any], source: str) -> dict[str, Ranged]:
        """Those numbers of one source."""
        row, around = metrics["per_source"][source], metrics["intervals"]["per_source"][source]
        return {name: at(row, around, *path) for name, path in self.columns(metrics).items()}

    @abstractmethod
    def class_numbers(self, metrics: dict[str, Any]) -> dict[str, float | None]:
        """The number called `class_number` of each class, None where nothing was measured.

        ``metrics`` need hold no more than what `measure` returns. A bundle's int8 network is judged by these.
        """

    def reliability(self, metrics: dict[str, Any], table: Table[Any], predictions: Any) -> Plot | None:
        """How often answers of each score are right; None of a task whose answers have no score."""
        return None

    @abstractmethod
    def plots(self, metrics: dict[str, Any], table: Table[Any], predictions: Any) -> list[Plot]:
        """The plots of what was measured; they need matplotlib."""

    @abstractmethod
    def worst(self, metrics: dict[str, Any], table: Table[Any], predictions: Any) -> Worst:
        """The pictures that the model fails on."""

    has_boxes: ClassVar[bool] = False

    def labels_of(self, sample: Any) -> dict[str, Any]:
        """The labels that move with the picture's pixels, by albumentations' names; nothing of a picture's class."""
        return {}

    def relabelled(self, sample: Any, changed: Mapping[str, Any]) -> Any:
        """The sample, whose picture was changed and lies at its path alone, with its labels as they came out."""
        return sample

    @abstractmethod
    def draw_truth(self, image: RGB, sample: Any, class_names: tuple[str, ...]) -> RGB:
        """A copy of the picture with the sample's labels drawn in."""

    def draw_pair(self, index: int, model: Model, table: Table[Any], predictions: Any) -> tuple[RGB, RGB]:
        """Truth and prediction of one picture, each drawn into a copy of it.

        Unless a task knows better, the bundle predicts again, as it would for anybody; a classifier shows where its
        evidence lies, if its bundle can tell.
        """
        sample = table.samples[index]
        explain = getattr(model.spec.network, "map_output", None) is not None
        truth = self.draw_truth(images.decode(sample.path), sample, table.class_names)
        return truth, model.predict_one(sample.path, explain=explain).draw()

    @abstractmethod
    def headline(self, metrics: dict[str, Any]) -> dict[str, Ranged]:
        """The few numbers that a list of bundles shows, by name."""


def evaluation_task(name: str) -> Evaluation:
    """The measuring side of the task of that name."""
    module, kind = TASKS[name].split(":")
    task: Evaluation = getattr(importlib.import_module(module), kind)()
    return task


def predictions(model: Model, table: Table[Any], progress: Progress | None, **options: Any) -> Iterator[Any]:
    """The result of each picture of ``table``, in order, one at a time; a picture that cannot be used is an error."""
    paths = [sample.path for sample in table.samples]
    for done, result in enumerate(model.predict(paths, batch_size=1, on_error="raise", **options), 1):
        yield result
        if progress:
            progress("evaluating", done, len(paths))
