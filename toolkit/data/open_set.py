"""Reads a config's data set to look at it or to write it anew, less strictly than a training would."""

from __future__ import annotations

from typing import Any

from toolkit.data.table import Progress, Table, load_table

LEAST = 1e-9  # of the pictures: one is held out, as no split can be drawn without


def open_set(config: Any, *, progress: Progress | None = None, redraw: bool = False, whole: bool = False) -> Table[Any]:
    """The table of a config whose groups may stand in two splits.

    With ``redraw``, for those who draw splits themselves: where no split is told, as little as possible is held out, so
    that a rare class is not missing from train. With ``whole``, to measure on: what is told of no split is in train,
    and no split or class need be there. Raises ``DataFaults``, see `load_table`.
    """
    changes: dict[str, Any] = {}
    if hasattr(config.data, "check_groups"):  # drawn shapes have no groups
        changes["check_groups"] = False
    if redraw:
        changes["val_fraction"] = LEAST
    if whole:
        changes["whole"] = True  # no key of a config: a training always asks for its splits and classes
    return load_table(config.model_copy(update={"data": config.data.model_copy(update=changes)}), progress=progress)
