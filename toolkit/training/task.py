"""What training needs to know about a task: its pictures and targets, its loss, its validation, its plots.

A new task is one file with a `TrainingTask` and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from toolkit.data.table import Table
    from toolkit.training.dataset import TrainingSet
    from toolkit.training.module import TaskModule

TASKS = {
    "detection": "toolkit.training.detection:TASK",
    "classification": "toolkit.training.classification:TASK",
    "segmentation": "toolkit.training.segmentation:TASK",
}

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingTask:
    """The training side of one task.

    Attributes:
        training_set: makes augmented pictures and their targets.
        module: loss and validation.
        parts: what the loss is made of, as the module logs it under ``train/``.
        numbers: what validation measures, as the module logs it under ``val/``; the first chooses the best checkpoint.
        draw_target: draws a target into the picture that the network sees (uint8 [h, w, 3]).
        check: raises ``UserError`` where the config does not fit the table's classes.
    """

    training_set: type[TrainingSet[Any]]
    module: type[TaskModule]
    parts: tuple[str, ...]
    numbers: tuple[str, ...]
    draw_target: Callable[[RGB, Any, tuple[str, ...]], RGB]
    check: Callable[[Any, Table[Any]], None]


def training_task(name: str) -> TrainingTask:
    """The training side of the task of that name."""
    module, attribute = TASKS[name].split(":")
    task: TrainingTask = getattr(importlib.import_module(module), attribute)
    return task
