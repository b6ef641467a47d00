"""The pictures of a run: what is trained on before it starts, and what came of it at the end."""

from __future__ import annotations

from toolkit.data.table import Table
from toolkit.training.dataset import TrainingSet
from toolkit.training.run_folder import Run


def draw_data(run: Run, table: Table, training_set: TrainingSet) -> None:
    pass


def draw_results(run: Run, table: Table) -> None:
    pass
