"""What several test files share: helpers lie in this folder, and a small bundle that needs no torch is made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from quick_runs import TASKS, write_config
from tiny_bundle import make_tiny_bundle


@cache
def threads_of_torch() -> int:
    """What torch takes by itself: asked in a new process, as files of this one may have set it on import."""
    code = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.fixture(autouse=True)
def _threads_as_found() -> Iterator[None]:
    """A thread count left behind changes the weights that a later test trains: the test that sees one left fails."""
    yield
    if torch := sys.modules.get("torch"):
        assert torch.get_num_threads() == threads_of_torch()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle folder, shared by the whole run: a test that changes files makes its own."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def quick_configs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By task, a config that trains in seconds on drawn pictures."""
    return {task: write_config(task, tmp_path_factory.mktemp(f"quick_{task}")) for task in TASKS}


@pytest.fixture(scope="session")
def quick_runs(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Called with a task, its finished training run, shared: a test that changes it makes a copy."""

    @cache
    def run_of(task: str) -> Path:
        from traced_once import graphs_traced_once

        from toolkit.api import train_from

        with graphs_traced_once():
            return train_from(quick_configs[task], run_dir=tmp_path_factory.mktemp("runs") / task).path

    return run_of


@pytest.fixture(scope="session")
def quick_config(quick_configs: dict[str, Path]) -> Path:
    """The detector's config."""
    return quick_configs["detection"]


@pytest.fixture(scope="session")
def quick_run(quick_runs: Callable[[str], Path]) -> Path:
    """The detector's run."""
    return quick_runs("detection")
