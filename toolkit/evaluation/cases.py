"""Pictures of a measurement, each as truth beside prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.data.table import Progress
from toolkit.drawing_text import RGB
from toolkit.evaluation.evaluate import Measured
from toolkit.evaluation.task import Case, evaluation_task
from toolkit.inference.model import Model

GAP = 6  # white, between two pictures side by side; pixels


@dataclass(frozen=True)
class Drawn:
    """``truth`` and ``prediction`` RGB uint8 [H, W, 3], the picture itself with either drawn in."""

    case: Case
    name: str
    truth: RGB
    prediction: RGB


def draw_cases(
    cases: Sequence[Case], model: Model, measured: Measured, progress: Progress | None = None
) -> Iterator[Drawn]:
    """Draw the cases one after the other."""
    task = evaluation_task(model.spec.task)
    for done, case in enumerate(cases, 1):
        pair = task.draw_pair(case.index, model, measured.table, measured.predictions)
        yield Drawn(case, measured.table.samples[case.index].name, *pair)
        if progress:
            progress("drawing pictures", done, len(cases))


def side_by_side(drawn: Drawn) -> RGB:
    """Truth to the left, prediction to the right."""
    gap = np.full((drawn.truth.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([drawn.truth, gap, drawn.prediction], axis=1)
