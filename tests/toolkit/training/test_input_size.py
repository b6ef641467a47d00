"""`train.input_size`: what is trained on has one size, what is validated and shipped another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quick_runs import TASKS

from toolkit.api import train_from
from toolkit.bundle import Bundle
from toolkit.training.module import TaskModule


@pytest.mark.parametrize("task", TASKS)
def test_a_network_trains_at_one_size_and_ships_at_another(
    task: str, quick_configs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, set[tuple[int, ...]]] = defaultdict(set)
    set_up: Callable[..., None] = TaskModule.__init__

    def watched(module: TaskModule, network: Any, *rest: Any, **named: Any) -> None:
        set_up(module, network, *rest, **named)
        network.register_forward_pre_hook(lambda layer, inputs: seen[layer.training].add(tuple(inputs[0].shape[2:])))

    monkeypatch.setattr(TaskModule, "__init__", watched)
    changes = ["train.epochs=1", "train.input_size=[32, 96]", "model.input_size=[64, 64]"]
    run = train_from(quick_configs[task], changes, run_dir=tmp_path / "run")
    assert dict(seen) == {True: {(32, 96)}, False: {(64, 64)}}
    assert Bundle.open(run.bundle).preprocessing.input_size == (64, 64)
