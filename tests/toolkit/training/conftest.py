"""Trainings that a second is enough for, and the processes that their loader workers are forked from."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cut_runs import SHORT, only_steps
from quick_runs import TASKS


@pytest.fixture(scope="session")
def classifier(quick_configs: dict[str, Path]) -> Path:
    """The config of the quickest training."""
    return quick_configs["classification"]


@pytest.fixture(scope="session")
def whole_run(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Called with changes: the `SHORT` run with them that nothing happened to."""

    @cache
    def run_of(*changes: str) -> Path:
        from toolkit.api import train_from

        with pytest.MonkeyPatch.context() as patch:
            only_steps(patch)
            return train_from(classifier, [*SHORT, *changes], run_dir=tmp_path_factory.mktemp("whole") / "run").path

    return run_of


@pytest.fixture(scope="session")
def workers_that_start_quickly() -> None:
    """Each worker would import torch and Lightning anew; the process that they are forked from has them already."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["torch", "albumentations", *(f"toolkit.training.{task}" for task in TASKS)]
    )
