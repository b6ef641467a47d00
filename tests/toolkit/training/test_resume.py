"""A training that was killed ends, once resumed, with the very weights and rows that it would have had."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from same_runs import same_end

from toolkit.api import resume_from, train_from
from toolkit.errors import UserError
from toolkit.training.module import TaskModule
from toolkit.training.run_folder import LAST

# What depends on chance while training, beyond what the quick configs have.
CHANCE = {
    "detection": ["augment.mosaic={probability: 0.5, off_epochs: 0}", "train.epochs=3"],
    "classification": ["model.dropout=0.2", "train.epochs=2", "train.validate_every=1"],
    "segmentation": ["train.accumulate=2", "train.epochs=3", "train.validate_every=2"],
}


class Died(Exception):
    """Stands for a kill -9: nothing is caught, nothing is saved."""


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end with their checkpoints, which saves the seconds of an export."""
    monkeypatch.setattr("toolkit.training.train._finish", lambda run, *_: run)


@pytest.fixture(scope="module")
def lived(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Called with a task, the run with its `CHANCE` that nothing happened to, however often it kept a resume point."""

    @cache
    def run_of(task: str) -> Path:
        return train_from(quick_configs[task], CHANCE[task], run_dir=tmp_path_factory.mktemp("whole") / "run").path

    return run_of


@pytest.mark.parametrize(
    ("task", "every", "died_at", "resumed_after"),
    [
        ("detection", 2, 5, 4),  # within the second epoch of 3 steps: 1 + 1/3 epochs are kept
        ("detection", None, 5, 3),  # only the epoch's end is kept
        ("detection", 2, 0, None),  # nothing is kept yet
        ("classification", 3, 8, 6),
        ("segmentation", 1, 3, 3),
    ],
)
def test_a_killed_training_ends_as_if_it_had_lived(
    task: str,
    every: int | None,
    died_at: int,
    resumed_after: int | None,
    quick_configs: dict[str, Path],
    lived: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = [*CHANCE[task], f"train.checkpoint_every={'null' if every is None else every}"]
    inner = TaskModule.training_step

    def dies(module: TaskModule, batch: Any, batch_idx: int) -> Any:
        if module.trainer.global_step == died_at:
            raise Died
        return inner(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", dies)
        with pytest.raises(Died):
            train_from(quick_configs[task], changes, run_dir=tmp_path / "killed")
    resume_from((tmp_path / "killed").rename(tmp_path / "moved"))
    same_end(lived(task), tmp_path / "moved")
    log = (tmp_path / "moved/train.log").read_text(encoding="utf-8")
    assert (f"resumed after step {resumed_after};" in log) == (resumed_after is not None)


# The command line without its export, in a process that kills itself when step 5 has begun.
KILLS_ITSELF = """
import os, signal, sys
import toolkit.training.train as train
from toolkit.training.module import TaskModule
inner = TaskModule.training_step
def training_step(self, batch, batch_idx):
    if self.trainer.global_step == 5:
        print(*(worker.pid for worker in self.trainer.train_dataloader._iterator._workers), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(self, batch, batch_idx)
TaskModule.training_step = training_step
sys.argv[0] = "toolkit"
from toolkit.cli.main import main
main()
"""


def runs(pid: str) -> bool:
    """Whether a process does more than wait for somebody to read its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_kill_9_with_workers_leaves_none_behind_and_nothing_undone(
    quick_config: Path, lived: Callable[[str], Path], tmp_path: Path
) -> None:
    changes = [*CHANCE["detection"], "train.checkpoint_every=2", "data.workers=2"]
    run = tmp_path / "killed"
    command = [sys.executable, "-c", KILLS_ITSELF, "train", str(quick_config), *changes, "--run-dir", str(run)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # ends when no worker holds the pipe any more
    assert killed.returncode == -signal.SIGKILL
    workers = killed.stdout.split()
    assert len(workers) == 2
    assert not [pid for pid in workers if runs(pid)]
    resume_from(run, ["data.workers=1"])
    same_end(lived("detection"), run)


@pytest.fixture(scope="session")
def short_run(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch without its export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.training.train._finish", lambda run, *_: run)
        return train_from(
            quick_configs["detection"], ["train.epochs=1"], run_dir=tmp_path_factory.mktemp("short") / "run"
        ).path


def broken(run: Path) -> None:
    (run / LAST).write_bytes((run / LAST).read_bytes()[:1000])


def finished(run: Path) -> None:
    (run / "bundle").mkdir()


def other_pictures(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("pictures: 20", "pictures: 30"), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "overrides", "sentence"),
    [
        (broken, [], "last.ckpt: the checkpoint cannot be read"),
        (finished, [], "this training is finished; its bundle is"),
        (other_pictures, [], "expected the pictures and labels that the run was started with, but"),
        (None, ["train.epochs=9"], "override train.epochs=9: a resumed training keeps its config but for data.root"),
        (None, ["train.optimizer.lr=1"], "start a new training from these weights: model.init="),
    ],
)
def test_a_run_that_cannot_be_resumed_says_why(
    change: Callable[[Path], None] | None, overrides: list[str], sentence: str, short_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short_run, run)
    if change:
        change(run)
    with pytest.raises(UserError) as caught:
        resume_from(run, overrides)
    assert sentence in str(caught.value)


def test_a_run_has_one_trainer(short_run: Path) -> None:
    with (short_run / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"process \d+ is training in it"):
            resume_from(short_run)


def test_what_does_not_change_the_weights_may_change(short_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(short_run, run)
    before = (run / "results.csv").read_bytes()
    resume_from(run, ["data.workers=1", "train.checkpoint_every=7"])
    assert (run / "results.csv").read_bytes() == before  # there was no step left to do


def test_another_environment_is_told(short_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(short_run, run)
    kept = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    kept["packages"]["numba"] = "0.1"
    (run / "environment.json").write_text(json.dumps(kept), encoding="utf-8")
    resume_from(run)
    log = (run / "train.log").read_text(encoding="utf-8")
    assert "not bit for bit what an unstopped training would give: numba was 0.1 and is " in log
