"""Trainings that take a second, and that something happens to."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

# Of the classifier's quick config: 2 epochs of 3 batches, each validated in 2. The moving average and random changes of
# the pictures are on.
SHORT = ("train.epochs=2", "train.batch_size=12", "train.validate_every=1")


def only_steps(patch: pytest.MonkeyPatch) -> None:
    """Have trainings do without plots and export, which take longer than a few steps."""
    patch.setattr("toolkit.training.train._finish", lambda run, *_: run)
    patch.setattr("toolkit.training.report.draw_data", lambda *_: None)


def at_call(patch: pytest.MonkeyPatch, owner: type, method: str, call: int, act: Callable[[], object]) -> None:
    """Do something when the ``call``-th call of a method, counted from 1, has begun."""
    inner, calls = getattr(owner, method), itertools.count(1)

    def wrapped(*arguments: Any) -> Any:
        if next(calls) == call:
            act()
        return inner(*arguments)

    patch.setattr(owner, method, wrapped)


def point_of(run: Path) -> int | None:
    """The step of a run's resume point."""
    path = run / "checkpoints/last.ckpt"
    return int(torch.load(path, weights_only=True)["global_step"]) if path.is_file() else None
