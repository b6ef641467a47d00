"""Trainings that a second is enough for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from cut_runs import SHORT, only_steps
from traced_once import graphs_traced_once


@pytest.fixture(scope="module", autouse=True)
def _graphs_traced_once() -> Iterator[None]:
    """Tracing a graph takes longer than most trainings here."""
    with graphs_traced_once():
        yield


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
